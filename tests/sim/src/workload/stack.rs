//! A stack that users deploy again and again, otherwise each time, and sometimes at once.

use super::send;
use crate::world::World;
use skep_manager_store::Snapshot;
use skep_proto::pb;
use skep_proto::pb::change::Change;
use skep_types::{
    Content, FileTarget, Labels, NetworkSpec, STACK_LABEL, ServiceMode, StackData, StackNetwork,
    StackService, StackSpec,
};
use std::sync::Arc;
use std::time::Duration;

const NAME: &str = "shop";

/// Deploys it, takes it back, or removes it.
pub(super) fn stack(world: &mut World, state: &Snapshot) {
    let present = state.stack_named(NAME);
    // Most have looked at it first.
    let version = present.map_or(0, |stack| stack.meta.version.0);
    let version = if world.rng.chance(70) { version } else { 0 };
    let name = NAME.to_owned();
    match world.rng.below(10) {
        0 => {
            let remove = pb::RemoveStack { name, version };
            send(world, "remove stack", Change::RemoveStack(remove));
        }
        1 => {
            let revision = None;
            let back = pb::RollbackStack {
                name,
                version,
                revision,
            };
            send(world, "roll back stack", Change::RollbackStack(back));
        }
        _ => {
            for _ in 0..=world.rng.below(2) {
                let spec = spec(world);
                let apply = pb::ApplyStack {
                    spec: Some((&spec).into()),
                    version,
                    prune: world.rng.chance(70),
                    reset_scale: world.rng.chance(20),
                };
                send(world, "deploy stack", Change::ApplyStack(apply));
            }
        }
    }
}

/// Its services have the image that its source says.
fn spec(world: &mut World) -> StackSpec {
    let labels = Labels::from([(STACK_LABEL.to_owned(), NAME.to_owned())]);
    let image = format!("image:{}", world.rng.below(1000));
    let mut spec = StackSpec {
        name: NAME.to_owned(),
        source: image.as_str().into(),
        ..StackSpec::default()
    };
    for key in ["front", "back"] {
        if world.rng.chance(60) {
            let name = format!("{NAME}_{key}");
            spec.networks.push(StackNetwork {
                key: key.to_owned(),
                name: name.clone(),
                external: false,
                spec: NetworkSpec {
                    name,
                    labels: labels.clone(),
                    ..NetworkSpec::default()
                },
            });
        }
    }
    if world.rng.chance(60) {
        let content = world.rng.below(3).to_string().into_bytes();
        spec.secrets.push(StackData {
            key: "key".to_owned(),
            name: format!("{NAME}_key"),
            labels: labels.clone(),
            template: false,
            content: Content::Given(content.into()),
        });
    }
    for key in ["web", "api"] {
        if world.rng.chance(20) {
            continue;
        }
        let mut service = StackService {
            key: key.to_owned(),
            replicas_given: world.rng.chance(50),
            ..StackService::default()
        };
        let of = &mut service.spec;
        of.name = format!("{NAME}_{key}");
        of.labels = labels.clone();
        let replicas = world.rng.below(4) as u32;
        of.mode = ServiceMode::Replicated { replicas };
        of.update.monitor = Some(Duration::from_millis(world.rng.below(2000)));
        let task = Arc::make_mut(&mut of.task);
        task.container.image.clone_from(&image);
        // A crash loop has to be over within the time in which all comes right.
        task.restart.max_delay = Some(Duration::from_secs(60));
        for network in &spec.networks {
            if world.rng.chance(60) {
                service.networks.push((network.name.clone(), Vec::new()));
            }
        }
        for secret in &spec.secrets {
            let target = FileTarget {
                path: secret.name.clone(),
                uid: 0,
                gid: 0,
                mode: 0o444,
            };
            service.secrets.push((secret.name.clone(), target));
        }
        spec.services.push(Arc::new(service));
    }
    spec
}

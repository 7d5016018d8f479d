//! What users do: services, networks and nodes come, change and go.

use crate::world::World;
use skep_manager_store::{Action, NetworkAction, ServiceAction};
use skep_types::{
    FailureAction, NanoCpus, NetworkAttachmentSpec, NetworkId, NetworkSpec, PortConfig, Protocol,
    PublishMode, RestartCondition, ServiceId, ServiceMode, ServiceSpec, TaskSpec, UpdateOrder,
};
use std::sync::Arc;
use std::time::Duration;

/// Services kept at most.
const SERVICES_MAX: usize = 6;

/// Maybe a command.
pub(crate) fn act(world: &mut World) {
    if !world.rng.chance(12) {
        return;
    }
    let services: Vec<ServiceId> = world.store.state().services().map(|s| s.id).collect();
    let chosen = world.rng.pick(&services).copied();
    match (world.rng.below(20), chosen) {
        (0, _) => create_network(world),
        (1..=4, _) | (_, None) if services.len() < SERVICES_MAX => create_service(world),
        (5, Some(id)) => {
            let action = ServiceAction::Remove { id };
            world.apply("user", &[Action::Service(action)]);
        }
        (6..=10, Some(id)) => update(world, id, |world, spec| {
            if let ServiceMode::Replicated { replicas } = &mut spec.mode {
                *replicas = world.rng.below(9) as u32;
            }
        }),
        (11..=17, Some(id)) => update(world, id, |world, spec| {
            let mut task = TaskSpec::clone(&spec.task);
            task.container.image = format!("image:{}", world.rng.below(4));
            spec.task = Arc::new(task);
        }),
        (_, Some(id)) => rollback(world, id),
        (_, None) => {}
    }
}

fn create_network(world: &mut World) {
    let networks: Vec<(NetworkId, bool)> = world
        .store
        .state()
        .networks()
        .map(|network| (network.id, network.spec.ingress))
        .collect();
    if networks.len() > 4 {
        // Refused while it is used, which is part of the game.
        let others: Vec<NetworkId> = networks
            .iter()
            .filter_map(|(id, ingress)| (!ingress).then_some(*id))
            .collect();
        if let Some(id) = world.rng.pick(&others).copied() {
            world.apply("user", &[Action::Network(NetworkAction::Remove { id })]);
        }
        return;
    }
    let id = world.ids.network();
    let mut spec = NetworkSpec {
        name: format!("net{}", world.rng.below(1000)),
        ..NetworkSpec::default()
    };
    if world.rng.chance(30) {
        // A small one of its own, so that it has to grow.
        let third = world.rng.below(250) as u8;
        spec.subnets = vec![ipnet::Ipv4Net::new_assert([192, 168, third, 0].into(), 28)];
    }
    let spec = Box::new(spec);
    world.apply(
        "user",
        &[Action::Network(NetworkAction::Create { id, spec })],
    );
}

fn create_service(world: &mut World) {
    let id = world.ids.service();
    let mut task = TaskSpec::default();
    task.container.image = "image:0".into();
    let networks: Vec<(NetworkId, bool)> = world
        .store
        .state()
        .networks()
        .map(|network| (network.id, network.spec.ingress))
        .collect();
    for (network, ingress) in networks {
        if !ingress && world.rng.chance(40) {
            task.networks.push(NetworkAttachmentSpec {
                network,
                aliases: Vec::new(),
            });
        }
    }
    if world.rng.chance(30) {
        task.resources.cpu_reservation = NanoCpus(1 + world.rng.below(1_500_000_000));
    }
    if world.rng.chance(15) {
        task.placement.constraints = vec!["node.labels.zone==z0".into()];
    }
    if world.rng.chance(15) {
        task.placement.max_replicas_per_node = 1 + world.rng.below(2) as u32;
    }
    if world.rng.chance(20) {
        task.placement.spread = vec!["node.labels.zone".into()];
    }
    task.restart.condition = match world.rng.below(6) {
        0 => RestartCondition::None,
        1 => RestartCondition::OnFailure,
        _ => RestartCondition::Any,
    };
    task.restart.delay = Some(Duration::from_millis(world.rng.below(3000)));
    task.restart.max_attempts = match world.rng.below(5) {
        0 => 3,
        _ => 0,
    };
    let mut spec = ServiceSpec {
        name: format!("svc{}", world.rng.below(1000)),
        mode: if world.rng.chance(25) {
            ServiceMode::Global
        } else {
            ServiceMode::Replicated {
                replicas: world.rng.below(8) as u32,
            }
        },
        task: Arc::new(task),
        ..ServiceSpec::default()
    };
    for config in [&mut spec.update, &mut spec.rollback] {
        config.parallelism = world.rng.below(4) as u32;
        config.monitor = Some(Duration::from_millis(world.rng.below(2000)));
        config.delay = Duration::from_millis(world.rng.below(1000));
        config.order = if world.rng.chance(50) {
            UpdateOrder::StartFirst
        } else {
            UpdateOrder::StopFirst
        };
        config.failure_action = match world.rng.below(3) {
            0 => FailureAction::Pause,
            1 => FailureAction::Continue,
            _ => FailureAction::Rollback,
        };
    }
    if world.rng.chance(40) {
        spec.endpoint.ports.push(PortConfig {
            protocol: Protocol::Tcp,
            target: 80,
            published: if world.rng.chance(50) {
                0
            } else {
                8000 + world.rng.below(5) as u16
            },
            mode: if world.rng.chance(70) {
                PublishMode::Ingress
            } else {
                PublishMode::Host
            },
            masquerade: false,
        });
    }
    let spec = Box::new(spec);
    world.apply(
        "user",
        &[Action::Service(ServiceAction::Create { id, spec })],
    );
}

fn update(world: &mut World, id: ServiceId, edit: impl FnOnce(&mut World, &mut ServiceSpec)) {
    let Some(service) = world.store.state().service(id).cloned() else {
        return;
    };
    let mut spec = service.spec.clone();
    edit(world, &mut spec);
    let action = ServiceAction::Update {
        id,
        version: service.meta.version,
        spec: Box::new(spec),
    };
    world.apply("user", &[Action::Service(action)]);
}

fn rollback(world: &mut World, id: ServiceId) {
    let Some(service) = world.store.state().service(id) else {
        return;
    };
    let action = ServiceAction::Rollback {
        id,
        version: service.meta.version,
        message: "manually requested rollback".into(),
        keep: true,
    };
    world.apply("user", &[Action::Service(action)]);
}

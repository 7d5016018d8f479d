//! What users and operators do: services, networks, secrets and nodes come,
//! change and go. Every command goes to a manager of their choice; whether it
//! is agreed on shows in the state.

mod stack;

use crate::clients;
use crate::daemon::Origin;
use crate::host::Fall;
use crate::trace;
use crate::world::World;
use skep_manager_store::Snapshot;
use skep_proto::pb::change::Change;
use skep_proto::{id_bytes, pb};
use skep_types::{
    Availability, FailureAction, FileReference, FileTarget, NanoCpus, NetworkAttachmentSpec,
    NetworkSpec, NodeState, PortConfig, Protocol, PublishMode, Rebalance, RestartCondition, Role,
    SecretSpec, Service, ServiceMode, ServiceSpec, TaskSpec, UpdateOrder,
};
use std::sync::Arc;
use std::time::Duration;

/// Services kept at most.
const SERVICES_MAX: usize = 6;
/// Hosts there ever are at most.
const HOSTS_MAX: usize = 20;
/// Percent of seconds with a command.
const FREQUENCY: u64 = 40;

/// Maybe a command; called once a second.
pub(crate) fn act(world: &mut World) {
    if !world.rng.chance(FREQUENCY) {
        return;
    }
    let Some(state) = world.state() else { return };
    let services: Vec<&Arc<Service>> = state.services().collect();
    let chosen = world.rng.pick(&services).copied();
    match (world.rng.below(32), chosen) {
        (0, _) => join(world, &state),
        (1, _) => remove_node(world, &state),
        (2..=4, _) => change_role(world, &state),
        (5 | 6, _) => change_availability(world, &state),
        (7, _) => network(world, &state),
        (8, _) => secret(world, &state),
        (26 | 27, _) => rotate(world, &state),
        (30 | 31, _) => stack::stack(world, &state),
        (9..=14, _) | (_, None) if services.len() < SERVICES_MAX => {
            let spec = service(world, &state);
            let what = match spec.mode.is_job() {
                true => "create job",
                false => "create service",
            };
            send(world, what, Change::CreateService((&spec).into()));
        }
        (15 | 16, Some(service)) => {
            let id = id_bytes(service.id);
            send(world, "remove service", Change::RemoveService(id));
        }
        (17..=21, Some(service)) => {
            let mut spec = service.spec.clone();
            match &mut spec.mode {
                ServiceMode::Replicated { replicas: number }
                | ServiceMode::ReplicatedJob {
                    completions: number,
                    ..
                } => *number = world.rng.below(9) as u32,
                ServiceMode::Global | ServiceMode::GlobalJob => {}
            }
            update(world, service, &spec);
        }
        (22..=25, Some(service)) => {
            let mut spec = service.spec.clone();
            let mut task = TaskSpec::clone(&spec.task);
            task.container.image = format!("image:{}", world.rng.below(4));
            spec.task = Arc::new(task);
            update(world, service, &spec);
        }
        (28, Some(service)) => {
            let id = id_bytes(service.id);
            send(world, "rebalance service", Change::RebalanceService(id));
        }
        (_, Some(service)) => {
            let id = id_bytes(service.id);
            send(world, "roll back service", Change::RollbackService(id));
        }
        (_, None) => {}
    }
}

/// Everybody takes part again.
pub(crate) fn open_all(world: &mut World) {
    let Some(state) = world.state() else { return };
    for node in state.nodes() {
        if node.spec.availability != Availability::Active {
            let mut spec = node.spec.clone();
            spec.availability = Availability::Active;
            update_node(world, "activate", node, &spec);
        }
    }
}

/// Has a command carried out by some manager that runs.
pub(crate) fn send(world: &mut World, what: &str, change: Change) {
    let number = world.rng.below(world.hosts.len() as u64) as usize;
    let (before, after) = world.hosts.split_at(number);
    let able =
        |host: &&crate::host::Host| host.site().is_some_and(|s| clients::control(s).is_some());
    let Some(host) = after.iter().chain(before).find(able) else {
        return;
    };
    trace::note(&format!("USER {what} at {}", host.name));
    if let (Some(process), Some(control)) = (host.process(), host.site().and_then(clients::control))
    {
        let answer = clients::change(process, control, change);
        let what = what.to_owned();
        process.spawn(async move {
            match answer.await {
                Ok(Ok(_)) => trace::note(&format!("USER {what}: done")),
                Ok(Err(status)) => trace::note(&format!("USER {what}: {}", status.message())),
                Err(_) => {}
            }
        });
    }
}

fn update(world: &mut World, service: &Service, spec: &ServiceSpec) {
    let update = pb::UpdateService {
        id: id_bytes(service.id),
        version: service.meta.version.0,
        spec: Some(spec.into()),
    };
    send(world, "update service", Change::UpdateService(update));
}

pub(crate) fn update_node(
    world: &mut World,
    what: &str,
    node: &skep_types::Node,
    spec: &skep_types::NodeSpec,
) {
    let what = format!("{what} {}", node.description.hostname);
    let update = pb::UpdateNode {
        id: id_bytes(node.id),
        version: node.meta.version.0,
        spec: Some(spec.into()),
    };
    send(world, &what, Change::UpdateNode(update));
}

fn join(world: &mut World, state: &Snapshot) {
    if world.hosts.len() >= HOSTS_MAX || state.nodes().count() >= HOSTS_MAX / 2 {
        return;
    }
    let managers = world.manager_addresses();
    if let Some(token) = world.token(Role::Worker) {
        let host = world.add_host(Origin::Joins(token, managers), 100);
        trace::note(&format!("USER {} joins", world.hosts[host].name));
        world.start(host);
    }
}

/// Removes a worker for good: one that is down, or at times, by force, any.
fn remove_node(world: &mut World, state: &Snapshot) {
    let force = world.rng.chance(30);
    let nodes = state.nodes().filter(|node| {
        node.role == Role::Worker
            && node.spec.role == Role::Worker
            && (force || node.status.state == NodeState::Down)
    });
    let nodes: Vec<_> = nodes.map(|node| node.id).collect();
    let Some(id) = world.rng.pick(&nodes).copied() else {
        return;
    };
    if state.nodes().count() <= 3 {
        return;
    }
    if let Some(host) = world.hosts.iter().position(|host| host.node() == Some(id)) {
        world.fall(host, Fall::PowerLost);
        world.hosts[host].retired = true;
    }
    let remove = pb::RemoveNode {
        id: id_bytes(id),
        force: true,
    };
    send(world, "remove node", Change::RemoveNode(remove));
}

fn change_role(world: &mut World, state: &Snapshot) {
    let nodes: Vec<_> = state.nodes().collect();
    let managers = nodes
        .iter()
        .filter(|node| node.spec.role == Role::Manager)
        .count();
    let Some(node) = world.rng.pick(&nodes).copied() else {
        return;
    };
    let mut spec = node.spec.clone();
    let what = match spec.role {
        Role::Worker if managers < 5 => {
            spec.role = Role::Manager;
            "promote"
        }
        Role::Manager if managers > 3 => {
            spec.role = Role::Worker;
            "demote"
        }
        _ => return,
    };
    update_node(world, what, node, &spec);
}

fn change_availability(world: &mut World, state: &Snapshot) {
    let nodes: Vec<_> = state.nodes().collect();
    let Some(node) = world.rng.pick(&nodes).copied() else {
        return;
    };
    let mut spec = node.spec.clone();
    spec.availability = match world.rng.below(4) {
        0 => Availability::Drain,
        1 => Availability::Pause,
        _ => Availability::Active,
    };
    update_node(world, "change availability of", node, &spec);
}

fn network(world: &mut World, state: &Snapshot) {
    let others: Vec<_> = state.networks().filter(|n| !n.spec.ingress).collect();
    if others.len() > 3 {
        // Refused while it is used, which is part of the game.
        if let Some(network) = world.rng.pick(&others) {
            let id = id_bytes(network.id);
            send(world, "remove network", Change::RemoveNetwork(id));
        }
        return;
    }
    let mut spec = NetworkSpec {
        name: format!("net{}", world.rng.below(1000)),
        driver: "overlay".to_owned(),
        ..NetworkSpec::default()
    };
    if world.rng.chance(30) {
        // A small one of its own, so that it has to grow.
        let third = world.rng.below(250) as u8;
        spec.subnets = vec![ipnet::Ipv4Net::new_assert([192, 168, third, 0].into(), 28)];
    }
    send(
        world,
        "create network",
        Change::CreateNetwork((&spec).into()),
    );
}

fn secret(world: &mut World, state: &Snapshot) {
    let secrets = state.secrets();
    let present: Vec<_> = secrets.filter(|s| s.superseded_at.is_none()).collect();
    if present.len() > 3 {
        if let Some(secret) = world.rng.pick(&present) {
            let id = id_bytes(secret.id);
            send(world, "remove secret", Change::RemoveSecret(id));
        }
        return;
    }
    let spec = pb::DataSpec {
        name: format!("secret{}", world.rng.below(1000)),
        labels: Default::default(),
        data: bytes::Bytes::from_static(b"hush"),
        template: false,
    };
    send(world, "create secret", Change::CreateSecret(spec));
}

/// Gives a secret other content.
fn rotate(world: &mut World, state: &Snapshot) {
    let secrets = state.secrets();
    let present: Vec<_> = secrets.filter(|s| s.superseded_at.is_none()).collect();
    let Some(present) = world.rng.pick(&present) else {
        return secret(world, state);
    };
    let spec = SecretSpec {
        data: world.rng.below(1000).to_string().into_bytes().into(),
        ..present.spec.clone()
    };
    let update = pb::UpdateData {
        id: id_bytes(present.id),
        version: 0,
        spec: Some((&spec).into()),
        rollout: Some(world.rng.chance(70)),
    };
    send(world, "rotate secret", Change::UpdateSecret(update));
}

fn service(world: &mut World, state: &Snapshot) -> ServiceSpec {
    let mut task = TaskSpec::default();
    task.container.image = "image:0".into();
    for network in state.networks().filter(|network| !network.spec.ingress) {
        if world.rng.chance(40) {
            task.networks.push(NetworkAttachmentSpec {
                network: network.id,
                aliases: Vec::new(),
            });
        }
    }
    for secret in state.secrets() {
        if world.rng.chance(40) {
            task.container.secrets.push(FileReference {
                id: secret.id,
                name: secret.spec.name.clone(),
                target: FileTarget {
                    path: secret.spec.name.clone(),
                    uid: 0,
                    gid: 0,
                    mode: 0o444,
                },
            });
        }
    }
    if world.rng.chance(30) {
        task.resources.cpu_reservation = NanoCpus(1 + world.rng.below(1_500_000_000));
    }
    if world.rng.chance(15) {
        task.placement.constraints = vec!["engine.labels.zone==z0".into()];
    }
    if world.rng.chance(15) {
        task.placement.max_replicas_per_node = 1 + world.rng.below(2) as u32;
    }
    task.restart.condition = match world.rng.below(6) {
        0 => RestartCondition::None,
        1 => RestartCondition::OnFailure,
        _ => RestartCondition::Any,
    };
    if world.rng.chance(20) {
        let grace = Duration::from_secs(world.rng.below(60));
        task.container.stop_grace_period = Some(grace);
    }
    task.restart.delay = Some(Duration::from_millis(world.rng.below(3000)));
    // A crash loop has to be over within the time in which all comes right.
    task.restart.max_delay = Some(Duration::from_secs(60));
    let mut spec = ServiceSpec {
        name: format!("svc{}", world.rng.below(1000)),
        mode: mode(world),
        task: Arc::new(task),
        ..ServiceSpec::default()
    };
    if spec.mode.is_job() {
        return spec;
    }
    if matches!(spec.mode, ServiceMode::Replicated { .. }) && world.rng.chance(30) {
        spec.rebalance = Rebalance::Auto;
    }
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
            published: match world.rng.chance(50) {
                true => 0,
                false => 8000 + world.rng.below(5) as u16,
            },
            mode: match world.rng.chance(70) {
                true => PublishMode::Ingress,
                false => PublishMode::Host,
            },
            masquerade: false,
        });
    }
    spec
}

fn mode(world: &mut World) -> ServiceMode {
    let number = world.rng.below(8) as u32;
    match world.rng.below(20) {
        0..=4 => ServiceMode::Global,
        5 => ServiceMode::GlobalJob,
        6..=8 => ServiceMode::ReplicatedJob {
            completions: number,
            concurrent: world.rng.below(4) as u32,
        },
        _ => ServiceMode::Replicated { replicas: number },
    }
}

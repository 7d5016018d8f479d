//! What each node is told: derived from a snapshot, sent as differences.
//!
//! Pure. The part that is the same for all nodes (services and peers as
//! networks see them) is worked out once a version and shared.

use skep_manager_store::Snapshot;
use skep_types::assignment::{
    AssignmentChange, AssignmentSet, EndpointView, Peer, ServiceOnNetwork, ServiceView,
};
use skep_types::{
    Network, NetworkId, Node, NodeId, NodeState, Service, ServiceId, Task, TaskState, Version,
};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

/// What all nodes see alike.
#[derive(Default)]
pub(crate) struct Views {
    version: Version,
    services: BTreeMap<ServiceId, Arc<ServiceView>>,
    peers: BTreeMap<NodeId, Arc<Peer>>,
    networks: BTreeMap<NetworkId, Arc<Network>>,
}

/// The newest views, for all sessions together.
#[derive(Default)]
pub(crate) struct SharedViews(Mutex<Arc<Views>>);

impl SharedViews {
    /// Those of this snapshot. Views that did not change stay the same object.
    pub(crate) fn of(&self, snapshot: &Snapshot) -> Arc<Views> {
        let mut newest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if newest.version != snapshot.version() {
            *newest = Arc::new(views(snapshot, &newest));
        }
        newest.clone()
    }
}

fn views(snapshot: &Snapshot, old: &Views) -> Views {
    let services = snapshot.services().map(|service| {
        let view = service_view(snapshot, service);
        (service.id, reuse(old.services.get(&service.id), view))
    });
    let port = snapshot
        .cluster()
        .map_or(51820, |cluster| cluster.spec.data_path_port);
    let peers = snapshot.nodes().filter_map(|node| {
        let peer = peer(node, port)?;
        Some((node.id, reuse(old.peers.get(&node.id), peer)))
    });
    Views {
        version: snapshot.version(),
        services: services.collect(),
        peers: peers.collect(),
        networks: snapshot
            .networks()
            .map(|network| (network.id, network.clone()))
            .collect(),
    }
}

fn reuse<T: PartialEq>(old: Option<&Arc<T>>, new: T) -> Arc<T> {
    match old {
        Some(old) if **old == new => old.clone(),
        _ => Arc::new(new),
    }
}

fn service_view(snapshot: &Snapshot, service: &Service) -> ServiceView {
    let vip = |network| {
        service
            .endpoint
            .vips
            .iter()
            .find(|vip| vip.network == network)
            .and_then(|vip| match vip.address {
                IpAddr::V4(address) => Some(address),
                IpAddr::V6(_) => None,
            })
    };
    let networks = service.spec.task.networks.iter().map(|attachment| {
        let on = ServiceOnNetwork {
            vip: vip(attachment.network),
            aliases: attachment.aliases.clone(),
        };
        (attachment.network, on)
    });
    let mut endpoints: Vec<EndpointView> = snapshot
        .tasks_of(service.id)
        .filter_map(|task| endpoint(snapshot, task))
        .collect();
    endpoints.sort_by_key(|endpoint| endpoint.task);
    ServiceView {
        name: service.spec.name.clone(),
        networks: networks.collect(),
        ports: service.endpoint.ports.clone(),
        endpoints,
    }
}

/// A task takes traffic while it runs, is meant to, and its node is not known
/// to be away.
fn endpoint(snapshot: &Snapshot, task: &Task) -> Option<EndpointView> {
    let serves = task.status.state == TaskState::Running && task.desired == TaskState::Running;
    let node = task.node.filter(|_| serves)?;
    if snapshot.node(node)?.status.state == NodeState::Down {
        return None;
    }
    let addresses = task
        .attachments
        .iter()
        .filter_map(|attachment| match attachment.address {
            IpAddr::V4(address) => Some((attachment.network, address)),
            IpAddr::V6(_) => None,
        });
    Some(EndpointView {
        task: task.id,
        slot: task.slot,
        node,
        addresses: addresses.collect(),
    })
}

fn peer(node: &Node, port: u16) -> Option<Peer> {
    let mesh = node.mesh?;
    if node.description.wireguard_key == [0; 32] {
        return None;
    }
    let endpoint = node.description.data_path.or_else(|| {
        node.status
            .address
            .map(|address| SocketAddr::new(address, port))
    })?;
    Some(Peer {
        id: node.id,
        hostname: node.description.hostname.clone(),
        public_key: node.description.wireguard_key,
        endpoint,
        mesh,
        ready: node.status.state == NodeState::Ready,
    })
}

/// Everything this node should know. Objects that did not change since `old`
/// are the same objects.
pub(crate) fn set_for(snapshot: &Snapshot, views: &Views, node: NodeId) -> AssignmentSet {
    let mut set = AssignmentSet {
        networks: views.networks.clone(),
        peers: views.peers.clone(),
        services: views.services.clone(),
        ..AssignmentSet::default()
    };
    for task in snapshot.tasks_on(node) {
        // Before ASSIGNED a task is the scheduler's; what has ended is only
        // told again until the agent has been told to forget it.
        if task.status.state < TaskState::Assigned {
            continue;
        }
        if task.desired <= TaskState::Running && !task.status.state.is_terminal() {
            for secret in &task.spec.container.secrets {
                if let Some(found) = snapshot.secret(secret.id) {
                    set.secrets.insert(secret.id, found.clone());
                }
            }
            for config in &task.spec.container.configs {
                if let Some(found) = snapshot.config(config.id) {
                    set.configs.insert(config.id, found.clone());
                }
            }
        }
        set.tasks.insert(task.id, task.clone());
    }
    set
}

/// The changes that lead from one set to another: what a task needs comes
/// before the task, what it needed goes after it.
pub(crate) fn changes(old: &AssignmentSet, new: &AssignmentSet) -> Vec<AssignmentChange> {
    let mut changes = Vec::new();
    put(
        &old.networks,
        &new.networks,
        AssignmentChange::Network,
        &mut changes,
    );
    put(&old.peers, &new.peers, AssignmentChange::Peer, &mut changes);
    put(
        &old.secrets,
        &new.secrets,
        AssignmentChange::Secret,
        &mut changes,
    );
    put(
        &old.configs,
        &new.configs,
        AssignmentChange::Config,
        &mut changes,
    );
    put(
        &old.services,
        &new.services,
        AssignmentChange::Service,
        &mut changes,
    );
    for (id, task) in &new.tasks {
        // What the agent reported itself need not be told to it.
        let told = old.tasks.get(id).is_some_and(|old| {
            Arc::ptr_eq(old, task)
                || (old.desired == task.desired
                    && old.attachments == task.attachments
                    && Arc::ptr_eq(&old.spec, &task.spec))
        });
        if !told {
            changes.push(AssignmentChange::Task(*id, Some(task.clone())));
        }
    }
    gone(&old.tasks, &new.tasks, AssignmentChange::Task, &mut changes);
    gone(
        &old.services,
        &new.services,
        AssignmentChange::Service,
        &mut changes,
    );
    gone(
        &old.configs,
        &new.configs,
        AssignmentChange::Config,
        &mut changes,
    );
    gone(
        &old.secrets,
        &new.secrets,
        AssignmentChange::Secret,
        &mut changes,
    );
    gone(&old.peers, &new.peers, AssignmentChange::Peer, &mut changes);
    gone(
        &old.networks,
        &new.networks,
        AssignmentChange::Network,
        &mut changes,
    );
    changes
}

type Change<I, T> = fn(I, Option<Arc<T>>) -> AssignmentChange;

fn put<I: Ord + Copy, T: PartialEq>(
    old: &BTreeMap<I, Arc<T>>,
    new: &BTreeMap<I, Arc<T>>,
    change: Change<I, T>,
    changes: &mut Vec<AssignmentChange>,
) {
    for (id, object) in new {
        let same = |old: &Arc<T>| Arc::ptr_eq(old, object) || **old == **object;
        if !old.get(id).is_some_and(same) {
            changes.push(change(*id, Some(object.clone())));
        }
    }
}

fn gone<I: Ord + Copy, T>(
    old: &BTreeMap<I, Arc<T>>,
    new: &BTreeMap<I, Arc<T>>,
    change: Change<I, T>,
    changes: &mut Vec<AssignmentChange>,
) {
    changes.extend(
        old.keys()
            .filter(|id| !new.contains_key(id))
            .map(|id| change(*id, None)),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use skep_types::assignment::AssignmentChange as Change;
    use skep_types::{Meta, Secret, SecretId, SecretSpec, Slot, TaskId, TaskStatus};

    fn task(bits: u128, desired: TaskState) -> (TaskId, Arc<Task>) {
        let id = TaskId::from_bits(bits);
        let task = Task {
            id,
            meta: Meta::default(),
            service: ServiceId::from_bits(1),
            service_name: "web".into(),
            slot: Slot(1),
            node: None,
            spec: Arc::default(),
            spec_version: Version(1),
            desired,
            status: TaskStatus {
                state: TaskState::Assigned,
                ..TaskStatus::default()
            },
            attachments: Vec::new(),
        };
        (id, Arc::new(task))
    }

    fn secret(bits: u128) -> (SecretId, Arc<Secret>) {
        let id = SecretId::from_bits(bits);
        (
            id,
            Arc::new(Secret {
                id,
                meta: Meta::default(),
                spec: SecretSpec::default(),
            }),
        )
    }

    fn applied(old: &AssignmentSet, new: &AssignmentSet) -> AssignmentSet {
        let mut set = old.clone();
        for change in changes(old, new) {
            set.apply(change);
        }
        set
    }

    #[test]
    fn the_changes_lead_from_one_set_to_the_other() {
        let empty = AssignmentSet::default();
        let mut one = AssignmentSet::default();
        one.tasks
            .extend([task(1, TaskState::Running), task(2, TaskState::Running)]);
        one.secrets.extend([secret(1)]);
        let mut other = AssignmentSet::default();
        other
            .tasks
            .extend([task(2, TaskState::Shutdown), task(3, TaskState::Running)]);
        other.secrets.extend([secret(2)]);
        for (from, to) in [
            (&empty, &one),
            (&one, &other),
            (&other, &one),
            (&one, &empty),
        ] {
            assert_eq!(&applied(from, to), to);
        }
        assert!(changes(&one, &one).is_empty());
    }

    #[test]
    fn what_a_task_needs_comes_before_it_and_goes_after_it() {
        let empty = AssignmentSet::default();
        let mut full = AssignmentSet::default();
        full.tasks.extend([task(1, TaskState::Running)]);
        full.secrets.extend([secret(1)]);
        let there = changes(&empty, &full);
        assert!(
            matches!(there[..], [Change::Secret(..), Change::Task(..)]),
            "{there:?}"
        );
        let back = changes(&full, &empty);
        assert!(
            matches!(back[..], [Change::Task(..), Change::Secret(..)]),
            "{back:?}"
        );
    }

    #[test]
    fn a_node_is_not_told_what_it_said_itself() {
        let mut old = AssignmentSet::default();
        let (id, before) = task(1, TaskState::Running);
        old.tasks.insert(id, before.clone());
        let mut new = AssignmentSet::default();
        let status = TaskStatus {
            state: TaskState::Running,
            ..TaskStatus::default()
        };
        new.tasks.insert(
            id,
            Arc::new(Task {
                status,
                ..before.as_ref().clone()
            }),
        );
        assert!(changes(&old, &new).is_empty());
    }
}

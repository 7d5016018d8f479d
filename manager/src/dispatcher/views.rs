//! What all nodes are told alike: services, peers and networks. Kept up with
//! the store by what differs between two snapshots.
//!
//! Pure. What of a network is told is in `networks`; what only one node is told, in
//! `assignments`; who is told when, in `board`.

mod networks;

use skep_manager_store::{Change, Difference, Snapshot};
use skep_types::assignment::{AssignmentChange, EndpointView, Peer, ServiceOnNetwork, ServiceView};
use skep_types::{
    Network, NetworkId, Node, NodeId, NodeState, Service, ServiceId, Task, TaskState,
};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// The views of one snapshot.
#[derive(Default)]
pub(crate) struct Views {
    services: BTreeMap<ServiceId, Arc<ServiceView>>,
    peers: BTreeMap<NodeId, Arc<Peer>>,
    networks: BTreeMap<NetworkId, Arc<Network>>,
}

impl Views {
    /// Makes the views of `old`, which these are, those of `new`. Returns what
    /// changed, what others may need first.
    pub(crate) fn advance(
        &mut self,
        old: &Snapshot,
        new: &Snapshot,
        difference: &Difference,
    ) -> Vec<AssignmentChange> {
        let mut changes = Vec::new();
        for Change { id, after, .. } in &difference.networks {
            let before = match after {
                Some(after) => self.networks.insert(*id, after.clone()),
                None => self.networks.remove(id),
            };
            networks::changes(*id, before.as_deref(), after.as_deref(), &mut changes);
        }
        let port = data_path_port(new);
        let mut set_peer = |id: NodeId, node: Option<&Arc<Node>>| {
            let peer = node.and_then(|node| peer(node, port)).map(Arc::new);
            put(&mut self.peers, id, peer, |id, peer| {
                changes.push(AssignmentChange::Peer(id, peer));
            });
        };
        for Change { id, after, .. } in &difference.nodes {
            set_peer(*id, after.as_ref());
        }
        if port != data_path_port(old) {
            new.nodes().for_each(|node| set_peer(node.id, Some(node)));
        }
        for id in outdated(old, new, difference) {
            let service = new.service(id).filter(|service| is_reached(service));
            let view = service.map(|service| Arc::new(service_view(new, service)));
            put(&mut self.services, id, view, |id, view| {
                changes.push(AssignmentChange::Service(id, view));
            });
        }
        changes
    }

    /// All of them, as changes of an empty set.
    pub(crate) fn all(&self) -> impl Iterator<Item = AssignmentChange> + '_ {
        let networks = self.networks.iter().flat_map(|(id, network)| {
            let mut changes = Vec::new();
            networks::changes(*id, None, Some(network), &mut changes);
            changes
        });
        let peers = self.peers.iter();
        let peers = peers.map(|(id, peer)| AssignmentChange::Peer(*id, Some(peer.clone())));
        let services = self.services.iter();
        let services = services.map(|(id, on)| AssignmentChange::Service(*id, Some(on.clone())));
        networks.chain(peers).chain(services)
    }
}

fn put<I: Ord + Copy, T: PartialEq>(
    objects: &mut BTreeMap<I, Arc<T>>,
    id: I,
    object: Option<Arc<T>>,
    mut changed: impl FnMut(I, Option<Arc<T>>),
) {
    if objects.get(&id) == object.as_ref() {
        return;
    }
    match &object {
        Some(object) => objects.insert(id, object.clone()),
        None => objects.remove(&id),
    };
    changed(id, object);
}

fn data_path_port(snapshot: &Snapshot) -> u16 {
    let cluster = snapshot.cluster();
    cluster.map_or(51820, |cluster| cluster.spec.data_path_port)
}

/// Services whose view may be another.
fn outdated(old: &Snapshot, new: &Snapshot, difference: &Difference) -> BTreeSet<ServiceId> {
    let mut services: BTreeSet<ServiceId> = difference.services.iter().map(|c| c.id).collect();
    for Change { before, after, .. } in &difference.tasks {
        let service = before.iter().chain(after).next().map(|task| task.service);
        // One that is another service by now is among those above.
        let service = service.and_then(|id| new.service(id));
        if !service.is_some_and(|service| is_reached(service)) {
            continue;
        }
        let before_serves = before.as_ref().and_then(|task| endpoint(old, task));
        let after_serves = after.as_ref().and_then(|task| endpoint(new, task));
        if before_serves != after_serves {
            services.extend(before.iter().chain(after).map(|task| task.service));
        }
    }
    for Change { id, before, after } in &difference.nodes {
        let serves = |node: &Option<Arc<Node>>| node.as_ref().is_some_and(|node| serves(node));
        if serves(before) != serves(after) {
            services.extend(old.tasks_on(*id).map(|task| task.service));
            services.extend(new.tasks_on(*id).map(|task| task.service));
        }
    }
    services
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
    let tasks = snapshot.tasks_of(service.id);
    let mut endpoints: Vec<EndpointView> =
        tasks.filter_map(|task| endpoint(snapshot, task)).collect();
    endpoints.sort_by_key(|endpoint| endpoint.task);
    ServiceView {
        name: service.spec.name.clone(),
        networks: networks.collect(),
        ports: service.endpoint.ports.clone(),
        endpoints,
    }
}

/// Whether there is a way to its tasks from elsewhere: a network on which they have a
/// name, or a port. To tell all nodes of services that nobody can ask for anything, and of
/// each of their tasks, is most of the work of starting them.
fn is_reached(service: &Service) -> bool {
    !service.spec.task.networks.is_empty()
        || !service.spec.endpoint.ports.is_empty()
        || !service.endpoint.ports.is_empty()
}

fn serves(node: &Node) -> bool {
    node.status.state != NodeState::Down
}

/// A task takes traffic while it runs, says that it can, is meant to, and its node
/// is not known to be away.
fn endpoint(snapshot: &Snapshot, task: &Task) -> Option<EndpointView> {
    let takes = task.status.is_ready() && task.desired == TaskState::Running;
    let node = task.node.filter(|_| takes)?;
    if !serves(snapshot.node(node)?) {
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
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use skep_manager_store::{Action, NodeAction, ServiceAction, Store, TaskAction};
    use skep_types::{
        EndpointSpec, PortConfig, Protocol, PublishMode, ServiceSpec, TaskId, TaskStatus,
        Timestamp, Version,
    };

    /// The view of a service with these ports, if there is one, and whether its task's start
    /// changed anything.
    fn told(ports: Vec<PortConfig>) -> (Option<Arc<ServiceView>>, bool) {
        let (node, id, task) = (
            NodeId::from_bits(1),
            ServiceId::from_bits(1),
            TaskId::from_bits(1),
        );
        let host = testing::host(node);
        let mut spec = ServiceSpec {
            name: "web".to_owned(),
            ..ServiceSpec::default()
        };
        spec.endpoint = EndpointSpec {
            ports,
            ..EndpointSpec::default()
        };
        let new = testing::new_task(task, node);
        let version = Version(1);
        let make = [
            Action::Node(NodeAction::Create(Box::new(host))),
            Action::Service(ServiceAction::Create {
                id,
                spec: Box::new(spec),
            }),
            Action::Task(TaskAction::Create {
                service: id,
                version,
                spec_version: version,
                tasks: vec![new],
            }),
        ];
        let runs = TaskStatus {
            state: TaskState::Running,
            ..TaskStatus::default()
        };
        let run = TaskAction::UpdateStatus {
            updates: vec![(task, runs)],
        };
        let (mut store, mut views) = (Store::new(), Views::default());
        let mut step = |version: u64, actions: &[Action]| {
            let old = store.snapshot();
            let applied = store.apply(Version(version), Timestamp(1), actions);
            assert_eq!(applied.into_result(), Ok(()));
            let new = store.snapshot();
            let difference = Difference::between(&old, &new);
            views.advance(&old, &new, &difference)
        };
        step(1, &make);
        let changed = !step(2, &[Action::Task(run)]).is_empty();
        (views.services.get(&id).cloned(), changed)
    }

    #[test]
    fn of_a_service_that_nobody_can_send_anything_no_node_is_told() {
        assert_eq!(told(Vec::new()), (None, false));
        let (view, changed) = told(vec![PortConfig {
            protocol: Protocol::Tcp,
            target: 80,
            published: 8080,
            mode: PublishMode::Host,
            masquerade: false,
        }]);
        assert_eq!((view.unwrap().endpoints.len(), changed), (1, true));
    }
}

//! What a manager tells a node: its tasks, what they need, and the part of the
//! cluster its network has to know.
//!
//! A session begins with a complete set and goes on with changes; the set is
//! keyed, so that applying a change twice is harmless.

use crate::endpoint::PortConfig;
use crate::id::{ConfigId, NetworkId, NodeId, SecretId, ServiceId, TaskId};
use crate::meta::Labels;
use crate::network::{BlockOwner, Network};
use crate::secret::{Config, Secret};
use crate::task::{Slot, Task};
use ipnet::Ipv4Net;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// Everything a node has been told.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct AssignmentSet {
    /// Tasks of this node, those to be shut down included.
    pub tasks: BTreeMap<TaskId, Arc<Task>>,
    /// Secrets those tasks use.
    pub secrets: BTreeMap<SecretId, Arc<Secret>>,
    /// Configs those tasks use.
    pub configs: BTreeMap<ConfigId, Arc<Config>>,
    /// Labels of the services of those tasks that have templates, where there are any.
    pub labels: BTreeMap<ServiceId, Arc<Labels>>,
    /// All networks, with the blocks nodes hold.
    pub networks: BTreeMap<NetworkId, Arc<Network>>,
    /// All other nodes that are part of the mesh, and this one.
    pub peers: BTreeMap<NodeId, Arc<Peer>>,
    /// All services that can be reached.
    pub services: BTreeMap<ServiceId, Arc<ServiceView>>,
}

/// One change of an [`AssignmentSet`]: the new value, or `None` where the
/// object is gone.
#[derive(Debug, Clone, PartialEq)]
pub enum AssignmentChange {
    /// A task.
    Task(TaskId, Option<Arc<Task>>),
    /// A secret.
    Secret(SecretId, Option<Arc<Secret>>),
    /// A config.
    Config(ConfigId, Option<Arc<Config>>),
    /// Labels of a service.
    Labels(ServiceId, Option<Arc<Labels>>),
    /// A network, with the blocks of it that are told in one piece.
    Network(NetworkId, Option<Arc<Network>>),
    /// Blocks of a network that another holds now, or nobody.
    Blocks(NetworkId, BTreeMap<Ipv4Net, Option<BlockOwner>>),
    /// A node of the mesh.
    Peer(NodeId, Option<Arc<Peer>>),
    /// A service that can be reached.
    Service(ServiceId, Option<Arc<ServiceView>>),
}

/// A node as other nodes' networks see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Id.
    pub id: NodeId,
    /// Host name.
    pub hostname: String,
    /// WireGuard public key.
    pub public_key: [u8; 32],
    /// Where its WireGuard port is.
    pub endpoint: SocketAddr,
    /// Its address inside the mesh.
    pub mesh: Ipv4Addr,
}

/// A service as nodes' networks see it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServiceView {
    /// Name.
    pub name: String,
    /// Names and virtual address a network.
    pub networks: BTreeMap<NetworkId, ServiceOnNetwork>,
    /// Published ports in force.
    pub ports: Vec<PortConfig>,
    /// Tasks that take traffic now, sorted by task id.
    pub endpoints: Vec<EndpointView>,
}

/// A service on one network.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServiceOnNetwork {
    /// Virtual address; `None` for round-robin DNS.
    pub vip: Option<Ipv4Addr>,
    /// Further names.
    pub aliases: Vec<String>,
}

/// A task that takes traffic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointView {
    /// The task.
    pub task: TaskId,
    /// Its slot.
    pub slot: Slot,
    /// Its node.
    pub node: NodeId,
    /// Its address a network.
    pub addresses: BTreeMap<NetworkId, Ipv4Addr>,
}

impl AssignmentSet {
    /// Applies one change.
    pub fn apply(&mut self, change: AssignmentChange) {
        fn put<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: Option<V>) {
            match value {
                Some(value) => map.insert(key, value),
                None => map.remove(&key),
            };
        }
        match change {
            AssignmentChange::Task(id, task) => put(&mut self.tasks, id, task),
            AssignmentChange::Secret(id, secret) => put(&mut self.secrets, id, secret),
            AssignmentChange::Config(id, config) => put(&mut self.configs, id, config),
            AssignmentChange::Labels(id, labels) => put(&mut self.labels, id, labels),
            AssignmentChange::Network(id, network) => put(&mut self.networks, id, network),
            AssignmentChange::Blocks(id, blocks) => {
                // Of a network that is not there nothing is told.
                if let Some(network) = self.networks.get_mut(&id) {
                    let network = Arc::make_mut(network);
                    for (block, owner) in blocks {
                        put(&mut network.blocks, block, owner);
                    }
                }
            }
            AssignmentChange::Peer(id, peer) => put(&mut self.peers, id, peer),
            AssignmentChange::Service(id, service) => put(&mut self.services, id, service),
        }
    }

    /// Blocks a node holds in a network.
    pub fn blocks_of(network: &Network, node: NodeId) -> impl Iterator<Item = Ipv4Net> + '_ {
        network
            .blocks
            .iter()
            .filter(move |(_, owner)| **owner == BlockOwner::Node(node))
            .map(|(block, _)| *block)
    }
}

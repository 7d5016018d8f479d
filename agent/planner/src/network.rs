//! The network of one node as a value: what it should be ([`Desired`]), worked out from what the managers
//! said ([`desired`]), as the kernel objects that make it up ([`kernel`]), and the names its containers
//! can ask for ([`names`]).
//!
//! Everything here is pure. Reading the kernel, and changing it, belongs to the data plane.

pub mod clash;
mod compute;
pub mod kernel;
pub mod names;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use ipnet::Ipv4Net;
use skep_types::{NetworkId, NodeId, Protocol, PublishMode, TaskId};

pub use compute::{ComputeError, desired};
pub use names::Zone;

/// Everything the network of this node should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desired {
    /// This node.
    pub node: NodeId,
    /// Its place in the mesh between the nodes.
    pub mesh: Mesh,
    /// The other nodes.
    pub peers: BTreeMap<NodeId, Peer>,
    /// The networks of the cluster.
    pub networks: BTreeMap<NetworkId, Network>,
    /// The containers of this node.
    pub endpoints: BTreeMap<TaskId, Endpoint>,
    /// Virtual addresses, and where their connections go.
    pub services: BTreeMap<Ipv4Addr, Vec<Backend>>,
    /// Ports open on this node.
    pub ports: BTreeMap<PortKey, PublishedPort>,
    /// Names, a network.
    pub zones: BTreeMap<NetworkId, Zone>,
}

/// This node's place in the mesh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mesh {
    /// Its address.
    pub address: Ipv4Addr,
    /// Where all nodes' mesh addresses come from; at most 16 bits wide.
    pub subnet: Ipv4Net,
    /// Largest packet inside the mesh, in bytes; follows the underlay when not set.
    pub mtu: Option<u32>,
}

impl Mesh {
    /// The number of the node with this mesh address: marks, routing tables and hardware addresses are
    /// made from it. Two nodes of a mesh never share one.
    pub fn index(&self, address: Ipv4Addr) -> u16 {
        (address.to_bits() & self.subnet.hostmask().to_bits()) as u16
    }
}

/// Another node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// WireGuard public key.
    pub public_key: [u8; 32],
    /// Where its WireGuard port is.
    pub endpoint: SocketAddr,
    /// Its mesh address.
    pub mesh: Ipv4Addr,
    /// Blocks of all networks whose addresses its containers have.
    pub blocks: Vec<Ipv4Net>,
    /// See [`Mesh::index`].
    pub index: u16,
}

/// A network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// Name.
    pub name: String,
    /// Subnets in force.
    pub subnets: Vec<Ipv4Net>,
    /// The blocks this node holds.
    pub own_blocks: Vec<Ipv4Net>,
    /// No way out of the swarm.
    pub internal: bool,
    /// Containers on it do not reach each other: the network behind published ports.
    pub isolated: bool,
}

/// The network side of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Networks in the order of the spec, the ingress network last, and the address on each.
    pub attachments: Vec<(NetworkId, Ipv4Addr)>,
    /// An address of the node's own for a container without any network, to reach the outside from.
    pub local: Option<Ipv4Addr>,
    /// The address from which it speaks to all but its networks, and at which published ports reach it: what
    /// answers them must come from where the question went.
    pub source: Option<Ipv4Addr>,
    /// Whether it may begin connections to the outside.
    pub egress: bool,
    /// Name servers to ask for what the cluster does not know; the node's when empty.
    pub dns_servers: Vec<SocketAddr>,
}

impl Endpoint {
    /// All its addresses.
    pub fn addresses(&self) -> impl Iterator<Item = Ipv4Addr> + '_ {
        self.attachments
            .iter()
            .map(|(_, address)| *address)
            .chain(self.local)
    }
}

/// Where a connection to a service can go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Backend {
    /// The task's address.
    pub address: Ipv4Addr,
    /// Its node.
    pub node: NodeId,
}

/// What makes a published port unique on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortKey {
    /// Transport protocol.
    pub protocol: Protocol,
    /// The port outside.
    pub published: u16,
}

/// A port open on this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedPort {
    /// Port in the containers.
    pub target: u16,
    /// The tasks behind it.
    pub backends: Vec<Backend>,
    /// On every node or only on those with a task.
    pub mode: PublishMode,
    /// Hide the client's address behind the node's where the task is on another node.
    pub masquerade: bool,
}

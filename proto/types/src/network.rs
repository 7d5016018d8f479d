//! Networks: subnets, and the blocks of them that nodes hold.

use crate::id::{NetworkId, NodeId};
use crate::meta::{Labels, Meta};
use ipnet::Ipv4Net;
use std::collections::BTreeMap;

/// A network as the user wants it. Cannot be changed later.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NetworkSpec {
    /// Unique name.
    pub name: String,
    /// Labels.
    pub labels: Labels,
    /// Driver; `overlay` is the only one of the swarm.
    pub driver: String,
    /// Driver options.
    pub options: Labels,
    /// Subnets asked for; taken from the cluster's pool when empty.
    pub subnets: Vec<Ipv4Net>,
    /// No way out of the swarm.
    pub internal: bool,
    /// Plain containers may join.
    pub attachable: bool,
    /// The network through which published ports reach tasks: tasks on it do
    /// not see each other.
    pub ingress: bool,
    /// IPv6 beside IPv4.
    pub ipv6: bool,
}

/// A network as the cluster keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// Id.
    pub id: NetworkId,
    /// Version and times.
    pub meta: Meta,
    /// Intent.
    pub spec: NetworkSpec,
    /// Subnets in force; grows when full.
    pub subnets: Vec<Ipv4Net>,
    /// Who holds which block of them.
    pub blocks: BTreeMap<Ipv4Net, BlockOwner>,
}

/// Who gives out the addresses of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BlockOwner {
    /// Tasks of this node.
    Node(NodeId),
    /// Virtual addresses of services.
    Services,
}

/// A service's wish to be on a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkAttachmentSpec {
    /// The network.
    pub network: NetworkId,
    /// Further names of the service on it.
    pub aliases: Vec<String>,
}

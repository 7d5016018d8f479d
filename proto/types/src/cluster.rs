//! The cluster object: settings that hold for all nodes, and its keys.

use crate::id::{ClusterId, NodeId};
use crate::meta::{Meta, Timestamp};
use ipnet::Ipv4Net;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// The one cluster object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// Id; O of every certificate.
    pub id: ClusterId,
    /// Version and times.
    pub meta: Meta,
    /// Settings.
    pub spec: ClusterSpec,
    /// Certificate authority.
    pub root_ca: RootCa,
    /// Secret halves of the join tokens.
    pub join_secrets: JoinSecrets,
    /// Removed nodes, refused until the time given (their certificate's end).
    pub blocked: BTreeMap<NodeId, Timestamp>,
    /// Highest Raft id given so far; ids are never reused.
    pub last_raft_id: u64,
}

/// Settings of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterSpec {
    /// Time between heartbeats of a node; three missed make it Down.
    pub heartbeat: Duration,
    /// Tasks kept per slot, the live one included; negative keeps all.
    pub task_history: i32,
    /// Life of a node certificate.
    pub cert_expiry: Duration,
    /// Where subnets of networks are taken from.
    pub address_pools: Vec<Ipv4Net>,
    /// Prefix length of such a subnet.
    pub subnet_length: u8,
    /// Addresses of the nodes inside the WireGuard mesh.
    pub mesh_subnet: Ipv4Net,
    /// UDP port of WireGuard on every node.
    pub data_path_port: u16,
}

/// The certificate authority.
#[derive(Clone, PartialEq, Eq)]
pub struct RootCa {
    /// Certificate, PEM.
    pub certificate: String,
    /// Private key, PEM. Leaves the managers never.
    pub key: String,
}

impl fmt::Debug for RootCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RootCa")
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

/// Secret halves of the join tokens.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinSecrets {
    /// For workers.
    pub worker: String,
    /// For managers.
    pub manager: String,
}

impl fmt::Debug for JoinSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JoinSecrets")
    }
}

/// A subnet, with the bits outside its prefix cleared; `None` for a prefix
/// length above 32.
pub fn subnet(address: std::net::Ipv4Addr, length: u8) -> Option<Ipv4Net> {
    Ipv4Net::new(address, length).ok().map(|net| net.trunc())
}

//! The cluster object: settings that hold for all nodes, and its keys.

use crate::client::Clients;
use crate::format::Format;
use crate::id::{ClusterId, NodeId};
use crate::meta::{Meta, Timestamp};
use ipnet::Ipv4Net;
use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;
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
    /// When the last certificate has ended that was issued under earlier
    /// settings.
    pub certificates_until: Timestamp,
    /// Highest Raft id given so far; ids are never reused.
    pub last_raft_id: u64,
    /// What entries and snapshots are written in. Every manager reads it.
    pub format: Format,
    /// What managers that restart are unlocked with; `None` while they unlock
    /// themselves.
    pub unlock_key: Option<UnlockKey>,
    /// Who has a certificate without being a node.
    pub clients: Clients,
}

impl Cluster {
    /// When the last certificate has ended that was issued up to `now`. Twice
    /// their life, since clocks differ.
    pub fn certificates_end(&self, now: Timestamp) -> Timestamp {
        self.certificates_until
            .max(now + self.spec.cert_expiry.saturating_mul(2))
    }

    /// The same with those of clients, which live as long as was asked for.
    pub fn all_certificates_end(&self, now: Timestamp) -> Timestamp {
        let clients = self.clients.values().map(|client| client.until);
        clients.fold(self.certificates_end(now), Timestamp::max)
    }
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
    /// Tasks of the swarm that are moved a minute, at most, so that services whose tasks are
    /// spread by themselves are even; 0 for none.
    pub rebalance_per_minute: u32,
    /// Something said of the swarm.
    #[cfg(feature = "next-format")]
    pub note: String,
}

/// Nodes up to which the cluster's heartbeat is asked for as it is.
const NODES_OF_OWN_HEARTBEAT: usize = 2500;

/// The time between heartbeats that is asked of nodes where there are so many: the
/// cluster's own, and beyond 2,500 nodes twice that, beyond twice the number four times,
/// and so on, so that the work of hearing them stays within a core.
pub fn heartbeat_among(own: Duration, nodes: usize) -> Duration {
    let times = nodes.div_ceil(NODES_OF_OWN_HEARTBEAT).max(1);
    own.saturating_mul(u32::try_from(times.next_power_of_two()).unwrap_or(u32::MAX))
}

impl Default for ClusterSpec {
    /// Swarm's settings, but for the heartbeat: a silent node is to be replaced
    /// within seconds.
    fn default() -> ClusterSpec {
        const POOL: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(10, 0, 0, 0), 8);
        const MESH: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(10, 255, 0, 0), 16);
        ClusterSpec {
            heartbeat: Duration::from_secs(1),
            task_history: 5,
            cert_expiry: Duration::from_secs(90 * 24 * 3600),
            address_pools: vec![POOL],
            subnet_length: 24,
            mesh_subnet: MESH,
            data_path_port: 51820,
            rebalance_per_minute: 6,
            #[cfg(feature = "next-format")]
            note: String::new(),
        }
    }
}

/// The certificate authority.
#[derive(Clone, PartialEq, Eq)]
pub struct RootCa {
    /// Certificate, PEM.
    pub certificate: String,
    /// Private key, PEM. Leaves the managers never.
    pub key: String,
    /// The root that takes its place, while a rotation is under way. Nodes
    /// trust both, certificates are issued under this one.
    pub next: Option<NextRoot>,
    /// Roots that were replaced while some nodes were away, newest first.
    pub former: Vec<FormerRoot>,
}

/// A root that nodes are being moved to.
#[derive(Clone, PartialEq, Eq)]
pub struct NextRoot {
    /// Certificate, PEM.
    pub certificate: String,
    /// Private key, PEM.
    pub key: String,
    /// The certificate of the same key signed by the present root, PEM: who
    /// trusts only that one believes certificates of this root by it.
    pub cross_signed: String,
}

/// A root that was replaced. Only the certificates that nodes left behind last
/// showed are still good under it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormerRoot {
    /// Certificate, PEM.
    pub certificate: String,
    /// Certificate of its successor's key signed by it, PEM.
    pub cross_signed: String,
    /// When the last certificate under it has ended.
    pub until: Timestamp,
}

impl RootCa {
    /// An authority that replaces none.
    pub fn new(certificate: String, key: String) -> RootCa {
        RootCa {
            certificate,
            key,
            next: None,
            former: Vec::new(),
        }
    }
}

impl fmt::Debug for NextRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NextRoot")
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for RootCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RootCa")
            .field("certificate", &self.certificate)
            .field("next", &self.next)
            .field("former", &self.former)
            .finish_non_exhaustive()
    }
}

/// The key that the keys on managers' disks are sealed under.
#[derive(Clone, PartialEq, Eq)]
pub struct UnlockKey(pub [u8; 32]);

impl fmt::Debug for UnlockKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UnlockKey")
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

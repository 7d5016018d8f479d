//! How a service is reached: mode, published ports, virtual addresses.

use crate::id::NetworkId;
use std::fmt;
use std::net::IpAddr;

/// What the user asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EndpointSpec {
    /// Virtual address or plain DNS.
    pub mode: EndpointMode,
    /// Ports published outside.
    pub ports: Vec<PortConfig>,
}

/// How a service's name resolves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EndpointMode {
    /// To one virtual address, balanced over the tasks.
    #[default]
    Vip,
    /// To the addresses of all tasks.
    DnsRoundRobin,
}

/// A published port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortConfig {
    /// Transport protocol.
    pub protocol: Protocol,
    /// Port in the container.
    pub target: u16,
    /// Port outside; 0 in a spec means: choose one (30000 to 32767).
    pub published: u16,
    /// Where it is open.
    pub mode: PublishMode,
    /// Hide the client's address behind the node's (keeps it by default).
    pub masquerade: bool,
}

/// Transport protocol of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// `tcp`, `udp` or `sctp`.
impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
        })
    }
}

/// Where a published port is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum PublishMode {
    /// On every node, balanced over all tasks.
    #[default]
    Ingress,
    /// On the nodes that run a task, for that task.
    Host,
}

/// What the cluster gave the service.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Endpoint {
    /// Mode in force.
    pub mode: EndpointMode,
    /// Ports with their published number decided.
    pub ports: Vec<PortConfig>,
    /// One virtual address a network.
    pub vips: Vec<Vip>,
}

/// The virtual address of a service on one network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vip {
    /// The network.
    pub network: NetworkId,
    /// The address.
    pub address: IpAddr,
}

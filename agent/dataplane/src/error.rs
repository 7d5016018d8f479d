//! Everything the data plane can fail at.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use skep_agent_planner::network::clash::Clash;
use skep_types::NetworkId;

/// A failure of the data plane, named for what was being done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kernel gave no netlink socket.
    #[error("cannot open a netlink socket of family {family}")]
    OpenNetlink {
        /// Which family.
        family: &'static str,
        /// The kernel's reason.
        source: io::Error,
    },
    /// The kernel refused part of a packet filter transaction.
    #[error("cannot write packet filter rules: {object}")]
    WriteRules {
        /// What was refused.
        object: String,
        /// The kernel's reason.
        source: io::Error,
    },
    /// Connections could not be listed or forgotten.
    #[error("cannot {operation} tracked connections")]
    TrackConnections {
        /// `list` or `forget`.
        operation: &'static str,
        /// The kernel's reason.
        source: io::Error,
    },
    /// Links, addresses, routes or rules could not be listed.
    #[error("cannot list {objects} of the network")]
    ReadNetwork {
        /// What was being listed.
        objects: &'static str,
        /// The kernel's reason.
        source: io::Error,
    },
    /// A link, address, route or rule could not be changed.
    #[error("cannot {step}")]
    ChangeNetwork {
        /// The step, in words.
        step: String,
        /// The kernel's reason.
        source: io::Error,
    },
    /// An interface that should be there is not.
    #[error("network interface {name} does not exist")]
    NoLink {
        /// Its name.
        name: String,
    },
    /// A container's network namespace could not be made, entered or removed.
    #[error("cannot {operation} network namespace {}", .path.display())]
    Namespace {
        /// What was being done.
        operation: &'static str,
        /// Where it is mounted.
        path: PathBuf,
        /// The kernel's reason.
        source: io::Error,
    },
    /// A kernel setting could not be read or written.
    #[error("cannot set kernel setting {name} to {value}")]
    Setting {
        /// Path below `/proc/sys`.
        name: String,
        /// The value wanted.
        value: String,
        /// The kernel's reason.
        source: io::Error,
    },
    /// What must be known after a restart of the daemon could not be read or written.
    #[error("cannot read or write {}", .path.display())]
    Record {
        /// Its file.
        path: PathBuf,
        /// The kernel's reason.
        source: io::Error,
    },
    /// The name server of a container could not be opened.
    #[error("cannot open the resolver of a container on {address}")]
    OpenResolver {
        /// Where it listens.
        address: SocketAddr,
        /// The kernel's reason.
        source: io::Error,
    },
    /// A network's subnet meets a route of the node's own.
    #[error(transparent)]
    Clash(#[from] Clash),
    /// A container is attached to a network the managers have not told this node about.
    #[error("network {network} is not known on this node")]
    UnknownNetwork {
        /// Its id.
        network: NetworkId,
    },
    /// WireGuard could not be started or changed.
    #[error("cannot {operation} WireGuard")]
    WireGuard {
        /// What was being done.
        operation: &'static str,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The daemon's part in the network was ended: nothing is made any more.
    #[error("this node's network was ended")]
    Ended,
    /// A thread that works inside a namespace did not come back.
    #[error("work inside a network namespace did not finish")]
    Interrupted,
}

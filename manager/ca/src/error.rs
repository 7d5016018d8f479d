//! What can go wrong with keys and certificates.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use skep_types::{ClusterId, NodeId};

use crate::explain::Moment;

/// An operation on keys or certificates failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CaError {
    /// The system has no randomness, or a key cannot be used.
    #[error("cannot {action}: {reason}")]
    Crypto {
        /// What was tried.
        action: &'static str,
        /// The library's reason.
        reason: String,
    },
    /// Text or bytes are not what they should be.
    #[error("invalid {what}: {reason}")]
    Invalid {
        /// What was read.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The CA that was downloaded is not the one of the join token.
    #[error(
        "remote CA does not match fingerprint. Expected: {expected}; got: {got}. Take a fresh token from \"skep swarm join-token\" on a manager of the swarm you mean to join"
    )]
    Fingerprint {
        /// The digest in the token, base 36.
        expected: String,
        /// The digest of what came.
        got: String,
    },
    /// A certificate is over.
    #[error(
        "Swarm certificates have expired. To replace them, leave the swarm and join again. (The certificate of node {node} ended at {}, and the clock here says {}; if the clock is wrong, set it right)", Moment(*.not_after), Moment(*.now)
    )]
    Expired {
        /// Whose it is.
        node: NodeId,
        /// When it ended.
        not_after: SystemTime,
        /// The time here.
        now: SystemTime,
    },
    /// A certificate is not valid yet.
    #[error(
        "the certificate of node {node} is valid only from {}, and the clock here says {}; set the clocks of the nodes right", Moment(*.not_before), Moment(*.now)
    )]
    NotYet {
        /// Whose it is.
        node: NodeId,
        /// When it begins.
        not_before: SystemTime,
        /// The time here.
        now: SystemTime,
    },
    /// A client's certificate does not hold now.
    #[error("the certificate of client {name} {reason}")]
    ClientTime {
        /// Whose it is.
        name: String,
        /// When it does, and what to do.
        reason: String,
    },
    /// A client's certificate for another cluster.
    #[error("the certificate of client {name} is for swarm {found}, this is swarm {expected}")]
    ClientOfOther {
        /// Whose it is.
        name: String,
        /// The swarm in it.
        found: ClusterId,
        /// Our swarm.
        expected: ClusterId,
    },
    /// A certificate of another CA.
    #[error(
        "the certificate of node {node} was not issued by this swarm; the node is, or was, part of another one"
    )]
    Foreign {
        /// Whose it says it is.
        node: NodeId,
    },
    /// The key does not belong to the certificate.
    #[error("the private key does not belong to the certificate of node {node}")]
    KeyMismatch {
        /// Whose it is.
        node: NodeId,
    },
    /// A certificate for another cluster.
    #[error("the certificate of node {node} is for swarm {found}, this is swarm {expected}")]
    OtherCluster {
        /// Whose it is.
        node: NodeId,
        /// The swarm in it.
        found: ClusterId,
        /// Our swarm.
        expected: ClusterId,
    },
    /// A worker answered where a manager must.
    #[error(
        "node {node} is a worker and cannot act as a manager; give the address of a manager, or promote the node"
    )]
    NotManager {
        /// Who answered.
        node: NodeId,
    },
    /// The node was removed from the swarm.
    #[error("node {node} was removed from the swarm; it must leave and join again")]
    Removed {
        /// Which one.
        node: NodeId,
    },
    /// A certificate under a root that was replaced while its node was away,
    /// and not the one the node last showed.
    #[error(
        "the certificate of {whose} was issued under a root CA that was replaced; a node must leave the swarm and join again, a client needs a new certificate"
    )]
    Replaced {
        /// Which node or client.
        whose: String,
    },
    /// A root that cannot take the place of the present one.
    #[error("{reason}")]
    NewRoot {
        /// What is wrong with it.
        reason: String,
    },
    /// Certificates must live longer.
    #[error("minimum certificate expiry time is: 1h0m0s, not {} s", .asked.as_secs())]
    TooShort {
        /// What was asked for.
        asked: Duration,
    },
    /// An operation on a file failed.
    #[error("cannot {action} {}: {reason}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// The system's reason.
        reason: String,
    },
    /// There is no identity in this directory.
    #[error("no node identity in {}; the node is not part of a swarm", path.display())]
    NoIdentity {
        /// The directory.
        path: PathBuf,
    },
}

impl CaError {
    pub(crate) fn crypto(action: &'static str) -> impl FnOnce(&dyn std::fmt::Display) -> Self {
        move |reason| Self::Crypto {
            action,
            reason: reason.to_string(),
        }
    }

    pub(crate) fn invalid(what: &'static str, reason: impl std::fmt::Display) -> Self {
        Self::Invalid {
            what,
            reason: reason.to_string(),
        }
    }
}

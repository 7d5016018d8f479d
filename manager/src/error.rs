//! What can go wrong in the role as a whole.

use std::net::SocketAddr;

/// A manager that could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The log or its snapshot cannot be used.
    #[error("cannot open the raft log")]
    Raft(#[source] skep_manager_raft::OpenError),
    /// The first entry could not be written.
    #[error("cannot write the first entry of the new swarm")]
    Bootstrap(#[source] ProposeError),
    /// The group of one could not be formed.
    #[error("cannot form the raft group: {0}")]
    Form(String),
    /// The port is taken, most likely.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// No manager took this node in.
    #[error("none of the managers {managers} let this node join them: {last}")]
    Join {
        /// Those asked.
        managers: String,
        /// The last answer.
        last: String,
    },
}

/// A change that was not made.
#[derive(Debug, thiserror::Error)]
pub enum ProposeError {
    /// Another manager leads.
    #[error("this manager does not lead")]
    NotLeader {
        /// Where the leader is, if known.
        leader: Option<String>,
    },
    /// It cannot be agreed on now.
    #[error("{0}")]
    Unavailable(String),
    /// A change by itself is too large to be written.
    #[error("the change is too large: {0}")]
    TooLarge(String),
}

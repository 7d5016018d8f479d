//! What can go wrong in the role as a whole.

use skep_manager_store::format::readers;
use skep_types::Format;
use std::net::SocketAddr;

/// A manager that could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] skep_manager_ca::CaError),
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

impl StartError {
    /// What the log says of the member it belongs to.
    pub fn log_state(&self) -> LogState {
        use skep_manager_raft::OpenError;
        match self {
            StartError::Raft(
                OpenError::Damaged { .. }
                | OpenError::Missing { .. }
                | OpenError::WrongKey { .. }
                | OpenError::OtherMember { .. },
            ) => LogState::Lost,
            StartError::Raft(OpenError::OtherVersion { .. } | OpenError::Restore { .. }) => {
                LogState::Unreadable
            }
            StartError::Raft(
                OpenError::Io { .. }
                | OpenError::InUse { .. }
                | OpenError::Exists { .. }
                | OpenError::Timers(_)
                | OpenError::Crypto
                | OpenError::Start(_),
            )
            | StartError::Tls(_)
            | StartError::Bootstrap(_)
            | StartError::Form(_)
            | StartError::Listen { .. }
            | StartError::Join { .. } => LogState::Whole,
        }
    }
}

/// A log, as far as a manager that did not start can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogState {
    /// It is not what stands in the way; trying again may help.
    Whole,
    /// It cannot be used any more by this member: the node needs another seat,
    /// with a log that begins anew.
    Lost,
    /// This version of skep does not understand it.
    Unreadable,
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
    /// It would not be understood, by this version of skep or another.
    #[error("the change cannot be written: {0}")]
    Unreadable(String),
    /// A manager does not know yet what this change needs.
    #[error(
        "this change needs {} on every manager (format {wanted} of what they keep; they write \
         format {format} until then); see ENGINE VERSION in \"skep node ls\", and upgrade those \
         that are behind",
        readers(*.wanted)
    )]
    NotYet {
        /// What is written now.
        format: Format,
        /// What it needs.
        wanted: Format,
    },
    /// A change by itself is too large to be written.
    #[error("the change is too large: {0}")]
    TooLarge(String),
}

impl ProposeError {
    /// Whether the same change may be agreed on later.
    pub(crate) fn passes(&self) -> bool {
        match self {
            ProposeError::NotLeader { .. } | ProposeError::Unavailable(_) => true,
            ProposeError::Unreadable(_)
            | ProposeError::NotYet { .. }
            | ProposeError::TooLarge(_) => false,
        }
    }
}

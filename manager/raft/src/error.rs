//! What can go wrong, by operation.

use std::path::PathBuf;

use crate::wire::WireError;

/// Opening the log and the snapshots of a node failed. What to do differs:
/// see [`OpenError::lost_member`]; after `WrongKey` find the key, after
/// `OtherVersion` the version, after `InUse` the other process; after `Io` see
/// to the disk and try again.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// An operation on a file failed.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// Something that was once acknowledged cannot be read any more. The
    /// node must not vote: it may have forgotten what it promised. Move the
    /// directory aside and join again under a new Raft id.
    #[error("{} is damaged at byte {offset}: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Bytes from its start.
        offset: u64,
        /// What is wrong there.
        what: String,
    },
    /// The files were written under another data key.
    #[error("{} was written under another data key", path.display())]
    WrongKey {
        /// The file.
        path: PathBuf,
    },
    /// Written by a version of skep that knows more than this one.
    #[error("{} was written by another version of skep: {what} that this version does not know; install the version that wrote it", path.display())]
    OtherVersion {
        /// The file.
        path: PathBuf,
        /// What is unknown.
        what: String,
    },
    /// The caller remembers a member that the directory does not hold. Like
    /// after [`OpenError::Damaged`], it must not come back under its id.
    #[error("{} does not hold the raft log that this manager had", path.display())]
    Missing {
        /// The directory.
        path: PathBuf,
    },
    /// A new group was to be made where one is already.
    #[error("{} holds a raft log already", path.display())]
    Exists {
        /// The directory.
        path: PathBuf,
    },
    /// The directory belongs to another member.
    #[error("{} belongs to raft member {found}, not to {wanted}", path.display())]
    OtherMember {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        found: u64,
        /// Who asked.
        wanted: u64,
    },
    /// Another process has the directory open.
    #[error("{} is in use by another process", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The machine refused its own snapshot.
    #[error("cannot restore snapshot {}: {reason}", path.display())]
    Restore {
        /// The snapshot file.
        path: PathBuf,
        /// The machine's reason.
        reason: String,
    },
    /// The timers contradict each other.
    #[error("invalid raft timers: {0}")]
    Timers(String),
    /// The system has no randomness or the crypto library refused a key.
    #[error("cannot make a file key")]
    Crypto,
    /// The consensus core did not start.
    #[error("cannot start raft: {0}")]
    Start(String),
}

impl OpenError {
    /// Whether what this member promised is lost. It must never vote again:
    /// move the directory aside and join under a new Raft id, which brings
    /// everything back from the others.
    pub fn lost_member(&self) -> bool {
        matches!(self, Self::Damaged { .. } | Self::Missing { .. })
    }
}

/// The data key was not changed everywhere; keep both keys and try again.
#[derive(Debug, thiserror::Error)]
#[error("cannot put the raft {what} under another key")]
pub struct RotateError {
    /// The log or the snapshot.
    pub what: &'static str,
    /// The system's reason.
    #[source]
    pub source: std::io::Error,
}

/// A proposal did not (or may not) take effect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Only the leader takes proposals, and this node is not it, or no longer.
    /// The proposal did not take effect: ask the leader, if one is known.
    #[error("{}", not_leader(leader))]
    NotLeader {
        /// Raft id and address of the leader, as far as known here.
        leader: Option<(u64, String)>,
    },
    /// This node leads but has not heard from a majority for a while.
    /// Nothing happened.
    #[error(
        "the leader cannot reach more than half of the managers; make sure that more than half of the managers are online"
    )]
    NoQuorum,
    /// The node stopped. The proposal may or may not take effect.
    #[error("this manager is stopping; the proposal may or may not have been committed")]
    Stopped,
    /// Leadership was lost and the log has moved on without an answer. The
    /// proposal may or may not have taken effect: look at the state.
    #[error("leadership was lost; the proposal may or may not have been committed")]
    Unknown,
    /// A proposal is limited to [`crate::MAX_PROPOSAL_BYTES`].
    #[error("a proposal of {bytes} bytes exceeds the limit of {limit} bytes")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
}

fn not_leader(leader: &Option<(u64, String)>) -> String {
    match leader {
        Some((id, address)) => {
            format!("this manager is not the leader; the leader is {id} at {address}")
        }
        None => "the swarm does not have a leader; make sure that more than half of the managers are online".into(),
    }
}

/// A linearizable read cannot be served now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// No leader is known, or it does not answer.
    #[error(
        "the swarm does not have a leader; make sure that more than half of the managers are online"
    )]
    NoLeader,
    /// The leader cannot reach a majority.
    #[error("the leader cannot reach more than half of the managers")]
    NoQuorum,
    /// The node stopped.
    #[error("this manager is stopping")]
    Stopped,
}

/// The set of members did not change (or not all the way).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MemberError {
    /// Only the leader changes the members.
    #[error("{}", not_leader(leader))]
    NotLeader {
        /// Raft id and address of the leader, as far as known here.
        leader: Option<(u64, String)>,
    },
    /// The new member does not answer at its address.
    #[error(
        "could not connect to prospective new cluster member using its advertised address {address}: {reason}"
    )]
    Unreachable {
        /// The address tried.
        address: String,
        /// Why it failed.
        reason: String,
    },
    /// The new member did not catch up with the log in time; it was taken
    /// out again.
    #[error("raft member {id} did not catch up within {seconds} s")]
    NotCaughtUp {
        /// The member.
        id: u64,
        /// How long was waited.
        seconds: u64,
    },
    /// No such member.
    #[error("raft member {id} not found")]
    NotFound {
        /// The member.
        id: u64,
    },
    /// The last voter cannot go.
    #[error("attempting to demote the last manager of the swarm")]
    LastVoter,
    /// Too few of the rest answer.
    #[error("can't remove member from the raft: this would result in a loss of quorum")]
    QuorumLoss,
    /// The leader cannot remove itself; transfer leadership first.
    #[error("the leader cannot remove itself; transfer leadership first")]
    IsLeader,
    /// Leadership or quorum was lost on the way; look at the members and try
    /// again.
    #[error("the change of members did not complete: {0}")]
    Interrupted(String),
    /// The node stopped.
    #[error("this manager is stopping")]
    Stopped,
}

/// Leadership could not be handed over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransferError {
    /// This node does not lead.
    #[error("this manager is not the leader")]
    NotLeader,
    /// There is nobody to take it.
    #[error("no other manager is caught up and reachable")]
    NoTarget,
    /// The chosen member did not take over in time; this node may still
    /// lead.
    #[error("raft member {target} did not take over in time")]
    TimedOut {
        /// The member that was asked.
        target: u64,
    },
    /// The node stopped.
    #[error("this manager is stopping")]
    Stopped,
}

/// A message from a peer could not be served.
#[derive(Debug, thiserror::Error)]
pub enum HandleError {
    /// Not a message of ours.
    #[error("cannot read raft message")]
    Decode(#[source] WireError),
    /// Meant for another member: the sender has an old address.
    #[error("message is for raft member {to}, this is {this}")]
    WrongMember {
        /// Whom it is for.
        to: u64,
        /// Who got it.
        this: u64,
    },
    /// No honest member says this.
    #[error("refused a message of raft member {from}: {reason}")]
    Implausible {
        /// Who it says it is from.
        from: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// The node stopped.
    #[error("this manager is stopping")]
    Stopped,
}

/// Carrying a message to a peer failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot reach raft member {target} at {address}: {reason}")]
pub struct TransportError {
    /// The peer.
    pub target: u64,
    /// Where it was looked for.
    pub address: String,
    /// Why it failed.
    pub reason: String,
}

//! What a member knows about itself and the others, for `node ls` and logs.

use openraft::error::Fatal;
use tokio::time::Instant;

use crate::leadership::{self, Leadership};
use crate::members::Member;
use crate::node::Raft;

/// Whether a member answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reachability {
    /// This member itself, or one heard from lately.
    Reachable,
    /// The leader has not heard from it for a while.
    Unreachable,
    /// This node does not lead, so it does not talk to that member.
    Unknown,
}

/// One member as seen from here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberStatus {
    /// Who and where it is.
    pub member: Member,
    /// Whether it leads.
    pub is_leader: bool,
    /// Whether it answers.
    pub reachability: Reachability,
    /// The last log entry it is known to hold; only the leader knows.
    pub replicated: Option<u64>,
}

/// A member's own position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// This member.
    pub id: u64,
    /// Who leads.
    pub leadership: Leadership,
    /// The last entry of the Raft log here.
    pub last_log: Option<u64>,
    /// The last entry of the Raft log that was applied here.
    pub last_applied: Option<u64>,
    /// The entry that the last snapshot ends with.
    pub snapshot: Option<u64>,
    /// The index of the last proposal that was applied here.
    pub applied: u64,
    /// All members, in the order of their ids.
    pub members: Vec<MemberStatus>,
    /// See [`Raft::is_changing`].
    pub changing: bool,
    /// Why the member stopped by itself, if it did: the disk failed, say.
    pub failure: Option<String>,
}

impl Raft {
    /// Why the member stopped by itself, if it did: the disk failed, say.
    pub fn failure(&self) -> Option<String> {
        // First, as the core is told to stop when the disk has failed.
        if let Some(reason) = self.inner.log.durable().failure() {
            return Some(format!("cannot write the raft log: {reason}"));
        }
        match &self.inner.metrics.borrow().running_state {
            Ok(()) | Err(Fatal::Stopped) => None,
            Err(fatal) => Some(fatal.to_string()),
        }
    }

    /// When this member was last heard, by an answer or a question; never, if it is
    /// not known.
    pub fn last_heard(&self, member: u64) -> Option<Instant> {
        self.inner.peers.last_heard(member)
    }

    /// A member that did not answer for this long is unreachable.
    pub fn silence(&self) -> std::time::Duration {
        self.inner.config.silence()
    }

    /// The state as of now.
    pub fn status(&self) -> Status {
        let inner = &self.inner;
        let metrics = inner.metrics.borrow().clone();
        let leadership = leadership::view(&metrics, inner.config.quorum_timeout());
        let members = crate::members::list(metrics.membership_config.membership())
            .into_iter()
            .map(|member| {
                let heard = |at: Instant| at.elapsed() < inner.config.silence();
                let reachability = if member.id == inner.id
                    || inner.peers.last_heard(member.id).is_some_and(heard)
                {
                    Reachability::Reachable
                } else if metrics.current_leader == Some(inner.id) {
                    Reachability::Unreachable
                } else {
                    Reachability::Unknown
                };
                let replicated = if member.id == inner.id {
                    metrics.last_log_index
                } else {
                    let of = metrics.replication.as_ref();
                    of.and_then(|r| r.get(&member.id))
                        .and_then(|id| id.map(|id| id.index))
                };
                MemberStatus {
                    is_leader: metrics.current_leader == Some(member.id),
                    member,
                    reachability,
                    replicated,
                }
            })
            .collect();
        Status {
            id: inner.id,
            leadership,
            last_log: metrics.last_log_index,
            last_applied: metrics.last_applied.map(|id| id.index),
            snapshot: metrics.snapshot.map(|id| id.index),
            applied: *inner.applied.borrow(),
            members,
            changing: self.is_changing(),
            failure: inner
                .log
                .durable()
                .failure()
                .or(metrics.running_state.err().map(|e| e.to_string())),
        }
    }
}

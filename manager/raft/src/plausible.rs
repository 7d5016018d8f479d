//! What no honest member says is refused before Raft hears it.
//!
//! A manager's certificate is trusted with the log: whoever holds one may lead
//! and write what he likes. He shall not end other managers with a message that
//! Raft does not reckon with, fill their memory, or use up the numbers that
//! terms are made of. Owns these limits; leaves what a message means to openraft.

use crate::types::{LogId, NodeId};
use crate::wire::{
    AppendOutcome, AppendRequest, Entry, Membership, Payload, RequestKind, ResponseKind,
    SnapshotChunk, SnapshotMeta, Vote, from_wire_id,
};

/// A term may be so far beyond the highest known here. One who is cut off stands
/// for election a few times a second, some hundred million times a year.
const TERM_LEAP: u64 = 1 << 32;
/// Terms and places in a log are below this: there is always a next one.
const NUMBER_MAX: u64 = 1 << 62;
/// Members of a group, voters or not.
const MEMBERS_MAX: usize = 1024;
/// Bytes of a member's address.
const ADDRESS_MAX: usize = 1024;
/// Bytes of a snapshot's name.
const NAME_MAX: usize = 256;
/// Bytes of a snapshot that is received. It is held in memory.
const SNAPSHOT_MAX: u64 = 1 << 30;

/// What is known here.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known {
    /// This member.
    pub id: NodeId,
    /// The highest term; 0 for one that has not heard of any.
    pub term: u64,
    /// The last entry that was applied.
    pub applied: Option<LogId>,
}

type Checked = Result<(), String>;

fn require(holds: bool, otherwise: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(otherwise()) }
}

impl Known {
    /// Whether `from` may have sent this.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn request(&self, from: NodeId, kind: &RequestKind) -> Checked {
        require(from != self.id, || {
            format!("it comes from raft member {from}, which is this one")
        })?;
        match kind {
            RequestKind::Vote(request) | RequestKind::PreVote(request) => {
                let term = self.vote(from, request.vote.as_ref(), false)?;
                self.place(from_wire_id(&request.last_log_id), term)
            }
            RequestKind::Append(request) => self.append(from, request),
            RequestKind::Snapshot(chunk) => self.snapshot(from, chunk),
            RequestKind::ReadIndex(_) | RequestKind::TakeOver(_) | RequestKind::Ping(_) => Ok(()),
        }
    }

    /// Whether an honest member may have answered this to `request`.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn response(&self, kind: &ResponseKind) -> Checked {
        let vote = match kind {
            ResponseKind::Vote(response) => response.vote.as_ref(),
            ResponseKind::Append(response) => match &response.outcome {
                Some(AppendOutcome::HigherVote(vote)) => Some(vote),
                _ => None,
            },
            ResponseKind::Snapshot(response) => response.vote.as_ref(),
            ResponseKind::SnapshotMismatch(_)
            | ResponseKind::ReadIndex(_)
            | ResponseKind::Done(_)
            | ResponseKind::PreVote(_)
            | ResponseKind::Refused(_) => None,
        };
        vote.map_or(Ok(()), |vote| self.term(vote.term))
    }

    fn term(&self, term: u64) -> Checked {
        let limit = match self.term {
            0 => NUMBER_MAX,
            known => known.saturating_add(TERM_LEAP).min(NUMBER_MAX),
        };
        require(term <= limit, || {
            format!("term {term} is absurd: term {} is known here", self.term)
        })
    }

    /// The term of a vote that is `from`'s own.
    fn vote(&self, from: NodeId, vote: Option<&Vote>, leads: bool) -> Result<u64, String> {
        let vote = vote.ok_or("it has no vote")?;
        self.term(vote.term)?;
        require(vote.node == from, || {
            format!("raft member {from} speaks for member {}", vote.node)
        })?;
        require(vote.committed == leads, || {
            format!("raft member {from} was elected before it was voted for, or not at all")
        })?;
        Ok(vote.term)
    }

    /// A place in the log of somebody who is in this term.
    fn place(&self, id: Option<LogId>, term: u64) -> Checked {
        let Some(id) = id else { return Ok(()) };
        require(id.leader_id.term <= term, || {
            format!("entry {id} is of a term after {term}")
        })?;
        require(id.index < NUMBER_MAX, || {
            format!("entry {id} is absurdly far")
        })
    }

    /// A place in the log of a leader: he has what was applied here.
    fn held(&self, id: Option<LogId>, term: u64) -> Checked {
        self.place(id, term)?;
        match (id, self.applied) {
            (Some(id), Some(applied)) => require(id.index > applied.index || id <= applied, || {
                format!("entry {id} contradicts entry {applied}, which is agreed on")
            }),
            _ => Ok(()),
        }
    }

    fn append(&self, from: NodeId, request: &AppendRequest) -> Checked {
        let AppendRequest {
            vote,
            previous,
            entries,
            commit,
        } = request;
        let term = self.vote(from, vote.as_ref(), true)?;
        let mut last = from_wire_id(previous);
        self.held(last, term)?;
        self.held(from_wire_id(commit), term)?;
        for Entry { log_id, payload } in entries {
            let id = from_wire_id(log_id);
            self.held(id, term)?;
            let next = last.map_or(0, |last| last.index + 1);
            require(id.is_some_and(|id| id.index == next) && id > last, || {
                format!("an entry does not follow {last:?}")
            })?;
            if let Some(Payload::Membership(members)) = payload {
                membership(members)?;
            }
            last = id;
        }
        Ok(())
    }

    fn snapshot(&self, from: NodeId, chunk: &SnapshotChunk) -> Checked {
        let SnapshotChunk {
            vote,
            meta,
            offset,
            data,
            done: _,
        } = chunk;
        let term = self.vote(from, vote.as_ref(), true)?;
        let end = u64::try_from(data.len()).ok();
        let end = end.and_then(|length| offset.checked_add(length));
        require(end.is_some_and(|end| end <= SNAPSHOT_MAX), || {
            format!("a snapshot has {SNAPSHOT_MAX} bytes at most")
        })?;
        let meta = meta.as_ref().ok_or("it has no meta")?;
        let SnapshotMeta {
            last_log_id,
            membership: stored,
            id,
            length: _,
        } = meta;
        require(id.len() <= NAME_MAX, || {
            "a snapshot's name is too long".into()
        })?;
        self.held(from_wire_id(last_log_id), term)?;
        let stored = stored.as_ref().ok_or("a snapshot has no membership")?;
        self.place(from_wire_id(&stored.log_id), term)?;
        membership(
            stored
                .membership
                .as_ref()
                .ok_or("a snapshot has no members")?,
        )
    }
}

/// Everybody who votes is a member, and somebody does.
fn membership(membership: &Membership) -> Checked {
    let Membership { configs, members } = membership;
    require((1..=2).contains(&configs.len()), || {
        format!("there are {} sets of voters", configs.len())
    })?;
    require(members.len() <= MEMBERS_MAX, || {
        format!("there are {} members", members.len())
    })?;
    require(
        members.iter().all(|m| m.address.len() <= ADDRESS_MAX),
        || "a member's address is too long".into(),
    )?;
    for quorum in configs {
        let known = |voter: &u64| members.iter().any(|member| member.id == *voter);
        let voters = 1..=members.len();
        require(voters.contains(&quorum.voters.len()), || {
            format!("{} of {} members vote", quorum.voters.len(), members.len())
        })?;
        require(quorum.voters.iter().all(known), || {
            "somebody votes who is no member".into()
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;

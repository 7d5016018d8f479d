//! Handing leadership over before a planned stop.
//!
//! openraft 0.9 has no transfer of its own. The leader stops taking
//! proposals, waits until the best follower holds the whole log, and asks it
//! to stand at once: the leader's own vote and the follower's are a majority
//! of three. Of more members others have to vote too, who do not while they
//! hear of a leader: there it falls silent before, for as long as its lease is.

use std::time::Duration;

use openraft::{LogIdOptionExt, ServerState};
use tokio::time::{Instant, timeout, timeout_at};

use crate::error::TransferError;
use crate::node::Raft;
use crate::propose::IN_FLIGHT;
use crate::status::Reachability;
use crate::wire::{Empty, RequestKind};

/// How often the successor is asked again: it may have lost an election.
const ASK_AGAIN: Duration = Duration::from_millis(200);

/// Two of so many voters are a majority.
const SMALL: usize = 3;

/// No heartbeats of this member until this is dropped.
struct Silence<'a>(&'a Raft);

impl Silence<'_> {
    fn of(raft: &Raft) -> Silence<'_> {
        raft.inner.core.runtime_config().heartbeat(false);
        Silence(raft)
    }
}

impl Drop for Silence<'_> {
    fn drop(&mut self) {
        self.0.inner.core.runtime_config().heartbeat(true);
    }
}

impl Raft {
    /// Hands leadership to the follower that is furthest and returns its id.
    /// Proposals wait meanwhile and then go to the new leader's caller as
    /// [`crate::ProposeError::NotLeader`].
    ///
    /// # Errors
    /// [`TransferError`]; this node may then still lead.
    pub async fn transfer_leadership(&self) -> Result<u64, TransferError> {
        let inner = &self.inner;
        if inner.metrics.borrow().state != ServerState::Leader {
            return Err(TransferError::NotLeader);
        }
        let deadline = Instant::now() + inner.config.election_max * 4;
        let (target, address) = self.successor().ok_or(TransferError::NoTarget)?;
        let late = |_| TransferError::TimedOut { target };
        // All permits: nothing is on its way and nothing new starts.
        let _paused = timeout_at(deadline, inner.in_flight.acquire_many(IN_FLIGHT))
            .await
            .map_err(late)?
            .map_err(|_| TransferError::Stopped)?;
        let mut metrics = inner.metrics.clone();
        let caught_up = metrics.wait_for(|m| match &m.replication {
            Some(all) => all
                .get(&target)
                .is_some_and(|at| at.index() >= m.last_log_index),
            None => true,
        });
        timeout_at(deadline, caught_up)
            .await
            .map_err(late)?
            .map_err(|_| TransferError::Stopped)?;
        let _silence = Silence::of(self);
        if self.voters() > SMALL {
            // One that would stand by itself may be quicker than who is asked to.
            let this = inner.id;
            let other = metrics.wait_for(|m| m.current_leader.is_some_and(|id| id != this));
            match timeout(inner.config.lease(), other).await {
                Ok(Ok(metrics)) => return Ok(metrics.current_leader.unwrap_or(target)),
                Ok(Err(_)) => return Err(TransferError::Stopped),
                Err(_) => {}
            }
        }
        while Instant::now() < deadline {
            let asked = inner
                .peers
                .ask(target, &address, RequestKind::TakeOver(Empty {}));
            let next = deadline.min(Instant::now() + ASK_AGAIN);
            if let Ok(Err(error)) = timeout_at(next, asked).await {
                tracing::debug!(raft.id = target, %error, "the successor does not answer");
            }
            let this = inner.id;
            let taken = metrics.wait_for(|m| m.current_leader.is_some_and(|id| id != this));
            match timeout_at(next, taken).await {
                Ok(Ok(metrics)) => return Ok(metrics.current_leader.unwrap_or(target)),
                Ok(Err(_)) => return Err(TransferError::Stopped),
                Err(_) => {}
            }
        }
        Err(TransferError::TimedOut { target })
    }

    fn voters(&self) -> usize {
        let members = self.status().members;
        members.iter().filter(|m| m.member.voter).count()
    }

    /// The voter that answers and holds most of the log.
    fn successor(&self) -> Option<(u64, String)> {
        self.status()
            .members
            .into_iter()
            .filter(|m| m.member.voter && m.member.id != self.inner.id)
            .filter(|m| m.reachability == Reachability::Reachable)
            .max_by_key(|m| m.replicated)
            .map(|m| (m.member.id, m.member.address))
    }
}

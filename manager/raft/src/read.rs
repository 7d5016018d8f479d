//! Linearizable reads: how far the local state must be to answer.

use openraft::error::{CheckIsLeaderError, RaftError};
use tokio::sync::{mpsc, oneshot};

use crate::error::ReadError;
use crate::leadership::leader_of;
use crate::node::Raft;
use crate::types::CoreRaft;
use crate::wire::{Empty, RequestKind, ResponseKind};

/// A read that waits for the leader to be confirmed.
pub(crate) type Waiting = oneshot::Sender<Result<(), ReadError>>;

impl Raft {
    /// Waits until the local machine holds everything that was committed
    /// before this call, and returns the index it has reached. Works on any
    /// member that can reach the leader. Bound it with a deadline of your own.
    ///
    /// # Errors
    /// If there is no leader, or it has no majority.
    pub async fn read_barrier(&self) -> Result<u64, ReadError> {
        let leader = leader_of(&self.inner.metrics.borrow()).ok_or(ReadError::NoLeader)?;
        let (leader, address) = leader;
        if leader == self.inner.id {
            return self.leader_barrier().await;
        }
        let asked = RequestKind::ReadIndex(Empty {});
        let answer = self.inner.peers.ask(leader, &address, asked).await;
        let Ok(ResponseKind::ReadIndex(read)) = answer else {
            return Err(ReadError::NoLeader);
        };
        let mut applied = self.inner.applied.clone();
        let reached = applied.wait_for(|index| *index >= read.applied).await;
        reached.map(|index| *index).map_err(|_| ReadError::Stopped)
    }

    /// The barrier on the leader itself.
    pub(crate) async fn leader_barrier(&self) -> Result<u64, ReadError> {
        let (reply, answer) = oneshot::channel();
        self.inner
            .reads
            .send(reply)
            .await
            .map_err(|_| ReadError::Stopped)?;
        answer.await.unwrap_or(Err(ReadError::Stopped))?;
        Ok(*self.inner.applied.borrow())
    }
}

/// Confirms leadership once for all reads that wait, until the last handle is
/// gone. A read that comes while a round is under way waits for the next: an
/// answer must have been asked for after the read began.
pub(crate) async fn run(core: CoreRaft, mut reads: mpsc::Receiver<Waiting>) {
    while let Some(first) = reads.recv().await {
        let mut waiting = vec![first];
        while let Ok(next) = reads.try_recv() {
            waiting.push(next);
        }
        let result = match core.ensure_linearizable().await {
            Ok(_) => Ok(()),
            Err(RaftError::APIError(CheckIsLeaderError::ForwardToLeader(_))) => {
                Err(ReadError::NoLeader)
            }
            Err(RaftError::APIError(CheckIsLeaderError::QuorumNotEnough(_))) => {
                Err(ReadError::NoQuorum)
            }
            Err(RaftError::Fatal(_)) => Err(ReadError::Stopped),
        };
        for reply in waiting {
            // The reader may have gone.
            let _ = reply.send(result.clone());
        }
    }
}

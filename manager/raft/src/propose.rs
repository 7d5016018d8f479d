//! Proposals: many callers, one log entry.
//!
//! openraft flushes and replicates entry by entry, so all that waits while
//! one is on its way goes into the next one together.

use std::sync::Arc;

use openraft::BasicNode;
use openraft::error::{ClientWriteError, ForwardToLeader};
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::error::ProposeError;
use crate::leadership::quorum_lost;
use crate::node::Raft;
use crate::types::{Batch, CoreRaft};

/// The largest proposal, in bytes.
pub const MAX_PROPOSAL_BYTES: usize = 1_500_000;
/// Bytes and proposals after which an entry is full.
const BATCH_BYTES: usize = 512 * 1024;
const BATCH_COUNT: usize = 4096;
/// Entries on their way at a time: while one waits for the followers the
/// next is written here.
pub(crate) const IN_FLIGHT: u32 = 2;

/// A proposal that was committed and applied on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposed {
    /// Its index.
    pub index: u64,
    /// What the machine answered.
    pub response: Vec<u8>,
}

type Reply = oneshot::Sender<Result<Proposed, ProposeError>>;

/// A proposal on its way to the log.
pub(crate) struct Waiting {
    bytes: Vec<u8>,
    reply: Reply,
}

impl Raft {
    /// Replicates `entry` and applies it. Waits for as long as it takes,
    /// since a proposal that was sent may still be committed. Dropping the
    /// future stops the waiting, not the proposal. Only the leader takes
    /// proposals.
    ///
    /// # Errors
    /// [`ProposeError`]; all but `Stopped` mean that it did not take effect.
    pub async fn propose(&self, entry: Vec<u8>) -> Result<Proposed, ProposeError> {
        if entry.len() > MAX_PROPOSAL_BYTES {
            let bytes = entry.len();
            return Err(ProposeError::TooLarge {
                bytes,
                limit: MAX_PROPOSAL_BYTES,
            });
        }
        if quorum_lost(
            &self.inner.metrics.borrow(),
            self.inner.config.quorum_timeout(),
        ) {
            return Err(ProposeError::NoQuorum);
        }
        let (reply, answer) = oneshot::channel();
        self.inner
            .proposals
            .send(Waiting {
                bytes: entry,
                reply,
            })
            .await
            .map_err(|_| ProposeError::Stopped)?;
        answer.await.unwrap_or(Err(ProposeError::Stopped))
    }
}

/// Gathers proposals into entries until the last handle is gone.
pub(crate) async fn run(
    core: CoreRaft,
    mut proposals: mpsc::Receiver<Waiting>,
    in_flight: Arc<Semaphore>,
) {
    while let Some(first) = proposals.recv().await {
        // More gathers while the entries before are on their way.
        let Ok(permit) = in_flight.clone().acquire_owned().await else {
            return;
        };
        let mut size = first.bytes.len();
        let mut entries = vec![first.bytes];
        let mut replies = vec![first.reply];
        while size < BATCH_BYTES
            && entries.len() < BATCH_COUNT
            && let Ok(next) = proposals.try_recv()
        {
            size += next.bytes.len();
            entries.push(next.bytes);
            replies.push(next.reply);
        }
        let Ok(written) = core.client_write_ff(Batch(Arc::new(entries))).await else {
            answer_all(replies, &ProposeError::Stopped);
            return;
        };
        tokio::spawn(async move {
            match written.await {
                Ok(Ok(done)) => {
                    let responses = done.data.responses.into_iter();
                    for ((reply, response), index) in
                        replies.into_iter().zip(responses).zip(done.data.first..)
                    {
                        // The proposer may have stopped waiting.
                        let _ = reply.send(Ok(Proposed { index, response }));
                    }
                }
                Ok(Err(ClientWriteError::ForwardToLeader(to))) => {
                    answer_all(replies, &ProposeError::NotLeader { leader: named(to) });
                }
                Ok(Err(ClientWriteError::ChangeMembershipError(_))) | Err(_) => {
                    answer_all(replies, &ProposeError::Stopped);
                }
            }
            drop(permit);
        });
    }
}

fn answer_all(replies: Vec<Reply>, error: &ProposeError) {
    for reply in replies {
        let _ = reply.send(Err(error.clone()));
    }
}

/// The leader that openraft refers to, if it knows one.
pub(crate) fn named(to: ForwardToLeader<u64, BasicNode>) -> Option<(u64, String)> {
    to.leader_id.zip(to.leader_node.map(|node| node.addr))
}

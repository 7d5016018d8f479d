//! Proposals: many callers, one log entry.
//!
//! openraft flushes and replicates entry by entry, so all that waits while
//! one is on its way goes into the next one together.

use std::sync::Arc;
use std::time::Duration;

use openraft::BasicNode;
use openraft::error::{ClientWriteError, ForwardToLeader};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use crate::error::ProposeError;
use crate::leadership::quorum_lost;
use crate::node::Raft;
use crate::types::{Batch, CoreRaft, Metrics};

/// The largest proposal, in bytes.
pub const MAX_PROPOSAL_BYTES: usize = 1_500_000;
/// Bytes and proposals after which an entry is full.
const BATCH_BYTES: usize = 512 * 1024;
const BATCH_COUNT: usize = 4096;
/// Entries on their way at a time: while one waits for the followers the
/// next is written here.
pub(crate) const IN_FLIGHT: u32 = 2;

/// How long an answer may take after the fate of an entry is sealed.
const GRACE: Duration = Duration::from_secs(1);

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
    /// [`ProposeError`]; all but `Stopped` and `Unknown` mean that it did not
    /// take effect.
    pub async fn propose(&self, entry: Vec<u8>) -> Result<Proposed, ProposeError> {
        self.submit(entry).await?.agreed().await
    }

    /// Puts `entry` in line, to be waited for later; entries are agreed on in the order
    /// in which they were submitted.
    ///
    /// # Errors
    /// As [`Raft::propose`].
    pub async fn submit(&self, entry: Vec<u8>) -> Result<Submitted, ProposeError> {
        if entry.len() > MAX_PROPOSAL_BYTES {
            let bytes = entry.len();
            return Err(ProposeError::TooLarge {
                bytes,
                limit: MAX_PROPOSAL_BYTES,
            });
        }
        let limit = self.inner.config.quorum_timeout();
        if !self.inner.leadership.borrow().is_leader
            && quorum_lost(&self.inner.metrics.borrow(), limit)
        {
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
        Ok(Submitted(answer))
    }
}

/// A proposal that stands in line.
#[derive(Debug)]
pub struct Submitted(oneshot::Receiver<Result<Proposed, ProposeError>>);

impl Submitted {
    /// Waits until it was agreed on and applied.
    ///
    /// # Errors
    /// As [`Raft::propose`].
    pub async fn agreed(self) -> Result<Proposed, ProposeError> {
        self.0.await.unwrap_or(Err(ProposeError::Stopped))
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
        let mut metrics = core.metrics();
        let term = metrics.borrow_and_update().current_term;
        let Ok(mut written) = core.client_write_ff(Batch(Arc::new(entries))).await else {
            answer_all(replies, &ProposeError::Stopped);
            return;
        };
        tokio::spawn(async move {
            let outcome = tokio::select! {
                biased;
                outcome = &mut written => outcome,
                () = superseded(&mut metrics, term) => {
                    match tokio::time::timeout(GRACE, written).await {
                        Ok(outcome) => outcome,
                        Err(_) => return answer_all(replies, &ProposeError::Unknown),
                    }
                }
            };
            match outcome {
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

/// Ends when something of a later term was applied. By then openraft has
/// answered, except where a snapshot took the place of the entry: then it
/// never does.
async fn superseded(metrics: &mut watch::Receiver<Metrics>, term: u64) {
    let later = |m: &Metrics| m.last_applied.is_some_and(|id| id.leader_id.term > term);
    if metrics.wait_for(later).await.is_err() {
        // The core has stopped, and the answer says so.
        std::future::pending::<()>().await;
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

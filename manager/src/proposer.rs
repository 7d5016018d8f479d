//! From actions to agreed entries.

use crate::clock;
use crate::error::ProposeError;
use skep_manager_raft::{ProposeError as RaftError, Raft};
use skep_manager_store::Action;
use skep_proto::ActionResult;
use skep_types::Version;

/// Proposes actions. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Proposer {
    raft: Raft,
}

/// What became of the actions of one proposal.
#[derive(Debug)]
pub(crate) struct Proposed {
    /// The entry they were applied in, the last one where it took several.
    pub version: Version,
    /// One result an action, in order.
    pub results: Vec<ActionResult>,
}

impl Proposer {
    pub(crate) fn new(raft: Raft) -> Self {
        Proposer { raft }
    }

    /// Replicates and applies these actions. They are one entry, unless that
    /// would be too large; then several, in order.
    pub(crate) async fn propose(&self, actions: &[Action]) -> Result<Proposed, ProposeError> {
        let entry = skep_proto::encode_entry(clock::now(), actions);
        if entry.len() > skep_manager_raft::MAX_PROPOSAL_BYTES && actions.len() > 1 {
            let (first, second) = actions.split_at(actions.len() / 2);
            let mut proposed = Box::pin(self.propose(first)).await?;
            let rest = Box::pin(self.propose(second)).await?;
            proposed.results.extend(rest.results);
            proposed.version = rest.version;
            return Ok(proposed);
        }
        let agreed = self.raft.propose(entry).await.map_err(ProposeError::from)?;
        let results = skep_proto::decode_results(&agreed.response)
            .map_err(|error| ProposeError::Unavailable(error.to_string()))?;
        if results.len() != actions.len() {
            return Err(ProposeError::Unavailable(
                "the entry could not be read back; is a manager of an older version leading?"
                    .to_owned(),
            ));
        }
        Ok(Proposed {
            version: Version(agreed.index),
            results,
        })
    }
}

impl From<RaftError> for ProposeError {
    fn from(error: RaftError) -> Self {
        match error {
            RaftError::NotLeader { leader } => ProposeError::NotLeader {
                leader: leader.map(|(_, address)| address),
            },
            RaftError::TooLarge { .. } => ProposeError::TooLarge(error.to_string()),
            RaftError::NoQuorum | RaftError::Unknown | RaftError::Stopped => {
                ProposeError::Unavailable(error.to_string())
            }
        }
    }
}

//! From actions to agreed entries.

use crate::error::ProposeError;
use crate::machine::State;
use skep_manager_raft::{ProposeError as RaftError, Raft};
use skep_manager_store::Action;
use skep_manager_store::format::needed;
use skep_proto::ActionResult;
use skep_types::{Format, Timestamp, Version};
use std::sync::Arc;

/// Proposes actions. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Proposer {
    raft: Raft,
    state: Arc<State>,
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
    pub(crate) fn new(raft: Raft, state: Arc<State>) -> Self {
        Proposer { raft, state }
    }

    /// The format in which these actions are written now.
    pub(crate) fn format_for(&self, actions: &[Action]) -> Result<Format, ProposeError> {
        let format = self.state.format();
        match actions.iter().map(needed).find(|wanted| *wanted > format) {
            Some(wanted) => Err(ProposeError::NotYet { format, wanted }),
            None => Ok(format),
        }
    }

    /// Replicates and applies these actions. They are one entry, unless that
    /// would be too large; then several, in order, each on its way before the one
    /// before it is agreed on.
    pub(crate) async fn propose(&self, actions: &[Action]) -> Result<Proposed, ProposeError> {
        let format = self.format_for(actions)?;
        let mut parts = Vec::new();
        cut(format, self.state.now(), actions, false, &mut parts)?;
        // One that cannot be read would stop every manager.
        for part in &parts {
            skep_proto::decode_entry(&part.entry)
                .map_err(|error| ProposeError::Unreadable(error.to_string()))?;
        }
        let mut submitted = Vec::with_capacity(parts.len());
        for part in parts {
            submitted.push((self.raft.submit(part.entry).await?, part.is_rest));
        }
        let mut proposed = Proposed {
            version: Version(0),
            results: Vec::new(),
        };
        for (submitted, is_rest) in submitted {
            let agreed = submitted.agreed().await?;
            let results = skep_proto::decode_results(&agreed.response)
                .map_err(|error| ProposeError::Unavailable(error.to_string()))?;
            proposed.version = Version(agreed.index);
            let mut results = results.into_iter();
            // Its result names the first item that was refused, as that of a whole one.
            if is_rest
                && let Some(rest) = results.next()
                && let Some(whole) = proposed.results.last_mut()
                && whole.refused.is_none()
            {
                *whole = rest;
            }
            proposed.results.extend(results);
        }
        Ok(proposed)
    }
}

/// One entry of a proposal.
struct Part {
    entry: Vec<u8>,
    /// It goes on with the last action of the entry before.
    is_rest: bool,
}

/// Writes the actions as entries none of which is too large, as far as they can be cut.
fn cut(
    format: Format,
    now: Timestamp,
    actions: &[Action],
    is_rest: bool,
    parts: &mut Vec<Part>,
) -> Result<(), ProposeError> {
    let entry = skep_proto::encode_entry(format, now, actions);
    let too_large = entry.len() > skep_manager_raft::MAX_PROPOSAL_BYTES;
    match actions {
        [action] if too_large && action.items() > 1 => {
            let (first, rest) = action.clone().cut(action.items() / 2);
            cut(format, now, &[first], is_rest, parts)?;
            match rest {
                Some(rest) => cut(format, now, &[rest], true, parts),
                None => Ok(()),
            }
        }
        [_, _, ..] if too_large => {
            let (first, second) = actions.split_at(actions.len() / 2);
            cut(format, now, first, is_rest, parts)?;
            cut(format, now, second, false, parts)
        }
        _ => {
            parts.push(Part { entry, is_rest });
            Ok(())
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use skep_manager_store::TaskAction;
    use skep_types::{TaskId, TaskState, TaskStatus};

    fn report(tasks: u128, bytes: usize) -> Action {
        let status = TaskStatus {
            state: TaskState::Failed,
            error: "e".repeat(bytes),
            ..TaskStatus::default()
        };
        Action::Task(TaskAction::UpdateStatus {
            updates: (1..=tasks)
                .map(|bits| (TaskId::from_bits(bits), status.clone()))
                .collect(),
        })
    }

    #[tokio::test]
    async fn a_group_too_large_for_one_entry_becomes_several() {
        let dir = tempfile::tempdir().unwrap();
        let shared = testing::leader(dir.path(), &[]).await;
        let proposed = shared.propose(&[report(10_000, 500)]).await.unwrap();
        // Nobody knows these tasks; what counts is that the store was asked.
        assert_eq!(proposed.results.len(), 1);
        assert!(proposed.results[0].refused.is_some());
        assert!(proposed.version.0 >= 4, "{proposed:?}");

        let single = shared.propose(&[report(1, 2_000_000)]).await;
        assert!(matches!(single, Err(ProposeError::TooLarge(_))));
        shared.raft.shutdown().await;
    }
}

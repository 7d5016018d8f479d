//! Raft entries and their results.

mod data;
mod read;
mod stack;
mod write;

use super::format::known;
use crate::{Invalid, pb};
use prost::Message;
use skep_manager_store::{Action, Refused};
use skep_types::{Format, Timestamp};

/// What became of one action of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActionResult {
    /// Why it changed nothing; `None` when it was applied.
    pub refused: Option<String>,
    /// It was planned on an older state; planning again is all it takes.
    pub stale: bool,
    /// It names an object that does not exist.
    pub not_found: bool,
}

/// The bytes of an entry in this format, which has to hold all that the actions
/// need: see `skep_manager_store::format`.
pub fn encode_entry(format: Format, now: Timestamp, actions: &[Action]) -> Vec<u8> {
    pb::Entry {
        format: format.0,
        now_ms: now.0,
        actions: actions.iter().map(Into::into).collect(),
    }
    .encode_to_vec()
}

/// Reads an entry.
///
/// # Errors
/// When it is damaged, or of a newer format than this build knows.
pub fn decode_entry(bytes: &[u8]) -> Result<(Timestamp, Vec<Action>), Invalid> {
    let pb::Entry {
        format,
        now_ms,
        actions,
    } = pb::Entry::decode(bytes).map_err(|error| Invalid::Encoding(error.to_string()))?;
    known(format, String::new())?;
    let actions = actions
        .into_iter()
        .map(TryInto::try_into)
        .collect::<Result<_, _>>()?;
    Ok((Timestamp(now_ms), actions))
}

/// The bytes of an entry's results.
pub fn encode_results(results: &[Result<(), Refused>]) -> Vec<u8> {
    let result = |result: &Result<(), Refused>| match result {
        Ok(()) => pb::ActionResult::default(),
        Err(refused) => pb::ActionResult {
            refused: true,
            stale: refused.is_stale(),
            not_found: matches!(refused, Refused::NotFound(_)),
            message: refused.to_string(),
        },
    };
    pb::EntryResults {
        results: results.iter().map(result).collect(),
    }
    .encode_to_vec()
}

/// Reads an entry's results.
///
/// # Errors
/// When they are damaged.
pub fn decode_results(bytes: &[u8]) -> Result<Vec<ActionResult>, Invalid> {
    let pb::EntryResults { results } =
        pb::EntryResults::decode(bytes).map_err(|error| Invalid::Encoding(error.to_string()))?;
    Ok(results
        .into_iter()
        .map(
            |pb::ActionResult {
                 refused,
                 stale,
                 not_found,
                 message,
             }| ActionResult {
                refused: refused.then_some(message),
                stale,
                not_found,
            },
        )
        .collect())
}

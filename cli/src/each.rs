//! The same for each of several things a user named.

use crate::error::{CliError, is_broken_pipe};
use crate::output::note;
use anyhow::Result;

/// Tries all of them, in order, and says each failure as it comes.
///
/// # Errors
/// At the end, when there was a failure; at once when nobody reads what is said.
pub async fn each<'a, F>(keys: &'a [String], mut one: impl FnMut(&'a str) -> F) -> Result<()>
where
    F: Future<Output = Result<()>>,
{
    let mut failed = false;
    for key in keys {
        match one(key).await {
            Ok(()) => {}
            Err(error) if is_broken_pipe(&error) => return Err(error),
            Err(error) => {
                note!("skep: {error:#}");
                failed = true;
            }
        }
    }
    match failed {
        true => Err(CliError::Reported.into()),
        false => Ok(()),
    }
}

//! Numbers of formats: what is said with them, and refused by them.

use crate::Invalid;
use skep_manager_store::format::{ADDED, NEWEST};
use skep_types::Format;

/// The number of a format; unsaid by those that knew one only.
pub(crate) fn format(number: u32) -> Format {
    Format(number).max(Format::FIRST)
}

/// The first version of skep that reads it, for those that do not.
pub(crate) fn since(format: Format) -> String {
    let added = ADDED.iter().find(|added| added.format == format);
    added.map_or_else(String::new, |added| added.since.to_owned())
}

/// A format that this build reads; `since` is what its writer said of it.
pub(crate) fn known(number: u32, since: String) -> Result<Format, Invalid> {
    if (Format::FIRST..=NEWEST).contains(&Format(number)) {
        return Ok(Format(number));
    }
    Err(Invalid::Format {
        found: number,
        since,
    })
}

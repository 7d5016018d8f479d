//! What each format of entries and snapshots added: the one list.
//!
//! A manager that meets a newer format than it reads stops. So nothing that a
//! format added is written before every manager has said that it reads it; then
//! the leader raises the format of the cluster ([`ClusterAction::RaiseFormat`]),
//! and it never falls again.
//!
//! To add a field or an action that reaches an entry or a snapshot:
//! 1. give the next format a row in [`ADDED`], unless the last one is not
//!    released yet;
//! 2. say in [`needed`] which actions need it: the proposer refuses them before;
//! 3. what proposes such an action by itself looks at [`Snapshot::format`], and
//!    so does `apply` where it comes to do something else with an old action;
//! 4. list the field in `proto/formats` (its test says how).

use crate::action::{Action, ClusterAction};
use crate::snapshot::Snapshot;
use skep_types::Format;

/// One format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Added {
    /// Its number.
    pub format: Format,
    /// The first version of skep that reads it.
    pub since: &'static str,
    /// What is in it that was not in the one before.
    pub what: &'static str,
}

/// Every format this build reads, oldest first.
pub const ADDED: &[Added] = &[
    Added {
        format: Format::FIRST,
        since: "0.1.0",
        what: "everything in proto/formats/1.txt",
    },
    // Never in a release: tests run it beside this one.
    #[cfg(feature = "next-format")]
    Added {
        format: Format(2),
        since: "0.2.0",
        what: "ClusterSpec.note",
    },
];

/// The newest this build reads, and writes once every manager reads it.
pub const NEWEST: Format = ADDED[ADDED.len() - 1].format;

/// Version of this build.
pub const VERSION: &str = if cfg!(feature = "next-format") {
    "0.2.0"
} else {
    env!("CARGO_PKG_VERSION")
};

/// The oldest format that holds all of this action.
pub fn needed(action: &Action) -> Format {
    match action {
        #[cfg(feature = "next-format")]
        Action::Cluster(ClusterAction::Update { spec, .. }) if !spec.note.is_empty() => Format(2),
        // The format of a swarm that is made is that of its first manager.
        Action::Cluster(ClusterAction::Create(cluster)) => cluster.format,
        _ => Format::FIRST,
    }
}

/// Which versions of skep read a format, in words.
pub fn readers(format: Format) -> String {
    match ADDED.iter().find(|added| added.format == format) {
        Some(added) => format!("skep {} or newer", added.since),
        None => "a newer version of skep".to_owned(),
    }
}

impl Snapshot {
    /// What is written now; of a swarm that is being made, the newest.
    pub fn format(&self) -> Format {
        self.cluster().map_or(NEWEST, |cluster| cluster.format)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_numbered_without_gaps() {
        for (place, added) in ADDED.iter().enumerate() {
            assert_eq!(added.format.0 as usize, place + 1, "{}", added.what);
        }
        assert_eq!(readers(Format::FIRST), "skep 0.1.0 or newer");
        assert_eq!(readers(Format(99)), "a newer version of skep");
    }
}

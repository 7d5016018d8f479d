//! The number of a format: of what managers agree on and keep.

use std::fmt;

/// How entries of the log and snapshots of the store are written. Grows by one
/// whenever something is added that an earlier version of skep would lose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Format(pub u32);

impl Format {
    /// The one that every version reads.
    pub const FIRST: Format = Format(1);
}

impl Default for Format {
    fn default() -> Format {
        Format::FIRST
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

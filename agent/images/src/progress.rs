//! What a pull or a load tells while it runs, in Docker's words.

use std::fmt;

use crate::digest::Digest;

/// One step of one layer, or of the image as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The layer, by the digest of its blob; `None` speaks of the image.
    pub layer: Option<Digest>,
    /// What happened.
    pub stage: Stage,
}

/// A step of a pull.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// The image's manifest is asked for: registry.
    Resolving(String),
    /// The image's manifest was found: its digest.
    Resolved(Digest),
    /// The layer is needed and waits for its turn.
    Waiting,
    /// Bytes of the compressed layer that have arrived and were unpacked.
    Downloading {
        /// So far.
        current: u64,
        /// In all.
        total: u64,
    },
    /// The connection broke; it goes on from where it was: how often by now, and why.
    Retrying {
        /// How many times in a row.
        attempt: u32,
        /// What went wrong.
        reason: String,
    },
    /// The layer is here, verified and unpacked.
    Complete,
    /// The layer was here before.
    AlreadyExists,
    /// All is done: the image's id.
    Done(Digest),
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(layer) = &self.layer {
            write!(f, "{}: ", layer.short())?;
        }
        match &self.stage {
            Stage::Resolving(registry) => write!(f, "Pulling from {registry}"),
            Stage::Resolved(digest) => write!(f, "Digest: {digest}"),
            Stage::Waiting => f.write_str("Waiting"),
            Stage::Downloading { current, total } => write!(f, "Downloading {current}/{total}"),
            Stage::Retrying { attempt, reason } => write!(f, "Retrying ({attempt}): {reason}"),
            Stage::Complete => f.write_str("Pull complete"),
            Stage::AlreadyExists => f.write_str("Already exists"),
            Stage::Done(id) => write!(f, "Image {}", id.short()),
        }
    }
}

//! Layers: from a stream of bytes to a directory that overlayfs takes as a
//! lower layer. `stream` and `pax` read tar, `tree` is the only code that touches paths
//! from a layer, `unpack` applies entries, `decode` decompresses and verifies,
//! `parents` repairs directories that a layer uses without describing them.

mod decode;
mod parents;
mod pax;
mod stream;
mod tree;
mod unpack;

pub(crate) use decode::{Expected, decoder, unpack_layer};
pub(crate) use parents::{Attributes, attributes_below, clone_tree, set_attributes};
pub(crate) use stream::{Kind, TarReader};

use std::io;

use crate::digest::Digest;

/// What one layer may hold at most. The defaults are far above any sane image:
/// they stop decompression bombs, not people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one layer's uncompressed tar stream.
    pub layer_bytes: u64,
    /// Files, directories, links and devices in one layer.
    pub layer_inodes: u64,
    /// Bytes of an image's manifest, index or configuration.
    pub document_bytes: u64,
    /// Layers of an image (overlayfs takes at most 500).
    pub layers: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            layer_bytes: 64 << 30,
            layer_inodes: 4_000_000,
            document_bytes: 8 << 20,
            layers: 127,
        }
    }
}

/// What unpacking a layer gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unpacked {
    /// Bytes of file content.
    pub size: u64,
    /// Directories that were made because entries lie in them, though the layer
    /// does not describe them. Paths from the layer's root, parents first.
    pub implied: Vec<Vec<u8>>,
}

/// A layer cannot be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// An entry that no honest layer holds.
    #[error("layer entry {path:?} is refused: {reason}")]
    Refused {
        /// The entry's path as the layer gives it.
        path: String,
        /// Why.
        reason: &'static str,
    },
    /// The filesystem refused an entry.
    #[error("unpack layer entry {path:?}")]
    Entry {
        /// The entry's path as the layer gives it.
        path: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The layer's directory cannot be used.
    #[error("use the directory of a layer")]
    Directory(#[source] io::Error),
    /// The stream is no tar, or damaged, or ended early.
    #[error("read the layer's archive")]
    Stream(#[source] io::Error),
    /// The layer is larger than the limits allow.
    #[error("layer holds more than {limit} {unit}, the limit of this node")]
    TooLarge {
        /// The limit that was reached.
        limit: u64,
        /// What it counts.
        unit: &'static str,
    },
    /// The bytes are not the ones that the image names.
    #[error(
        "layer has digest {actual} instead of {expected}: the content was damaged or replaced on its way"
    )]
    Digest {
        /// What the image names.
        expected: Digest,
        /// What arrived.
        actual: Digest,
    },
    /// More or fewer bytes arrived than the image says.
    #[error("layer has {actual} bytes instead of {expected}")]
    Size {
        /// What the image says, in bytes.
        expected: u64,
        /// What arrived, in bytes.
        actual: u64,
    },
}

impl UnpackError {
    /// Whether the node's disk (or a quota) is full.
    pub fn is_no_space(&self) -> bool {
        match self {
            UnpackError::Entry { source, .. }
            | UnpackError::Directory(source)
            | UnpackError::Stream(source) => no_space(source),
            _ => false,
        }
    }
}

/// Whether an error means that a disk or a quota is full.
pub(crate) fn no_space(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

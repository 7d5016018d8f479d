//! An image as the store hands it out.

use std::path::PathBuf;

use crate::config::ImageConfig;
use crate::digest::Digest;
use crate::reference::Reference;

/// An image that is wholly on this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The digest of its configuration.
    pub id: Digest,
    /// Its names with a tag, sorted.
    pub references: Vec<Reference>,
    /// Its names with a digest, as registries gave them, sorted.
    pub digests: Vec<Reference>,
    /// Bytes of file content in all its layers.
    pub size: u64,
    /// When it was made, as it says itself (RFC 3339).
    pub created: Option<String>,
    /// What containers made from it run by default.
    pub config: ImageConfig,
    /// Directories of its layers, bottom first, each fit to be a lower layer of
    /// an overlay. They are shared between images: never write to them.
    pub layers: Vec<PathBuf>,
}

/// What [`ImageStore::remove`](crate::ImageStore::remove) did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Removed {
    /// Names that are gone.
    pub untagged: Vec<Reference>,
    /// Images that are gone.
    pub deleted: Vec<Digest>,
    /// Directories of layers that are gone.
    pub layers: usize,
}

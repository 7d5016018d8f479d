//! What can go wrong, each naming the image, the registry, and what to do.

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::digest::Digest;
use crate::layer::{UnpackError, no_space};
use crate::manifest::Platform;
use crate::reference::Reference;

/// The cause below an error, shared because a pull may have several callers.
pub type Cause = Arc<dyn Error + Send + Sync>;

/// An image could not be pulled.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PullError {
    /// The registry does not know the repository.
    #[error("image {}: not found at {registry}; check the spelling; if it is private, pull it on this node with `skep image pull --username`", reference.familiar())]
    NotFound {
        /// The image.
        reference: Reference,
        /// The registry that was asked.
        registry: String,
    },
    /// The repository exists, the tag or digest does not.
    #[error("image {}: {registry} has the repository but no such tag or digest; check what comes after the name", reference.familiar())]
    NoSuchTag {
        /// The image.
        reference: Reference,
        /// The registry that was asked.
        registry: String,
    },
    /// The registry wants (other) credentials, or hides that nothing is there.
    #[error("image {}: access denied by {registry} ({reason}); it may not exist, or needs (other) credentials: pull it on this node with `skep image pull --username`", reference.familiar())]
    Unauthorised {
        /// The image.
        reference: Reference,
        /// The registry that was asked.
        registry: String,
        /// What the registry said.
        reason: String,
    },
    /// No connection, or it broke too often.
    #[error("image {}: cannot reach registry {registry}; check the network, or name it as an insecure registry if it speaks plain HTTP", reference.familiar())]
    Unreachable {
        /// The image.
        reference: Reference,
        /// The registry that was asked.
        registry: String,
        /// What the connection said.
        #[source]
        source: Cause,
    },
    /// The registry wants fewer requests.
    #[error("image {}: {registry} limits the number of pulls; pull it on this node with `skep image pull --username`, use a mirror, or wait", reference.familiar())]
    RateLimited {
        /// The image.
        reference: Reference,
        /// The registry that was asked.
        registry: String,
    },
    /// An answer that is neither success nor any of the above.
    #[error("image {}: registry {registry} answered {status}: {message}", reference.familiar())]
    Answer {
        /// The image.
        reference: Reference,
        /// The registry that was asked.
        registry: String,
        /// The HTTP status.
        status: u16,
        /// What the registry said.
        message: String,
    },
    /// What the registry gave is no image that can be run.
    #[error("image {}: what {registry} gave is of no use: {reason}", reference.familiar())]
    Unusable {
        /// The image.
        reference: Reference,
        /// The registry that was asked.
        registry: String,
        /// Why.
        reason: String,
    },
    /// The image is not made for this machine.
    #[error("image {}: no image for {wanted}, only for {}", reference.familiar(), list(found))]
    WrongPlatform {
        /// The image.
        reference: Reference,
        /// This machine.
        wanted: Platform,
        /// What there is.
        found: Vec<Platform>,
    },
    /// A document is not the one that was asked for.
    #[error("image {}: {what} from {registry} has digest {actual} instead of {expected}: the content was damaged or replaced on its way", reference.familiar())]
    DigestMismatch {
        /// The image.
        reference: Reference,
        /// The registry that was asked.
        registry: String,
        /// Which part of the image.
        what: String,
        /// What the image names.
        expected: Digest,
        /// What arrived.
        actual: Digest,
    },
    /// The node's disk or quota is full.
    #[error("image {}: no space left for it on this node; remove images with `skep image rm`, or enlarge the disk", reference.familiar())]
    NoSpace {
        /// The image.
        reference: Reference,
        /// What the kernel said.
        #[source]
        source: Cause,
    },
    /// A layer cannot be unpacked.
    #[error("image {}: unpack layer {layer}", reference.familiar())]
    Unpack {
        /// The image.
        reference: Reference,
        /// The layer's digest.
        layer: Digest,
        /// Why.
        #[source]
        source: Arc<UnpackError>,
    },
    /// The store on disk failed.
    #[error("image {}: put it into the store", reference.familiar())]
    Store {
        /// The image.
        reference: Reference,
        /// Why.
        #[source]
        source: Arc<StoreError>,
    },
    /// Neither a mirror nor the registry itself had it.
    #[error("image {}: {}", reference.familiar(), each(tried))]
    Everywhere {
        /// The image.
        reference: Reference,
        /// Where it was looked for, in order, and what came of it.
        tried: Vec<(String, PullError)>,
    },
    /// The pull was stopped before it ended, as the daemon stops.
    #[error("image {}: the pull was stopped", reference.familiar())]
    Stopped {
        /// The image.
        reference: Reference,
    },
}

impl PullError {
    /// Whether trying again later, with nothing changed, may help.
    pub fn is_transient(&self) -> bool {
        match self {
            PullError::Unreachable { .. }
            | PullError::RateLimited { .. }
            | PullError::Stopped { .. }
            | PullError::DigestMismatch { .. } => true,
            PullError::Answer { status, .. } => *status >= 500,
            PullError::Everywhere { tried, .. } => tried.iter().any(|(_, e)| e.is_transient()),
            _ => false,
        }
    }
}

fn list(platforms: &[Platform]) -> String {
    if platforms.is_empty() {
        return "none that it names".to_owned();
    }
    let mut names: Vec<String> = platforms.iter().map(Platform::to_string).collect();
    names.dedup();
    names.join(", ")
}

/// Every attempt on its own; the causes are part of the tale here, as only one
/// error can be the source of another.
fn each(tried: &[(String, PullError)]) -> String {
    let tell = |(registry, error): &(String, PullError)| {
        let mut text = match error {
            PullError::NotFound { .. } => format!("not found at {registry}"),
            PullError::NoSuchTag { .. } => format!("no such tag at {registry}"),
            PullError::Unreachable { .. } => format!("cannot reach {registry}"),
            error => format!("{registry}: {error}"),
        };
        let mut source = error.source();
        while let Some(cause) = source {
            text.push_str(&format!(": {cause}"));
            source = cause.source();
        }
        text
    };
    let told: Vec<String> = tried.iter().map(tell).collect();
    format!(
        "{}; check the name, the mirrors and the network",
        told.join("; ")
    )
}

/// The store on disk cannot do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The configuration names a mirror that is no URL.
    #[error("registry mirror {0:?} is not a URL such as http://10.0.0.1:5000")]
    Mirror(String),
    /// Another daemon uses the same directory.
    #[error("image store {0:?} is in use by another daemon; give each its own data directory")]
    Busy(PathBuf),
    /// A file or directory of the store failed.
    #[error("{operation} {path:?} in the image store")]
    Disk {
        /// What was tried, such as `write`.
        operation: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// There is no such image here.
    #[error("no such image: {0}")]
    NoSuchImage(String),
    /// More than one image's id begins like that.
    #[error("image id {0} is ambiguous: write more of it")]
    Ambiguous(String),
    /// Containers use the image.
    #[error("image {0} is in use by a container: remove the container first")]
    InUse(String),
    /// An image has names in more than one repository, and was named by id.
    #[error("image {0} has several names: remove them one by one, or use force")]
    SeveralNames(String),
}

impl StoreError {
    pub(crate) fn disk(
        operation: &'static str,
        path: impl Into<PathBuf>,
        source: impl Into<io::Error>,
    ) -> StoreError {
        StoreError::Disk {
            operation,
            path: path.into(),
            source: source.into(),
        }
    }

    /// Whether the node's disk (or a quota) is full.
    pub fn is_no_space(&self) -> bool {
        matches!(self, StoreError::Disk { source, .. } if no_space(source))
    }
}

/// An archive could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The archive cannot be read.
    #[error("read the image archive")]
    Read(#[source] io::Error),
    /// It is no archive of images, or a damaged one.
    #[error("not a usable image archive: {0}")]
    Unusable(String),
    /// It holds no image for this machine.
    #[error("the archive has no image for {wanted}, only for {}", list(found))]
    WrongPlatform {
        /// This machine.
        wanted: Platform,
        /// What there is.
        found: Vec<Platform>,
    },
    /// A layer cannot be unpacked.
    #[error("unpack layer {layer} of the archive")]
    Unpack {
        /// The layer's digest.
        layer: Digest,
        /// Why.
        #[source]
        source: UnpackError,
    },
    /// The store on disk failed.
    #[error("put the archive's images into the store")]
    Store(#[from] StoreError),
}

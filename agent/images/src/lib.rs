//! The image store of a node: everything about images as bytes on disk.
//!
//! It pulls images from registries, reads them from archives, unpacks each
//! layer once into a directory that overlayfs can take as a lower layer, keeps
//! the names, and deletes what nobody needs. It knows nothing of services,
//! tasks, shims, mounts or networks: it hands out an [`Image`] with its
//! [`ImageConfig`] and the paths of its layers, bottom first.
//!
//! ```no_run
//! # async fn pull() -> Result<(), Box<dyn std::error::Error>> {
//! use skep_agent_images::{ImageStore, Reference, RegistryConfig};
//!
//! let store = ImageStore::open("/var/lib/skep/images".as_ref(), RegistryConfig::default())?;
//! let redis: Reference = "redis:alpine".parse()?;
//! let image = store.pull(&redis, None, |progress| println!("{progress}")).await?;
//! println!("{} has {} layers", image.id, image.layers.len());
//! # Ok(())
//! # }
//! ```

mod archive;
mod config;
#[doc(hidden)]
pub mod decoders;
mod digest;
mod error;
mod image;
mod layer;
mod manifest;
mod progress;
mod pull;
mod reference;
mod registry;
mod store;

pub use config::{Healthcheck, ImageConfig};
pub use digest::{Digest, ParseDigestError};
pub use error::{LoadError, PullError, StoreError};
pub use image::{Image, Removed};
pub use layer::{Limits, UnpackError};
pub use manifest::Platform;
pub use progress::{Progress, Stage};
pub use reference::{ParseReferenceError, Reference};
pub use registry::{Credentials, RegistryConfig, RemoteImage};
pub use store::ImageStore;

//! Secrets and configs: small files kept by the managers. One of a name is present; what
//! it was before it got other content are its earlier generations, each with its own id.

use crate::id::{ConfigId, SecretId};
use crate::meta::{Labels, Meta, Timestamp};
use std::fmt;
use std::sync::Arc;

/// Largest secret, in bytes.
pub const SECRET_MAX_BYTES: usize = 500 * 1024;
/// Largest config, in bytes.
pub const CONFIG_MAX_BYTES: usize = 1000 * 1024;

/// A secret as given. `Debug` never shows the data.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct SecretSpec {
    /// Unique name.
    pub name: String,
    /// Labels.
    pub labels: Labels,
    /// Content.
    pub data: Arc<[u8]>,
    /// The content is a template, filled in for each task (template driver `golang`).
    pub template: bool,
}

impl fmt::Debug for SecretSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretSpec")
            .field("name", &self.name)
            .field("labels", &self.labels)
            .field("data_len", &self.data.len())
            .field("template", &self.template)
            .finish()
    }
}

/// A secret as the cluster keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    /// Id.
    pub id: SecretId,
    /// Version and times.
    pub meta: Meta,
    /// Name, labels, data.
    pub spec: SecretSpec,
    /// Counts the contents that its name has had, from 1.
    pub generation: u32,
    /// When another generation followed, or the name was removed. It stays for as long
    /// as a spec, a revision or a task refers to it.
    pub superseded_at: Option<Timestamp>,
}

/// A config as given.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConfigSpec {
    /// Unique name.
    pub name: String,
    /// Labels.
    pub labels: Labels,
    /// Content.
    pub data: Arc<[u8]>,
    /// The content is a template, filled in for each task (template driver `golang`).
    pub template: bool,
}

/// A config as the cluster keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Id.
    pub id: ConfigId,
    /// Version and times.
    pub meta: Meta,
    /// Name, labels, data.
    pub spec: ConfigSpec,
    /// Counts the contents that its name has had, from 1.
    pub generation: u32,
    /// When another generation followed, or the name was removed. It stays for as long
    /// as a spec, a revision or a task refers to it.
    pub superseded_at: Option<Timestamp>,
}

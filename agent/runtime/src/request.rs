//! What the runtime is asked to make.

use skep_types::{ContainerSpec, Labels, Resources, TaskId};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// One container. Templates are expanded and secrets are looked up already.
#[derive(Debug, Clone)]
pub struct ContainerRequest {
    /// The task it belongs to; a task has one container.
    pub task: TaskId,
    /// 64 hexadecimal digits.
    pub container_id: String,
    /// What the user declared.
    pub spec: ContainerSpec,
    /// Limits.
    pub resources: Resources,
    /// The image, unpacked.
    pub image: RootImage,
    /// Path of a network namespace that is set up already; a new one with
    /// nothing but loopback when `None`.
    pub netns: Option<PathBuf>,
    /// Host name; the first 12 digits of the container id when empty.
    pub hostname: String,
    /// Environment that wins over the spec's.
    pub extra_env: Vec<String>,
    /// The whole of `/etc/hosts`.
    pub hosts: String,
    /// The whole of `/etc/resolv.conf`.
    pub resolv_conf: String,
    /// Secrets; a relative path is below `/run/secrets`.
    pub secrets: Vec<FileInTmpfs>,
    /// Configs; a relative path is below `/`.
    pub configs: Vec<FileInTmpfs>,
    /// Labels of the container, kept with it.
    pub labels: Labels,
    /// Size at which the log is rotated, in bytes; 10 MiB when `None`.
    pub log_max_bytes: Option<u64>,
    /// Number of log files kept; 3 when `None`.
    pub log_max_files: Option<u32>,
}

/// A file that is kept in memory only.
#[derive(Clone, PartialEq, Eq)]
pub struct FileInTmpfs {
    /// Where the container sees it.
    pub path: String,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Permission bits.
    pub mode: u32,
    /// Content.
    pub data: Arc<[u8]>,
}

impl fmt::Debug for FileInTmpfs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileInTmpfs")
            .field("path", &self.path)
            .field("uid", &self.uid)
            .field("gid", &self.gid)
            .field("mode", &format_args!("{:o}", self.mode))
            .field("data_len", &self.data.len())
            .finish()
    }
}

/// An image as far as a container needs it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RootImage {
    /// Its id, kept with the container: as long as that is there, its layers
    /// are in use.
    pub id: String,
    /// Unpacked layers, bottom first. Shared, never written to.
    pub layers: Vec<PathBuf>,
    /// Defaults of containers made from it.
    pub config: ImageConfig,
}

/// Defaults that an image gives to its containers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageConfig {
    /// `user[:group]`, by name or number; root when empty.
    pub user: String,
    /// `KEY=value`.
    pub env: Vec<String>,
    /// Program and first arguments.
    pub entrypoint: Vec<String>,
    /// Further arguments, or the program where there is no entrypoint.
    pub cmd: Vec<String>,
    /// Working directory; `/` when empty.
    pub working_dir: String,
    /// Paths that get an anonymous volume.
    pub volumes: Vec<String>,
    /// Signal that asks to stop.
    pub stop_signal: Option<String>,
}

//! What a container is made of: the part of a task's spec that the runtime reads.

use crate::device::{Device, DeviceRule};
use crate::health::HealthCheck;
use crate::id::{ConfigId, SecretId};
use crate::isolation::Ipc;
use crate::meta::Labels;
use crate::resources::ByteCount;
use std::time::Duration;

/// Time that nodes have to send nothing more to a task that is to stop. Ten times
/// what they should need; Swarm takes two seconds.
pub const SHUTDOWN_DELAY: Duration = Duration::from_millis(500);

/// The longest such time.
pub const SHUTDOWN_DELAY_MAX: Duration = Duration::from_secs(60 * 60);

/// A container as the user declared it. Empty and `None` mean: as the image says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ContainerSpec {
    /// Image reference as given, with a digest when one was resolved.
    pub image: String,
    /// Labels of the container.
    pub labels: Labels,
    /// Replaces the image's entrypoint.
    pub command: Vec<String>,
    /// Replaces the image's command.
    pub args: Vec<String>,
    /// Host name; may hold a template.
    pub hostname: String,
    /// `KEY=value`, or `KEY` alone to unset; sorted by the stack loader.
    pub env: Vec<String>,
    /// Working directory.
    pub dir: String,
    /// `user[:group]`, by name or number.
    pub user: String,
    /// Supplementary groups, by name or number.
    pub groups: Vec<String>,
    /// Allocate a terminal.
    pub tty: bool,
    /// Keep standard input open.
    pub open_stdin: bool,
    /// Mount the root file system read-only.
    pub read_only: bool,
    /// Signal that asks the container to stop; SIGTERM when neither this nor
    /// the image says.
    pub stop_signal: String,
    /// Time between that signal and SIGKILL; 10 s when not set.
    pub stop_grace_period: Option<Duration>,
    /// Time in which a task that is to stop still serves what reaches it, before
    /// that signal; [`SHUTDOWN_DELAY`] when not set.
    pub shutdown_delay: Option<Duration>,
    /// Replaces the image's health check.
    pub health_check: Option<HealthCheck>,
    /// Whether the container takes traffic, asked for as long as it runs; it does
    /// whenever it runs when not set.
    pub readiness: Option<HealthCheck>,
    /// Volumes, binds and tmpfs.
    pub mounts: Vec<Mount>,
    /// Extra lines of `/etc/hosts`: `address name…`.
    pub hosts: Vec<String>,
    /// Name servers asked for names outside the swarm; the node's when empty.
    pub dns_servers: Vec<String>,
    /// Search domains.
    pub dns_search: Vec<String>,
    /// Resolver options.
    pub dns_options: Vec<String>,
    /// Secrets the container sees.
    pub secrets: Vec<FileReference<SecretId>>,
    /// Configs the container sees.
    pub configs: Vec<FileReference<ConfigId>>,
    /// Namespaced kernel settings.
    pub sysctls: Labels,
    /// Capabilities beyond the default set (`CAP_…` or `ALL`).
    pub cap_add: Vec<String>,
    /// Capabilities taken away.
    pub cap_drop: Vec<String>,
    /// Resource limits of processes.
    pub ulimits: Vec<Ulimit>,
    /// Run a small init as process 1.
    pub init: Option<bool>,
    /// OOM killer adjustment.
    pub oom_score_adj: i32,
    /// Size of `/dev/shm`; 64 MiB when not set.
    pub shm_size: Option<ByteCount>,
    /// It sees the processes of the node.
    pub host_pid: bool,
    /// Shared memory, semaphores and message queues.
    pub ipc: Ipc,
    /// It has the host name of the node.
    pub host_uts: bool,
    /// All capabilities and devices of the node, no system call filter, and the
    /// settings of the kernel writable.
    pub privileged: bool,
    /// Devices that it finds.
    pub devices: Vec<Device>,
    /// Further devices that it may use.
    pub device_rules: Vec<DeviceRule>,
    /// Set-uid programs and the like give it no privileges.
    pub no_new_privileges: bool,
    /// No system call filter.
    pub seccomp_unconfined: bool,
    /// What of `/proc` and `/sys` is hidden or read-only elsewhere is not here.
    pub system_paths_unconfined: bool,
}

/// A secret or config put into the container as a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileReference<Id> {
    /// The object.
    pub id: Id,
    /// Its name, kept for messages.
    pub name: String,
    /// Where and how it appears.
    pub target: FileTarget,
}

/// Place and owner of a file made from a secret or config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileTarget {
    /// File name; relative to `/run/secrets` for secrets, to `/` for configs.
    pub path: String,
    /// Owner, numeric.
    pub uid: u32,
    /// Group, numeric.
    pub gid: u32,
    /// Permission bits.
    pub mode: u32,
}

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Absolute path in the container.
    pub target: String,
    /// Read-only.
    pub read_only: bool,
    /// What is mounted there.
    pub kind: MountKind,
}

/// Where the content of a mount comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountKind {
    /// A directory or file of the node; must exist there.
    Bind {
        /// Absolute path on the node.
        source: String,
        /// Mount propagation; `rprivate` when empty.
        propagation: String,
    },
    /// A named volume of the node, made at first use; anonymous when empty.
    Volume {
        /// Name, or empty.
        name: String,
        /// Do not fill a new volume from the image.
        no_copy: bool,
        /// Driver; `local` when empty.
        driver: String,
        /// Driver options.
        options: Labels,
        /// Labels of the volume.
        labels: Labels,
    },
    /// Memory.
    Tmpfs {
        /// Largest size.
        size: Option<ByteCount>,
        /// Permission bits of its root; 1777 when not set.
        mode: Option<u32>,
    },
}

/// A limit of `setrlimit(2)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ulimit {
    /// Name without `RLIMIT_`, lower case, e.g. `nofile`.
    pub name: String,
    /// Soft limit; -1 is unlimited.
    pub soft: i64,
    /// Hard limit; -1 is unlimited.
    pub hard: i64,
}

//! What a shim is started with and what it answers on its standard output.

use crate::CapabilitySet;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The request of `skep-shim create`, found in the bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShimRequest {
    /// Id of the container, 64 hexadecimal digits.
    pub container_id: String,
    /// Absolute path of its cgroup below each hierarchy; first part `skep...`.
    pub cgroup_path: String,
    /// The program and how it is confined.
    pub process: ProcessSpec,
    /// The network namespace is a new one whose loopback is to be brought up.
    pub new_network: bool,
    /// It is in the PID namespace of the node: nothing ends its processes when the
    /// first one does.
    pub host_pid: bool,
    /// Standard input, output and error are one terminal.
    pub tty: bool,
    /// Standard input stays open instead of being empty.
    pub open_stdin: bool,
    /// Devices the container may use (cgroup v2; v1 takes them from the OCI
    /// configuration).
    pub devices: Vec<DeviceRule>,
    /// Where output goes.
    pub log: LogConfig,
    /// Directory in which compiled seccomp filters are kept.
    pub seccomp_cache: PathBuf,
}

/// A program and how it is confined; the same for process 1 and for a command
/// run beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessSpec {
    /// Program and arguments; never empty.
    pub args: Vec<String>,
    /// Environment, complete: nothing is added but what is here.
    pub env: Vec<String>,
    /// Working directory, absolute; made where it does not exist.
    pub cwd: String,
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Further groups.
    pub groups: Vec<u32>,
    /// Capabilities: bounding set, and for root also effective and permitted.
    pub capabilities: CapabilitySet,
    /// Forbid gaining privileges by executing set-uid programs.
    pub no_new_privileges: bool,
    /// System call filter.
    pub seccomp: Seccomp,
    /// OOM killer adjustment.
    pub oom_score_adj: i32,
    /// An init process runs it: hands signals on to it, and reaps.
    pub init: bool,
}

/// System call filter of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Seccomp {
    /// Docker's default profile.
    Default,
    /// None.
    Unconfined,
}

/// One entry of the device allow-list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRule {
    /// `c` or `b`.
    pub kind: char,
    /// Major number; all when `None`.
    pub major: Option<u32>,
    /// Minor number; all when `None`.
    pub minor: Option<u32>,
    /// Some of `r`, `w`, `m`.
    pub access: String,
}

impl DeviceRule {
    /// Docker's default list: making nodes is allowed, using them only for the
    /// harmless ones.
    pub fn docker_default() -> Vec<Self> {
        let rule = |kind, major, minor, access: &str| Self {
            kind,
            major,
            minor,
            access: access.to_owned(),
        };
        let mut rules = vec![rule('c', None, None, "m"), rule('b', None, None, "m")];
        for (major, minor) in [
            (1, Some(3)),
            (1, Some(5)),
            (1, Some(7)),
            (1, Some(8)),
            (1, Some(9)),
            (5, Some(0)),
            (5, Some(1)),
            (5, Some(2)),
            (136, None),
        ] {
            rules.push(rule('c', Some(major), minor, "rwm"));
        }
        rules
    }
}

/// Where a container's output goes: Docker's json-file format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogConfig {
    /// The current file.
    pub path: PathBuf,
    /// Size at which it is rotated, in bytes.
    pub max_bytes: u64,
    /// Number of files kept, the current one included; at least 1.
    pub max_files: u32,
}

/// What `skep-shim create` prints, as one line of JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CreateOutcome {
    /// The container is there and waits for the start.
    Created {
        /// Process 1 of the container as the host sees it.
        pid: i32,
    },
    /// It could not be made; nothing is left of it.
    Failed {
        /// One line for the user.
        reason: String,
    },
}

/// The request of `skep-shim exec`, on its standard input as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecRequest {
    /// Id of the container.
    pub container_id: String,
    /// The command and how it is confined.
    pub process: ProcessSpec,
    /// After this many milliseconds it is killed.
    pub timeout_millis: u64,
    /// Output beyond this many bytes is read and thrown away.
    pub max_output_bytes: usize,
    /// Directory in which compiled seccomp filters are kept.
    pub seccomp_cache: PathBuf,
}

/// What `skep-shim exec` prints, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExecOutcome {
    /// The command ran to its end.
    Exited {
        /// Exit code; 128 + signal number where a signal ended it.
        code: i32,
        /// Standard output and error as they came; invalid UTF-8 replaced.
        output: String,
    },
    /// It did not end in time and was killed.
    TimedOut {
        /// What it had written.
        output: String,
    },
    /// It could not be run.
    Failed {
        /// One line for the user.
        reason: String,
    },
}

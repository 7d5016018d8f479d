//! Nodes: machines in the swarm.

use crate::format::Format;
use crate::id::NodeId;
use crate::meta::{Labels, Meta, Timestamp};
use crate::resources::{ByteCount, Generics, NanoCpus};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

/// A node as the cluster keeps it.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Id.
    pub id: NodeId,
    /// Version and times.
    pub meta: Meta,
    /// What the user wants of it.
    pub spec: NodeSpec,
    /// What it said of itself.
    pub description: NodeDescription,
    /// Whether it answers.
    pub status: NodeStatus,
    /// Role in force: that of the next certificate it is given.
    pub role: Role,
    /// Since when: an older certificate for another role is void.
    pub role_since: Timestamp,
    /// Since when it is drained, while it is.
    pub drain_since: Option<Timestamp>,
    /// Its place among the managers, while it is one.
    pub manager: Option<ManagerStatus>,
    /// Its address inside the WireGuard mesh.
    pub mesh: Option<Ipv4Addr>,
}

/// What the user wants of a node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeSpec {
    /// Labels, given by who holds the swarm, or with the join token that a node came with
    /// (unlike those that its daemon reports).
    pub labels: Labels,
    /// Role wanted.
    pub role: Role,
    /// Whether tasks may run there.
    pub availability: Availability,
    /// Time in which a drained node's tasks may be moved one after the other, as their
    /// services say; what is left then stops at once. An hour when not set.
    pub drain_deadline: Option<Duration>,
}

impl NodeSpec {
    /// Most that `drain_deadline` can be.
    pub const DRAIN_DEADLINE_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);
    /// Most labels of a node, and of its daemon.
    pub const LABELS_MAX: usize = 128;
    /// Longest key or value of one, in bytes.
    pub const LABEL_MAX: usize = 1024;
}

/// Nomad's default.
const DRAIN_DEADLINE: Duration = Duration::from_secs(60 * 60);

impl Node {
    /// When tasks that are still wanted there stop at once, while it is drained.
    pub fn drained_by(&self) -> Option<Timestamp> {
        let since = self.drain_since.unwrap_or(self.meta.updated_at);
        let deadline = self.spec.drain_deadline.unwrap_or(DRAIN_DEADLINE);
        (self.spec.availability == Availability::Drain).then(|| since + deadline)
    }
}

/// What a node does in the swarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Role {
    /// Runs tasks.
    #[default]
    Worker,
    /// Also decides.
    Manager,
}

/// Whether tasks may run on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Availability {
    /// Yes.
    #[default]
    Active,
    /// Those there stay, no new ones.
    Pause,
    /// No: those there are moved, as their services' tasks are updated.
    Drain,
}

/// What a node says of itself when it opens a session.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeDescription {
    /// Host name; not unique.
    pub hostname: String,
    /// Operating system and architecture.
    pub platform: Platform,
    /// CPUs it has.
    pub cpus: NanoCpus,
    /// Memory it has.
    pub memory: ByteCount,
    /// CPUs of these that it keeps for what is no task (`--system-reserve`).
    pub reserved_cpus: NanoCpus,
    /// The same of its memory.
    pub reserved_memory: ByteCount,
    /// What it has of other kinds (`--node-generic-resource`).
    pub generic: Generics,
    /// Version of skep.
    pub engine_version: String,
    /// Labels of the daemon (`--label`).
    pub engine_labels: Labels,
    /// WireGuard public key; all zero until it has one.
    pub wireguard_key: [u8; 32],
    /// Where its WireGuard port is reached from other nodes.
    pub data_path: Option<SocketAddr>,
    /// What it proves itself with.
    pub tls: NodeTls,
}

impl NodeDescription {
    /// What it has for tasks: all but what it keeps.
    pub fn for_tasks(&self) -> (NanoCpus, ByteCount) {
        (
            NanoCpus(self.cpus.0.saturating_sub(self.reserved_cpus.0)),
            ByteCount(self.memory.0.saturating_sub(self.reserved_memory.0)),
        )
    }
}

/// What a node proved itself with when it last opened a session, as SHA-256 of
/// certificates; all zero where that is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NodeTls {
    /// The root its certificate was issued under. Found by the manager.
    pub issuer: [u8; 32],
    /// Its certificate. Found by the manager.
    pub certificate: [u8; 32],
    /// The roots it trusts, in order. Said by the node.
    pub trusted: [u8; 32],
}

/// Operating system and architecture, in Go's words (`linux`, `amd64`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Platform {
    /// Operating system.
    pub os: String,
    /// Architecture.
    pub architecture: String,
}

impl Platform {
    /// Longest part of one, in bytes.
    pub const PART_MAX: usize = 64;

    /// What runs on `other` runs here: a part that is not said is any, and the machine's
    /// names of architectures (`x86_64`) mean the same as Go's.
    pub fn accepts(&self, other: &Platform) -> bool {
        let any_or = |wanted: &str, is: &str| wanted.is_empty() || wanted.eq_ignore_ascii_case(is);
        any_or(&self.os, &other.os) && any_or(self.in_go(), other.in_go())
    }

    /// One of these runs there; none at all is everywhere.
    pub fn any_accepts(platforms: &[Platform], there: &Platform) -> bool {
        platforms.is_empty() || platforms.iter().any(|platform| platform.accepts(there))
    }

    /// The architecture in Go's words.
    fn in_go(&self) -> &str {
        const NAMES: [(&str, &str); 3] = [
            ("x86_64", "amd64"),
            ("x86-64", "amd64"),
            ("aarch64", "arm64"),
        ];
        let is = |(name, _): &&(&str, &str)| self.architecture.eq_ignore_ascii_case(name);
        NAMES
            .iter()
            .find(is)
            .map_or(&self.architecture, |(_, go)| go)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let any = |part: &str| if part.is_empty() { "any" } else { part }.to_owned();
        write!(f, "{}/{}", any(&self.os), any(&self.architecture))
    }
}

impl FromStr for Platform {
    type Err = InvalidPlatform;

    /// Reads `linux/amd64`.
    fn from_str(text: &str) -> Result<Platform, InvalidPlatform> {
        let part = |part: &str| {
            let fits = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
            let short = !part.is_empty() && part.len() <= Platform::PART_MAX;
            (short && part.chars().all(fits)).then(|| part.to_owned())
        };
        let parts = text.split_once('/');
        let parts = parts.and_then(|(os, architecture)| Some((part(os)?, part(architecture)?)));
        match parts {
            Some((os, architecture)) => Ok(Platform { os, architecture }),
            None => Err(InvalidPlatform(text.to_owned())),
        }
    }
}

/// What is no platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidPlatform(String);

impl fmt::Display for InvalidPlatform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not a platform such as linux/amd64", self.0)
    }
}

impl std::error::Error for InvalidPlatform {}

/// Whether a node answers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeStatus {
    /// State.
    pub state: NodeState,
    /// Why, in words.
    pub message: String,
    /// The address managers saw it come from.
    pub address: Option<IpAddr>,
}

/// Whether a node answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum NodeState {
    /// Not heard of since it was made.
    #[default]
    Unknown,
    /// Silent for too long.
    Down,
    /// Answers.
    Ready,
    /// Changing managers on purpose.
    Disconnected,
}

/// A manager's place in the Raft group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManagerStatus {
    /// Its id there; never reused.
    pub raft_id: u64,
    /// Address other managers reach it at.
    pub address: String,
    /// The newest format it reads.
    pub format: Format,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_are_compared_by_what_they_mean() {
        let platform = |os: &str, architecture: &str| Platform {
            os: os.to_owned(),
            architecture: architecture.to_owned(),
        };
        let holds = |wanted: (&str, &str), is: (&str, &str)| {
            platform(wanted.0, wanted.1).accepts(&platform(is.0, is.1))
        };
        assert!(holds(("linux", "amd64"), ("linux", "x86_64")));
        assert!(holds(("Linux", "aarch64"), ("linux", "arm64")));
        assert!(holds(("", ""), ("linux", "riscv64")));
        assert!(holds(("linux", ""), ("linux", "arm")));
        assert!(!holds(("linux", "arm64"), ("linux", "arm")));
        assert!(!holds(("windows", "amd64"), ("linux", "amd64")));
        // A node that has not said what it is runs only what runs anywhere.
        assert!(!holds(("linux", "amd64"), ("", "")));
        assert_eq!("linux/arm64".parse(), Ok(platform("linux", "arm64")));
        for none in ["linux", "linux/", "/amd64", "linux/arm64/v8", "li nux/a"] {
            let said = format!("{none:?} is not a platform such as linux/amd64");
            assert_eq!(none.parse::<Platform>().unwrap_err().to_string(), said);
        }
    }
}

//! Capabilities of the kernel as a set of bits.
//!
//! Owns names, numbers and Docker's default set; who may ask for more is
//! decided elsewhere.

use serde::{Deserialize, Serialize};
use std::{fmt, fs, io};

/// Names in the order of their numbers (`linux/capability.h`).
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// What a container has unless its spec says otherwise: Docker's list.
const DEFAULT: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

/// A set of capabilities; bit n is capability number n.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CapabilitySet(pub u64);

/// A name that is no capability.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownCapability {
    /// The name as given.
    pub name: String,
}

impl fmt::Display for UnknownCapability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not a capability", self.name)
    }
}

impl std::error::Error for UnknownCapability {}

/// Number of a capability given as `CAP_X`, `X` or in lower case.
fn number(name: &str) -> Result<u32, UnknownCapability> {
    let upper = name.to_ascii_uppercase();
    let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
    NAMES
        .iter()
        .position(|known| *known == bare)
        .map(|index| index as u32)
        .ok_or_else(|| UnknownCapability {
            name: name.to_owned(),
        })
}

impl CapabilitySet {
    /// How many capabilities are known by name.
    pub const COUNT: u32 = NAMES.len() as u32;

    /// All known capabilities.
    pub const fn all() -> Self {
        Self((1 << Self::COUNT) - 1)
    }

    /// All known capabilities that this process may have.
    ///
    /// # Errors
    /// `/proc` that does not say.
    pub fn all_of_this_process() -> io::Result<Self> {
        let status = fs::read_to_string("/proc/self/status")?;
        let permitted = status.lines().find_map(|line| line.strip_prefix("CapPrm:"));
        let bits = permitted.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
        let bits = bits.ok_or(io::ErrorKind::InvalidData)?;
        Ok(Self(bits & Self::all().0))
    }

    /// Docker's default set.
    pub fn docker_default() -> Self {
        let mut set = Self(0);
        for name in DEFAULT {
            if let Ok(number) = number(name) {
                set.0 |= 1 << number;
            }
        }
        set
    }

    /// Docker's rule: the default set, plus `add`, minus `drop`; `ALL` is
    /// everything. A name in both lists is added.
    ///
    /// # Errors
    /// A name that is no capability.
    pub fn with_changes(add: &[String], drop: &[String]) -> Result<Self, UnknownCapability> {
        let is_all = |name: &String| name.eq_ignore_ascii_case("ALL");
        let mut set = if add.iter().any(is_all) {
            Self::all()
        } else if drop.iter().any(is_all) {
            Self(0)
        } else {
            Self::docker_default()
        };
        for name in drop.iter().filter(|name| !is_all(name)) {
            set.0 &= !(1 << number(name)?);
        }
        for name in add.iter().filter(|name| !is_all(name)) {
            set.0 |= 1 << number(name)?;
        }
        Ok(set)
    }

    /// Whether the capability with this name is in the set; false for an
    /// unknown name.
    pub fn has(self, name: &str) -> bool {
        number(name).is_ok_and(|number| self.contains(number))
    }

    /// Whether the capability with this number is in the set.
    pub fn contains(self, number: u32) -> bool {
        number < 64 && self.0 & (1 << number) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn the_default_set_is_dockers() {
        // The mask `docker run alpine grep CapBnd /proc/self/status` shows.
        assert_eq!(CapabilitySet::docker_default().0, 0xa804_25fb);
    }

    #[test]
    fn added_and_dropped_names_change_the_default() {
        let set = CapabilitySet::with_changes(&list(&["net_admin"]), &list(&["CAP_MKNOD"]));
        let set = set.unwrap_or(CapabilitySet(0));
        assert!(set.has("NET_ADMIN"));
        assert!(!set.has("MKNOD"));
        assert!(set.has("CHOWN"));
    }

    #[test]
    fn dropping_all_leaves_only_what_is_added() {
        assert_eq!(
            CapabilitySet::with_changes(&list(&["CHOWN"]), &list(&["ALL"])),
            Ok(CapabilitySet(1))
        );
    }

    #[test]
    fn a_name_that_is_no_capability_is_refused() {
        let error = CapabilitySet::with_changes(&list(&["FLY"]), &[]);
        assert_eq!(
            error.map_err(|e| e.to_string()),
            Err("\"FLY\" is not a capability".to_owned())
        );
    }
}

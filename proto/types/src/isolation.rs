//! How far a container is apart from its node: what it has of its own, and what it
//! shares.

use crate::container::ContainerSpec;

/// Shared memory, semaphores and message queues of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ipc {
    /// Its own.
    #[default]
    Private,
    /// Its own, without `/dev/shm`.
    NoShm,
    /// Those of the node.
    Host,
}

/// Settings of the kernel that go with the IPC namespace.
const IPC_SETTINGS: &[&str] = &[
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

impl ContainerSpec {
    /// Whether a setting of the kernel is the container's alone: all others would
    /// be changed for the whole node.
    pub fn owns_sysctl(&self, name: &str) -> bool {
        let name = name.replace('/', ".");
        let fits = name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "._-:@".contains(c));
        if !fits || name.contains("..") {
            return false;
        }
        if name.starts_with("net.") {
            return true;
        }
        match name.as_str() {
            "kernel.domainname" => !self.host_uts,
            name if IPC_SETTINGS.contains(&name) || name.starts_with("fs.mqueue.") => {
                self.ipc != Ipc::Host
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_belongs_to_a_namespace_or_to_the_node() {
        let own = ContainerSpec::default();
        let shared = ContainerSpec {
            host_pid: true,
            ipc: Ipc::Host,
            host_uts: true,
            ..ContainerSpec::default()
        };
        let of_both = |name: &str| (own.owns_sysctl(name), shared.owns_sysctl(name));
        assert_eq!(of_both("net.core.somaxconn"), (true, true));
        assert_eq!(of_both("net/ipv4/conf/eth0.1/forwarding"), (true, true));
        assert_eq!(of_both("kernel.shmmax"), (true, false));
        assert_eq!(of_both("fs.mqueue.msg_max"), (true, false));
        assert_eq!(of_both("kernel.domainname"), (true, false));
        for others in [
            "vm.swappiness",
            "kernel.panic",
            "kernel.hostname",
            "fs.file-max",
            "net.../../vm.swappiness",
            "net/../vm/swappiness",
            "",
        ] {
            assert_eq!(of_both(others), (false, false), "{others}");
        }
    }
}

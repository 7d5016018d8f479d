//! WireGuard behind one trait: the kernel's where there is one, an engine in this process where not.
//!
//! Owns the choice between the two. Leaves to others: addresses, routes and settings of the interface, its
//! MTU and setting it up (both kinds of interface are changed by netlink like any other), and who the peers
//! are.

mod in_process;
mod kernel;
mod plan;

use std::fmt;
use std::io;

use skep_agent_wireguard::{EngineConfig, EngineError, PeerConfig, PeerStats};

use in_process::InProcess;
use kernel::Kernel;

/// A WireGuard interface of this node. All calls block for milliseconds at most, and must come from a thread
/// in the network namespace the interface was opened in.
pub trait WireGuard: Send + Sync + fmt::Debug {
    /// Which kind this is: `kernel` or `in-process`.
    fn name(&self) -> &'static str;

    /// Makes these the peers: new ones are added, known ones keep their session and take over what changed,
    /// all others go. An endpoint is only moved when a different one is given than the last time, so that a
    /// peer that was heard from elsewhere is not lost.
    ///
    /// # Errors
    /// A list that contradicts itself; a kernel that refuses. The former changes nothing.
    fn set_peers(&self, peers: &[PeerConfig]) -> Result<(), WireGuardError>;

    /// How every peer is doing. The kernel does not tell what it dropped: those counts are zero there.
    ///
    /// # Errors
    /// A kernel that does not answer, an interface that is gone.
    fn stats(&self) -> Result<Vec<PeerStats>, WireGuardError>;

    /// Why it carries packets no longer, if that is so. It is to be dropped then and opened again.
    fn failure(&self) -> Option<String>;
}

/// Why a WireGuard interface could not be opened, changed or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WireGuardError {
    /// The engine in the process refused.
    #[error("wireguard in the process")]
    InProcess(#[from] EngineError),
    /// The peers contradict each other.
    #[error("list of wireguard peers")]
    Peers(#[source] EngineError),
    /// The interface's name is none that the kernel takes.
    #[error("wireguard interface name {name:?} is not valid")]
    InterfaceName {
        /// The name.
        name: String,
    },
    /// The kernel refused to make or set up the interface.
    #[error("set up kernel wireguard interface {interface}")]
    OpenKernel {
        /// Its name.
        interface: String,
        /// The kernel's reason.
        source: io::Error,
    },
    /// The kernel refused a change of the peers.
    #[error("change the peers of kernel wireguard interface {interface}")]
    ChangeKernel {
        /// Its name.
        interface: String,
        /// The kernel's reason.
        source: io::Error,
    },
    /// The kernel did not tell about the interface.
    #[error("read kernel wireguard interface {interface}")]
    ReadKernel {
        /// Its name.
        interface: String,
        /// The kernel's reason.
        source: io::Error,
    },
}

/// Opens the node's WireGuard interface in the network namespace of the calling thread: the kernel's, or where
/// the kernel has none, an engine in the process. A kernel interface of this name is taken over with its
/// sessions. One of another kind must have been removed before.
///
/// Dropping the result ends an engine in the process and removes its interface; the kernel's stays, for the
/// daemon that comes next.
///
/// # Errors
/// What either kind was refused. That the kernel has no WireGuard is not an error.
pub fn open(config: EngineConfig) -> Result<Box<dyn WireGuard>, WireGuardError> {
    if let Some(kernel) = Kernel::open(&config)? {
        return Ok(Box::new(kernel));
    }
    tracing::info!(interface = %config.interface, "the kernel has no wireguard: it runs in this process");
    Ok(Box::new(InProcess::open(config)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// Runs `f` in a network namespace that ends with it.
    fn in_a_namespace<R: Send>(f: impl FnOnce() -> R + Send) -> R {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).expect("needs root");
                f()
            });
            thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    fn config() -> EngineConfig {
        EngineConfig {
            interface: "skept0".to_owned(),
            private_key: skep_agent_wireguard::generate_private_key(),
            listen_port: 0,
            mtu: 1420,
        }
    }

    fn peer() -> PeerConfig {
        PeerConfig {
            public_key: skep_agent_wireguard::public_key(
                &skep_agent_wireguard::generate_private_key(),
            ),
            endpoint: Some(([127, 0, 0, 1], 9).into()),
            allowed_ips: vec!["10.1.0.0/24".parse().expect("a network")],
            keepalive: Some(Duration::from_secs(25)),
        }
    }

    #[test]
    fn whatever_the_kernel_has_an_interface_opens_and_tells_of_its_peers() {
        in_a_namespace(|| {
            let wireguard = open(config()).expect("one kind or the other");
            let peer = peer();
            wireguard
                .set_peers(std::slice::from_ref(&peer))
                .expect("a peer");
            let stats = wireguard.stats().expect("stats");
            assert_eq!(stats.len(), 1);
            assert_eq!(
                (stats[0].public_key, stats[0].endpoint),
                (peer.public_key, peer.endpoint)
            );
            assert_eq!(wireguard.failure(), None);
            wireguard.set_peers(&[]).expect("no peer");
            assert_eq!(wireguard.stats().expect("stats"), []);
        });
    }

    #[test]
    fn peers_that_contradict_each_other_are_refused_whatever_the_kind() {
        in_a_namespace(|| {
            let wireguard = open(config()).expect("one kind or the other");
            let (one, other) = (peer(), peer());
            wireguard
                .set_peers(&[one.clone(), other])
                .expect_err("both claim the same network");
            assert_eq!(wireguard.stats().expect("stats"), []);
        });
    }

    #[test]
    fn a_kernel_without_wireguard_is_absent_and_nothing_is_left_of_the_question() {
        in_a_namespace(|| {
            let kernel = Kernel::open(&config()).expect("an answer");
            let exists = std::fs::read_to_string("/proc/thread-self/net/dev")
                .expect("procfs")
                .contains("skept0");
            assert_eq!(kernel.is_some(), exists);
        });
    }
}

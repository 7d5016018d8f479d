//! What can go wrong when an engine is started or configured.

use std::io;

use ipnet::IpNet;

/// Why an engine could not be started or configured. Nothing is half-made after an error: a failed
/// start leaves no interface, a failed [`set_peers`](crate::Engine::set_peers) no changed peer.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The interface's name is empty, longer than 15 bytes or holds a character Linux refuses.
    #[error("interface name {name:?} is not valid: 1 to 15 bytes without '/', ':' or white space")]
    InterfaceName {
        /// The name that was asked for.
        name: String,
    },
    /// The MTU is below 576, which IPv4 asks of everyone, or beyond what one datagram carries.
    #[error("mtu {mtu} of {interface} is not between 576 and 65455")]
    Mtu {
        /// The interface that was to have it.
        interface: String,
        /// The MTU in bytes.
        mtu: u16,
    },
    /// The TUN device could not be made: the name is taken, or the right to make one is missing.
    #[error("create tun device {interface}")]
    CreateTun {
        /// The device's name.
        interface: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The UDP socket could not be bound.
    #[error("bind {family} udp port {port}")]
    BindUdp {
        /// `IPv4` or `IPv6`.
        family: &'static str,
        /// The port, 0 for any.
        port: u16,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A thread or the handle that stops the threads could not be made.
    #[error("start {thread} of {interface}")]
    StartThread {
        /// The engine's interface.
        interface: String,
        /// Which part.
        thread: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Two peers of one list have the same public key.
    #[error("peer {key} is listed twice")]
    DuplicatePeer {
        /// The start of the key, in hexadecimal.
        key: String,
    },
    /// Two peers of one list claim the same allowed IPs; only one could ever have them.
    #[error("allowed ips {net} are claimed by peer {first} and by peer {second}")]
    DuplicateAllowedIps {
        /// The contested network.
        net: IpNet,
        /// The start of the first key, in hexadecimal.
        first: String,
        /// The start of the second key, in hexadecimal.
        second: String,
    },
    /// The engine's own key is in the list of its peers.
    #[error("peer {key} is this node itself")]
    OwnKey {
        /// The start of the key, in hexadecimal.
        key: String,
    },
}

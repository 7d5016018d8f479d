//! WireGuard inside the process: one [`Engine`] is one interface.
//!
//! Owns: the TUN device, the UDP sockets, the three threads that carry packets between them, the
//! peers with their sessions, and the check that a peer sends only from addresses it was given.
//! The protocol itself (handshake, sessions, timers, cookies) is `boringtun::noise`; segmentation
//! offload of the TUN device is `tun-rs`. Packets stay in segments of up to 64 KB from the TUN to
//! the UDP socket and back, which is what makes it several times faster than one system call a
//! packet.
//!
//! Leaves to others: addresses and routes on the interface, which peers there are, keeping the
//! private key, and the choice between this engine and the kernel's WireGuard.

mod config;
mod counters;
mod engine;
mod error;
mod keys;
mod outbox;
mod peer;
mod routes;
mod rx;
mod shared;
mod sockets;
mod sys;
mod timer;
mod tx;

pub use config::{EngineConfig, PeerConfig, validate_peers};
pub use counters::{EngineStats, PeerStats};
pub use engine::Engine;
pub use error::EngineError;
pub use keys::{generate_private_key, public_key};

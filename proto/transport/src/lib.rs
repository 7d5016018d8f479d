//! gRPC over mutually authenticated TLS: a channel to another node and a
//! listener for others' channels.
//!
//! Owns sockets (or what a simulation puts in their place), handshakes and the
//! way a peer's certificate reaches a
//! service. Leaves to others which certificates are good (the TLS
//! configurations come from `manager/ca`) and what is said over a channel.

#![forbid(unsafe_code)]

mod channel;
mod listener;
mod network;
mod places;
mod recheck;
mod redirect;
mod unknown;

pub use channel::{ChannelError, Channels, Probes, connect};
pub use listener::{PeerConnection, Secured, accept};
pub use network::{ByteStream, Connection, Listener, Network, Tcp};
pub use places::{Call, Calls, Load};
pub use recheck::Recheck;
pub use redirect::{LEADER_HEADER, never_taken, not_leader, redirected_to};
pub use unknown::name_version;

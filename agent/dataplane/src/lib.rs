//! The network of a node: links, routes, packet filter, WireGuard and the containers' resolver.
//!
//! What it should be comes as a [`Desired`](skep_agent_planner::network::Desired) value; this crate reads
//! what the kernel has, and applies the difference in ordered, idempotent steps. It remembers nothing that
//! it could read. Kernel objects of ours are named `skep…` (routes and rules carry our protocol number), and
//! only such are ever removed.

mod conntrack;
mod dataplane;
#[doc(hidden)]
pub mod decoders;
mod docker;
mod error;
mod forwarding;
mod links;
mod mesh;
mod netlink;
mod netns;
mod nft;
mod resolver;
mod ruleset;
mod settings;
mod unsent;
pub mod wireguard;

pub use dataplane::{Applied, Dataplane, DataplaneConfig};
pub use error::Error;

//! The node: builds agent, manager and socket out of their crates and holds
//! them together. The agent runs always, the manager while the node is one.
//!
//! Owns what a node remembers of its swarm and how it gets in and out of one.
//! Leaves the work to the roles, and how it is asked for to the command line.

#![forbid(unsafe_code)]

mod address;
mod args;
pub mod decoders;
mod describe;
mod door;
mod farewell;
mod files;
mod join;
mod keyring;
mod local;
mod lock;
mod member;
mod new_swarm;
mod node;
mod open_files;
mod recover;
mod renew;
mod resources;
mod run;
mod sealed;

pub use args::DaemonArgs;
pub use run::run;

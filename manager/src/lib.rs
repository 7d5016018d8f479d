//! The manager role: what a node does beside running tasks while it is one of
//! those that decide.
//!
//! Owns leadership, the reconciler loop, the dispatcher and the gRPC services
//! of port 2377. Leaves what should happen to `planner`, what is kept to
//! `store`, how it is agreed on to `raft`, and who is who to `ca`.

#![forbid(unsafe_code)]

mod address;
mod admission;
mod anew;
mod autolock;
mod clock;
mod dispatcher;
mod error;
mod events;
mod join;
mod keeper;
mod leader;
mod machine;
mod manager;
mod port;
mod proposer;
mod reconciler;
mod registrations;
mod rotation;
mod rpc;
mod seats;
mod shared;
#[cfg(test)]
mod testing;

pub use anew::{Backup, fresh_raft_id};
pub use autolock::KeyKeeper;
pub use error::{LogState, ProposeError, StartError};
pub use join::join_raft;
pub use manager::{Manager, ManagerConfig, Start, first_actions};
pub use rpc::control::Control;
pub use skep_manager_raft::{RaftConfig, reform};
pub use skep_manager_store::format;
pub use skep_manager_store::validate::{validate_cluster, validate_node};

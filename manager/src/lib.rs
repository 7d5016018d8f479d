//! The manager role: what a node does beside running tasks while it is one of
//! those that decide.
//!
//! Owns leadership, the reconciler loop, the dispatcher and the gRPC services
//! of port 2377. Leaves what should happen to `planner`, what is kept to
//! `store`, how it is agreed on to `raft`, and who is who to `ca`.

#![forbid(unsafe_code)]

mod clock;
mod dispatcher;
mod error;
mod keeper;
mod leader;
mod machine;
mod manager;
mod proposer;
mod reconciler;
mod rpc;
mod shared;

pub use error::{ProposeError, StartError};
pub use manager::{Manager, ManagerConfig, Start, first_actions, join_raft};
pub use rpc::control::Control;

//! The agent role: what every node does. It keeps a session with a manager,
//! takes on tasks, drives each through its life and says where it is.
//!
//! Leaves what to do next to `planner`, containers to `runtime`, images to
//! `images` and the kernel's network to `dataplane`.

#![forbid(unsafe_code)]

mod agent;
mod contact;
mod executor;
mod filled;
mod health;
mod kept;
mod ledger;
mod line;
mod logs;
mod network;
mod reporter;
mod search;
mod session;
mod task_manager;
mod worker;

pub use agent::{Agent, AgentConfig, AgentError};
pub use contact::Contact;
pub use line::{Line, Told, Work};
pub use reporter::Reporter;
pub use session::Held;

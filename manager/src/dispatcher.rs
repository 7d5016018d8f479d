//! Delivery: sessions of agents, what each is told, what they answer.
//!
//! Every manager does this for the agents that chose it; what only the leader
//! can do is passed on to it.

pub(crate) mod assignments;
pub(crate) mod board;
mod digest;
pub(crate) mod door;
pub(crate) mod heartbeats;
pub(crate) mod logs;
pub(crate) mod sessions;
pub(crate) mod statuses;
mod term;
pub(crate) mod views;

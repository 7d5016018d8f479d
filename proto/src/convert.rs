//! One file an object family.

pub(crate) mod assignment;
pub(crate) mod basic;
pub(crate) mod client;
pub(crate) mod cluster;
pub(crate) mod container;
pub(crate) mod data;
pub(crate) mod format;
pub(crate) mod job;
pub(crate) mod log;
pub(crate) mod network;
pub(crate) mod node;
pub(crate) mod placement;
pub(crate) mod resources;
pub(crate) mod revision;
pub(crate) mod service;
pub(crate) mod snapshot;
pub(crate) mod stack;
pub(crate) mod task;

//! The gRPC services: decode, call, encode.

pub(crate) mod ca;
pub(crate) mod change;
pub(crate) mod client;
pub mod control;
pub(crate) mod describe;
pub(crate) mod dispatcher;
mod explain;
mod foresee;
pub(crate) mod gate;
pub(crate) mod logs;
pub(crate) mod peer;
pub(crate) mod raft;
pub(crate) mod read;
pub(crate) mod relay;
pub(crate) mod status;
mod watch;

//! Replicates opaque bytes between managers: the only crate that names
//! openraft.
//!
//! Owns the durable log and snapshots, elections, membership and the messages
//! between members. Leaves the meaning of the bytes to a [`Machine`], their
//! way to another node to a [`Transport`], and what a leader does to whoever
//! watches [`Raft::leadership`].
//!
//! The *index* that callers see counts proposals, from 1 and without gaps, on
//! every member alike; it is not the position in the Raft log, where several
//! proposals share one entry and elections leave entries of their own.

mod candidacy;
mod config;
#[doc(hidden)]
pub mod decoders;
pub mod disk;
mod error;
mod handle;
mod keys;
mod leadership;
mod machine;
mod members;
mod network;
mod node;
mod plausible;
mod propose;
mod pulse;
mod read;
mod rebuild;
mod receive;
mod runtime;
mod silence;
mod status;
mod storage;
mod transfer;
mod types;
mod wire;

pub use config::RaftConfig;
pub use error::{
    HandleError, MemberError, OpenError, ProposeError, ReadError, RotateError, TransferError,
    TransportError,
};
pub use leadership::Leadership;
pub use machine::{Machine, Transport};
pub use members::Member;
pub use node::Raft;
pub use propose::{MAX_PROPOSAL_BYTES, Proposed, Submitted};
pub use rebuild::{reform, seed};
pub use runtime::seed_this_thread;
pub use status::{MemberStatus, Reachability, Status};
pub use wire::WireError;

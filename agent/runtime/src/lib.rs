//! The containers of one node: root file systems, bundles, volumes, secrets,
//! logs, statistics, commands beside a container; it talks to the shims.
//!
//! It remembers nothing: a container is what its bundle directory and its shim
//! say. So a daemon can be killed at any moment, and the next one finds every
//! container as it is ([`Runtime::adopt`]). Images, networks and the decision
//! what should run belong to others.

#![deny(unsafe_code)]

mod adopt;
mod alive;
mod apart;
mod devices;
mod error;
mod exec;
mod fill;
mod jail;
mod logs;
mod node;
mod process;
mod request;
mod rootfs;
mod runtime;
mod shim;
mod signal;
mod spec;
mod stats;
mod users;
mod volumes;
mod watch;

pub use adopt::{Adopted, AdoptedState};
pub use error::Error;
pub use exec::ExecResult;
pub use logs::{LogLine, LogOptions, LogStream};
pub use request::{ContainerRequest, FileInTmpfs, ImageConfig, RootImage};
pub use runtime::{Runtime, RuntimeConfig, Started};
pub use signal::{ParseSignalError, StopSignal};
pub use skep_agent_shim_api::ExitRecord;
pub use stats::Stats;

/// What the functions of this crate return.
pub type Result<T> = std::result::Result<T, Error>;

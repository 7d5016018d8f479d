//! What the runtime (in the daemon) and `skep-shim` (one per container) say to
//! each other: the layout of a bundle directory, the request a shim is started
//! with, the messages of its control socket, and the exit record.
//!
//! Both sides are built from this crate, so the formats have one home. It is
//! synchronous and small, since the shim is: no runtime, no threads.

#![deny(unsafe_code)]

pub mod bundle;
pub mod capability;
pub mod cgroup;
pub mod control;
pub mod exit;
pub mod request;
pub mod time;

pub use bundle::Bundle;
pub use capability::{CapabilitySet, UnknownCapability};
pub use cgroup::Cgroup;
pub use control::{ControlRequest, ControlResponse, Status};
pub use exit::ExitRecord;
pub use request::{
    CreateOutcome, DeviceRule, ExecOutcome, ExecRequest, LogConfig, ProcessSpec, Seccomp,
    ShimRequest,
};

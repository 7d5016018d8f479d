//! The state every manager holds: tables of the swarm's objects, the actions
//! that change them, and snapshots that read them.
//!
//! Pure and synchronous: no clock, no disk, no network, no wire format. The
//! same entries give the same state on the leader, on followers, in the
//! simulation and after a restore. What should change is decided elsewhere
//! (the planner, the users' requests); how entries travel is `manager/raft`'s.
//!
//! - [`Store::apply`] takes one entry: a list of [`Action`]s with its index
//!   and time. Each action is refused or applied singly; that of a stack has many parts,
//!   which are refused or applied together.
//! - [`Snapshot`] is a cheap clone of everything at one version.
//! - [`Difference`] is what lies between two snapshots.
//! - [`Dump`] is everything as plain data, for snapshots on disk.
//! - [`format`] lists what each format of entries and snapshots added.
//! - [`schedule`] says when a job is due, [`runs`] how far its runs are.
//! - [`validate`] checks what users ask for before it becomes an action.

#![forbid(unsafe_code)]

mod action;
mod apply;
mod cut;
mod data;
mod difference;
mod dump;
mod event;
pub mod format;
mod given;
mod refused;
pub mod runs;
pub mod schedule;
mod shelf;
mod snapshot;
mod usage;
pub mod validate;

pub use action::{
    Action, Attached, ClusterAction, ConfigAction, DataAction, DesiredChange, Explanation,
    NetworkAction, NewTask, NodeAction, Placement, SecretAction, ServiceAction, StackAction,
    StackPart, TaskAction,
};
pub use apply::{Applied, Store};
pub use data::Superseded;
pub use difference::{Change, Difference};
pub use dump::Dump;
pub use event::{Event, EventAction, ObjectId};
pub use given::{Given, HostPort, host_ports};
pub use refused::Refused;
pub use shelf::Shelf;
pub use snapshot::{AddressUse, Contents, Snapshot, may_run};
pub use usage::NodeUsage;

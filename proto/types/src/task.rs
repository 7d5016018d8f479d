//! Tasks: one attempt each to run one container in one slot.

use crate::id::{NetworkId, NodeId, ServiceId, TaskId};
use crate::meta::{Meta, Timestamp, Version};
use crate::resources::Generics;
use crate::restart::{LocalRestarts, Restarts};
use crate::service::TaskSpec;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// Position of a task in its service: from 1 for replicated services, 0 for
/// global ones, whose tasks are told apart by node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Slot(pub u32);

/// Life of a task, in order; an observed state never goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum TaskState {
    /// Made by the orchestrator.
    #[default]
    New,
    /// Waits for a node.
    Pending,
    /// Has a node.
    Assigned,
    /// The node has taken it.
    Accepted,
    /// Image, volumes and network are being made.
    Preparing,
    /// Can start at once.
    Ready,
    /// Has been started; not yet healthy.
    Starting,
    /// Runs.
    Running,
    /// Ended with exit code 0 by itself.
    Complete,
    /// Was stopped.
    Shutdown,
    /// Ended with an error.
    Failed,
    /// Could not be prepared.
    Rejected,
    /// Desired only: stop, then forget.
    Remove,
    /// Lost with its node: that was started anew, or has been away too long to know.
    Orphaned,
}

impl TaskState {
    /// Every state, in order.
    pub const ALL: [TaskState; 14] = [
        TaskState::New,
        TaskState::Pending,
        TaskState::Assigned,
        TaskState::Accepted,
        TaskState::Preparing,
        TaskState::Ready,
        TaskState::Starting,
        TaskState::Running,
        TaskState::Complete,
        TaskState::Shutdown,
        TaskState::Failed,
        TaskState::Rejected,
        TaskState::Remove,
        TaskState::Orphaned,
    ];

    /// Nothing more will happen to a task observed in this state.
    pub fn is_terminal(self) -> bool {
        self > TaskState::Running
    }

    /// Lower-case name, as filters and JSON have it.
    pub fn name(self) -> &'static str {
        match self {
            TaskState::New => "new",
            TaskState::Pending => "pending",
            TaskState::Assigned => "assigned",
            TaskState::Accepted => "accepted",
            TaskState::Preparing => "preparing",
            TaskState::Ready => "ready",
            TaskState::Starting => "starting",
            TaskState::Running => "running",
            TaskState::Complete => "complete",
            TaskState::Shutdown => "shutdown",
            TaskState::Failed => "failed",
            TaskState::Rejected => "rejected",
            TaskState::Remove => "remove",
            TaskState::Orphaned => "orphaned",
        }
    }
}

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Why a task was made, or why it was told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Cause {
    /// Made for a place that is new: of a new service, of more replicas, or on
    /// another node.
    #[default]
    Created,
    /// Made because the one before ended by itself.
    Restarted,
    /// Stopped because its service has fewer replicas.
    Scaled,
    /// Its service was updated.
    Updated,
    /// Its service went back to an earlier spec.
    RolledBack,
    /// A node went silent, was removed, or was started anew.
    NodeLost,
    /// A node was drained.
    Drained,
    /// A node no longer meets the constraints.
    Constraint,
    /// Stopped because its service was removed.
    Removed,
    /// Stopped because the run of its job is over, or cannot succeed any more.
    RunEnded,
    /// Stopped because the node whose task it was to replace is back.
    NodeBack,
    /// Moved to a node with fewer tasks of its service.
    Rebalanced,
}

impl Cause {
    /// Lower-case name, as events and JSON have it.
    pub fn name(self) -> &'static str {
        match self {
            Cause::Created => "created",
            Cause::Restarted => "restarted",
            Cause::Scaled => "scaled",
            Cause::Updated => "updated",
            Cause::RolledBack => "rolled-back",
            Cause::NodeLost => "node-lost",
            Cause::Drained => "drained",
            Cause::Constraint => "constraint",
            Cause::Removed => "removed",
            Cause::RunEnded => "run-ended",
            Cause::NodeBack => "node-back",
            Cause::Rebalanced => "rebalanced",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// One task.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// Id.
    pub id: TaskId,
    /// Version and times.
    pub meta: Meta,
    /// The service it belongs to (which may be gone already).
    pub service: ServiceId,
    /// That service's name when the task was made.
    pub service_name: Arc<str>,
    /// Position in the service.
    pub slot: Slot,
    /// Its node, once it has one (from the start for global services).
    pub node: Option<NodeId>,
    /// What it runs; shared by all tasks of the same version.
    pub spec: Arc<TaskSpec>,
    /// The service's `spec_version` it was made from.
    pub spec_version: Version,
    /// Where the managers want it. Only ever rises.
    pub desired: TaskState,
    /// Where it is.
    pub status: TaskStatus,
    /// Its addresses, given together with the node.
    pub attachments: Vec<Attachment>,
    /// Why it was made.
    pub cause: Cause,
    /// Why it was told to stop; `None` while it is wanted, and when it ended
    /// by itself.
    pub stop_cause: Option<Cause>,
    /// What was counted before it in its place.
    pub restarts: Restarts,
    /// It does not start before; `None` when there is nothing to wait for.
    pub start_at: Option<Timestamp>,
    /// The run of its job; 0 for tasks of other services.
    pub run: u64,
    /// What it was given of its node's generic resources, together with the node; free
    /// again once it has ended.
    pub generic: Generics,
}

impl Task {
    /// `service.slot`, or `service.node` for a global service.
    pub fn name(&self) -> String {
        match (self.slot, self.node) {
            (Slot(0), Some(node)) => format!("{}.{node}", self.service_name),
            (Slot(slot), _) => format!("{}.{slot}", self.service_name),
        }
    }

    /// Wanted alive and not known to have ended.
    pub fn is_live(&self) -> bool {
        self.desired <= TaskState::Running && !self.status.state.is_terminal()
    }

    /// What was counted up to its present container.
    pub fn counted(&self) -> Restarts {
        match self.status.local.count {
            0 => self.restarts,
            _ => self.status.local.counted,
        }
    }

    /// Until when it waits out a crash loop, without a node.
    pub fn held_until(&self) -> Option<Timestamp> {
        let is_loop = self.restarts.in_row >= Restarts::LOOP;
        let waits = self.desired < TaskState::Running && self.status.state < TaskState::Assigned;
        self.start_at.filter(|_| is_loop && waits)
    }
}

/// Where a task is, as its node or a manager said last.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TaskStatus {
    /// State.
    pub state: TaskState,
    /// When, by the clock of whoever reported it.
    pub at: Timestamp,
    /// What is going on, in words.
    pub message: String,
    /// Why it failed or cannot go on; empty when all is well.
    pub error: String,
    /// Exit code of the container, once it has ended.
    pub exit_code: Option<i32>,
    /// The kernel killed it for want of memory.
    pub oom_killed: bool,
    /// Container id (64 hex digits) once there is one.
    pub container: String,
    /// Process id of the container on its node; 0 when there is none.
    pub pid: u32,
    /// Since when it has run, or when it began to if it has ended; `None` if
    /// it was never seen running. The store keeps it: agents do not set it.
    pub ran_at: Option<Timestamp>,
    /// When it first took traffic: `ran_at`, or later where a readiness check says
    /// so; `None` if it never did. The store keeps it: what agents say is not read. On
    /// its node it is when the present container first did, by the node's clock.
    pub ready_at: Option<Timestamp>,
    /// It runs, and its readiness check says that it takes no traffic; or its node
    /// starts it again by itself.
    pub not_ready: bool,
    /// What its node started again by itself.
    pub local: LocalRestarts,
}

impl TaskStatus {
    /// It runs and takes traffic.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.state == TaskState::Running && !self.not_ready
    }
}

/// An address of a task on a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attachment {
    /// The network.
    pub network: NetworkId,
    /// The address, out of a block of the task's node.
    pub address: IpAddr,
}

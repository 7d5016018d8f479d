//! A task in a pass, and how a new one begins.

use skep_types::{
    Attachment, Cause, Generics, NodeId, Restarts, Slot, Task, TaskId, TaskSpec, TaskState,
    Timestamp, Version,
};
use std::sync::Arc;

/// A task in this pass: as it is, with edits.
#[derive(Debug, Clone)]
pub(crate) struct Work<'a> {
    /// As stored; `None` for one made by this pass.
    pub(crate) known: Option<&'a Arc<Task>>,
    pub(crate) id: TaskId,
    pub(crate) slot: Slot,
    pub(crate) node: Option<NodeId>,
    pub(crate) spec: &'a Arc<TaskSpec>,
    pub(crate) spec_version: Version,
    pub(crate) created_at: Timestamp,
    pub(crate) desired: TaskState,
    pub(crate) state: TaskState,
    /// Why it was made.
    pub(crate) cause: Cause,
    /// Why it was told to stop.
    pub(crate) stop_cause: Option<Cause>,
    /// Why it has to leave its node, which answers.
    pub(crate) leaves: Option<Cause>,
    /// Its node is silent, and it is given up once another serves in its place.
    pub(crate) away: bool,
    /// What was counted before it in its position, and of what its node started again.
    pub(crate) restarts: Restarts,
    /// It does not start before.
    pub(crate) start_at: Option<Timestamp>,
    /// The run of its job; 0 for tasks of other services.
    pub(crate) run: u64,
    /// Addresses, when placed by this pass; further ones, when it was placed before.
    pub(crate) attachments: Vec<Attachment>,
    /// What it is given of the node's generic resources, when placed by this pass.
    pub(crate) granted: Generics,
    /// It got its node by this pass.
    pub(crate) placed: bool,
    /// Why it waits, where this pass found that out.
    pub(crate) error: Option<String>,
    /// It is forgotten by this pass.
    pub(crate) removed: bool,
}

impl<'a> Work<'a> {
    pub(super) fn of(task: &'a Arc<Task>) -> Work<'a> {
        Work {
            known: Some(task),
            id: task.id,
            slot: task.slot,
            node: task.node,
            spec: &task.spec,
            spec_version: task.spec_version,
            created_at: task.meta.created_at,
            desired: task.desired,
            state: task.status.state,
            cause: task.cause,
            stop_cause: task.stop_cause,
            leaves: None,
            away: false,
            restarts: task.counted(),
            start_at: task.start_at,
            run: task.run,
            attachments: Vec::new(),
            granted: Generics::new(),
            placed: false,
            error: None,
            removed: false,
        }
    }

    /// What it has of its node's generic resources.
    pub(crate) fn generic(&self) -> &Generics {
        match self.known {
            Some(task) if !self.placed => &task.generic,
            _ => &self.granted,
        }
    }

    /// Wanted alive and not known to have ended, be its node silent.
    pub(crate) fn is_wanted(&self) -> bool {
        !self.removed && self.desired <= TaskState::Running && !self.state.is_terminal()
    }

    /// It counts in its place: wanted alive, not known to have ended, and not away.
    pub(crate) fn is_live(&self) -> bool {
        self.is_wanted() && !self.away
    }

    /// It may have work left on its node.
    pub(crate) fn may_run(&self) -> bool {
        !self.removed
            && self.node.is_some()
            && self.state >= TaskState::Assigned
            && !self.state.is_terminal()
    }

    /// It needs a node (or, with a node given, the scheduler's consent).
    pub(crate) fn waits_for_node(&self, now: Timestamp) -> bool {
        let waits = self.is_live() && self.state < TaskState::Assigned && !self.placed;
        waits && !self.is_held(now)
    }

    /// It waits out a crash loop: preparing it meanwhile is not worth it, and
    /// may be what fails.
    pub(crate) fn is_held(&self, now: Timestamp) -> bool {
        self.restarts.in_row >= Restarts::LOOP && self.start_at.is_some_and(|at| at > now)
    }

    /// Since when its node could have prepared it.
    pub(crate) fn tried_from(&self) -> Timestamp {
        let held = self
            .start_at
            .filter(|_| self.restarts.in_row >= Restarts::LOOP);
        held.map_or(self.created_at, |at| at.max(self.created_at))
    }

    /// Where it counts in its service: its slot, or its node.
    pub(crate) fn position(&self) -> Position {
        match (self.slot, self.node) {
            (Slot(0), node) if self.run != 0 => Position::Run(self.run, Slot(0), node),
            (slot, _) if self.run != 0 => Position::Run(self.run, slot, None),
            (Slot(0), Some(node)) => Position::Node(node),
            (slot, _) => Position::Slot(slot),
        }
    }

    /// Raises the desired state.
    pub(crate) fn desire(&mut self, desired: TaskState) {
        self.desired = self.desired.max(desired);
    }

    /// Raises the desired state to one that stops it. The first cause is kept;
    /// what has ended by itself needs none.
    pub(crate) fn stop(&mut self, desired: TaskState, cause: Cause) {
        if !self.state.is_terminal() {
            self.stop_cause.get_or_insert(cause);
        }
        self.desire(desired);
    }

    /// It runs and takes traffic.
    pub(crate) fn is_ready(&self) -> bool {
        self.state == TaskState::Running && self.known.is_some_and(|task| task.status.is_ready())
    }

    /// Since when it takes traffic, for a task that does.
    pub(crate) fn ready_since(&self) -> Timestamp {
        self.ended_at()
    }

    /// Since when it has run, or when it began to; `None` if it was never seen running.
    pub(crate) fn ran_at(&self) -> Option<Timestamp> {
        self.known.and_then(|task| task.status.ran_at)
    }

    /// When its present container first took traffic; `None` if the task never did.
    pub(crate) fn ready_at(&self) -> Option<Timestamp> {
        let status = &self.known?.status;
        let again = Some(status.local.at).filter(|_| status.local.count > 0);
        status.ready_at.map(|at| at.max(again.unwrap_or(at)))
    }

    /// It was neither stopped nor lost with its node.
    pub(crate) fn ended_by_itself(&self) -> bool {
        matches!(
            self.state,
            TaskState::Complete | TaskState::Failed | TaskState::Rejected
        )
    }

    /// When it ended: what its node said, as far as that can be true by the
    /// managers' clock.
    pub(crate) fn ended_at(&self) -> Timestamp {
        let Some(task) = self.known else {
            return self.created_at;
        };
        let changed = task.meta.updated_at.max(self.created_at);
        task.status.at.clamp(self.created_at, changed)
    }
}

/// The place a task fills: one live task each, but for updates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Position {
    /// Of a replicated service.
    Slot(Slot),
    /// Of a global service.
    Node(NodeId),
    /// Of a job: the run, and a slot or (with slot 0) a node.
    Run(u64, Slot, Option<NodeId>),
}

/// How a new task begins.
pub(crate) struct Origin {
    /// `Running`, or `Ready` for one that has to wait.
    pub(crate) desired: TaskState,
    pub(crate) cause: Cause,
    pub(crate) restarts: Restarts,
    pub(crate) start_at: Option<Timestamp>,
    /// Why it waits.
    pub(crate) error: Option<String>,
}

impl Origin {
    /// Wanted at once, with nothing counted before it.
    pub(crate) fn new(cause: Cause) -> Origin {
        Origin {
            desired: TaskState::Running,
            cause,
            restarts: Restarts::default(),
            start_at: None,
            error: None,
        }
    }
}

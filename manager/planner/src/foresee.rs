//! What a change would lead to, before anybody makes it.
//!
//! The change is made on a copy of the store, and the planner goes on from there with
//! agents that do at once what they are told: images are there, nothing fails, all is
//! ready when it runs. Where the clock has to move it is put on. What is foreseen is
//! therefore what the planner would decide, in its order, at the earliest times.

use crate::ids::IdSource;
use crate::liveness::Liveness;
use crate::reconcile_changed;
use crate::settled::Settled;
use skep_manager_store::{Action, Refused, Snapshot, Store, TaskAction};
use skep_types::{
    Availability, Cause, NodeId, NodeState, Service, ServiceId, Slot, Task, TaskId, TaskState,
    TaskStatus, Timestamp, UpdateState, UpdateStatus, Version,
};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Passes after which no more is foreseen.
const PASSES_MAX: usize = 5000;
/// Time after which nothing more is waited for.
const HORIZON: Duration = Duration::from_secs(2 * 60 * 60);

/// What would come of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Foreseen {
    /// What starts and what stops, in order.
    pub steps: Vec<Step>,
    /// Tasks that live now and would go on as if nothing had happened.
    pub kept: usize,
    /// Tasks that would still wait for a node, and why.
    pub waiting: Vec<Waiting>,
    /// How updates of services would end, or how far they would be; of those that change.
    pub updates: Vec<(ServiceId, UpdateStatus)>,
    /// It goes on after what is told here.
    pub goes_on: bool,
}

/// A task starts or stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Time from the change, at least.
    pub after: Duration,
    /// The service.
    pub service: ServiceId,
    /// Position in it; 0 for one of a global service.
    pub slot: Slot,
    /// Where.
    pub node: NodeId,
    /// It starts; otherwise it stops.
    pub starts: bool,
    /// Why.
    pub cause: Cause,
}

/// A task that gets no node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// The service.
    pub service: ServiceId,
    /// Position in it; 0 for one of a global service.
    pub slot: Slot,
    /// Its node, for one of a global service.
    pub node: Option<NodeId>,
    /// Why it waits.
    pub why: String,
}

/// Foresees what these actions lead to for the services that they change, or for all
/// where they change none. It ends early when `go_on` says so.
///
/// # Errors
/// The first action that would be refused.
pub fn foresee(
    snapshot: &Snapshot,
    now: Timestamp,
    ids: &mut IdSource,
    actions: &[Action],
    go_on: impl Fn() -> bool,
) -> Result<Foreseen, Refused> {
    let mut store = Store::over(snapshot.clone());
    let version = Version(snapshot.version().0 + 1);
    store.apply(version, now, actions).into_result()?;
    let changed = store.state().changed();
    let mut asked: BTreeSet<ServiceId> = changed
        .filter(|(_, at)| *at == version)
        .map(|(id, _)| id)
        .collect();
    let gone = snapshot.services().map(|service| service.id);
    asked.extend(gone.filter(|id| store.state().service(*id).is_none()));
    if asked.is_empty() {
        asked = snapshot.services().map(|service| service.id).collect();
    }
    let mut course = Course {
        begun: now,
        now,
        told: BTreeMap::new(),
        asked,
        store,
        steps: Vec::new(),
    };
    course.begin(snapshot);
    let goes_on = course.run(ids, go_on);
    Ok(course.foreseen(snapshot, goes_on))
}

/// The swarm as it would go on.
struct Course {
    begun: Timestamp,
    now: Timestamp,
    store: Store,
    /// The services of interest.
    asked: BTreeSet<ServiceId>,
    /// Their tasks of which it was told that they start, or that did before.
    told: BTreeMap<TaskId, Told>,
    steps: Vec<Step>,
}

struct Told {
    node: NodeId,
    stopped: bool,
    from_before: bool,
}

impl Course {
    fn begin(&mut self, before: &Snapshot) {
        for task in self.asked.iter().flat_map(|id| before.tasks_of(*id)) {
            if let Some(node) = task.node.filter(|_| wanted(task)) {
                let told = Told {
                    node,
                    stopped: false,
                    from_before: true,
                };
                self.told.insert(task.id, told);
            }
        }
    }

    /// Goes on until nothing of interest is under way; `true` if that has no end here.
    fn run(&mut self, ids: &mut IdSource, go_on: impl Fn() -> bool) -> bool {
        let mut settled = Settled::default();
        let mut liveness = Liveness::new(self.now);
        self.look();
        for _ in 0..PASSES_MAX {
            if !go_on() {
                break;
            }
            let snapshot = self.store.snapshot();
            for node in snapshot.nodes() {
                if node.status.state == NodeState::Ready {
                    liveness.hear(node.id, self.now, snapshot.heartbeat());
                }
            }
            let plan = reconcile_changed(&snapshot, &liveness, self.now, ids, &mut settled);
            if !plan.actions.is_empty() {
                self.apply(&plan.actions);
                self.look();
            } else if !self.agents(&snapshot) {
                let Some(at) = plan.wake_at.filter(|_| self.is_busy()) else {
                    return false;
                };
                if at > self.begun + HORIZON {
                    return true;
                }
                self.now = at.max(self.now);
            }
        }
        true
    }

    fn apply(&mut self, actions: &[Action]) {
        let version = Version(self.store.version().0 + 1);
        self.store.apply(version, self.now, actions);
    }

    /// Agents do what they are told; `false` if there was nothing.
    fn agents(&mut self, snapshot: &Snapshot) -> bool {
        let answers = |task: &&std::sync::Arc<Task>| {
            let node = task.node.and_then(|node| snapshot.node(node));
            node.is_some_and(|node| node.status.state == NodeState::Ready)
        };
        let services = snapshot.changed().map(|(id, _)| id);
        let updates: Vec<(TaskId, TaskStatus)> = services
            .flat_map(|id| snapshot.tasks_of(id))
            .filter(|task| skep_manager_store::may_run(task))
            .filter(answers)
            .filter_map(|task| {
                let next = match task.desired {
                    TaskState::Remove => TaskState::Shutdown,
                    desired => desired,
                };
                let ready = next == TaskState::Running && task.status.not_ready;
                (next > task.status.state || ready).then(|| {
                    let status = TaskStatus {
                        state: next,
                        at: self.now,
                        not_ready: false,
                        ..task.status.clone()
                    };
                    (task.id, status)
                })
            })
            .collect();
        if updates.is_empty() {
            return false;
        }
        self.apply(&[Action::Task(TaskAction::UpdateStatus { updates })]);
        true
    }

    /// Tells what changed of the tasks of interest.
    fn look(&mut self) {
        let Course {
            begun,
            now,
            store,
            asked,
            told,
            steps,
        } = self;
        let tasks = asked.iter().flat_map(|id| store.state().tasks_of(*id));
        for task in tasks {
            let starts = wanted(task);
            let step = |node, cause| Step {
                after: now.since(*begun),
                service: task.service,
                slot: task.slot,
                node,
                starts,
                cause,
            };
            match (told.get_mut(&task.id), task.node) {
                (None, Some(node)) if starts => {
                    let new = Told {
                        node,
                        stopped: false,
                        from_before: false,
                    };
                    told.insert(task.id, new);
                    steps.push(step(node, task.cause));
                }
                (Some(told), _) if !starts && !told.stopped => {
                    told.stopped = true;
                    // What ended by itself was there before the change.
                    if let Some(cause) = task.stop_cause {
                        steps.push(step(told.node, cause));
                    }
                }
                _ => {}
            }
        }
    }

    /// Something of interest is not yet what it is to become.
    fn is_busy(&self) -> bool {
        let state = self.store.state();
        self.asked.iter().any(|id| {
            let is_updated = state.service(*id).is_some_and(is_changing);
            is_updated
                || state.tasks_of(*id).any(|task| {
                    let node = task.node.and_then(|node| state.node(node));
                    let leaves =
                        node.is_some_and(|node| node.spec.availability == Availability::Drain);
                    let waits = task.start_at.is_some_and(|at| at > self.now);
                    let stops = !task.is_live() && skep_manager_store::may_run(task);
                    (task.is_live() && (leaves || waits)) || stops
                })
        })
    }

    fn foreseen(self, before: &Snapshot, goes_on: bool) -> Foreseen {
        let state = self.store.state();
        let tasks = self.asked.iter().flat_map(|id| state.tasks_of(*id));
        let waiting = tasks
            .filter(|task| task.is_live() && task.status.state < TaskState::Assigned)
            .map(|task| Waiting {
                service: task.service,
                slot: task.slot,
                node: task.node,
                why: task.status.error.clone(),
            })
            .collect();
        let updates = self.asked.iter().filter_map(|id| {
            let status = state.service(*id)?.update_status.clone()?;
            let known = before.service(*id).and_then(|s| s.update_status.as_ref());
            (known != Some(&status)).then_some((*id, status))
        });
        let kept = |told: &&Told| told.from_before && !told.stopped;
        Foreseen {
            kept: self.told.values().filter(kept).count(),
            waiting,
            updates: updates.collect(),
            goes_on,
            steps: self.steps,
        }
    }
}

/// It runs, or will.
fn wanted(task: &Task) -> bool {
    task.is_live() && task.desired == TaskState::Running && task.status.state >= TaskState::Assigned
}

/// It is updated, or its tasks are spread anew.
fn is_changing(service: &std::sync::Arc<Service>) -> bool {
    let state = service.update_status.as_ref().map(|status| status.state);
    matches!(
        state,
        Some(UpdateState::Updating | UpdateState::RollbackStarted)
    ) || service.rebalance_since.is_some()
}

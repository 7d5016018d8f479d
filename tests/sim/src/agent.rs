//! Simulated agents: they take their tasks from the store as last delivered,
//! bring them on one state at a time, and report until they are heard.

use crate::world::World;
use skep_manager_store::{Action, TaskAction};
use skep_types::{NodeId, TaskId, TaskState, TaskStatus, Timestamp};
use std::collections::BTreeMap;

/// Order of states while all goes well.
const WAY: [TaskState; 6] = [
    TaskState::Assigned,
    TaskState::Accepted,
    TaskState::Preparing,
    TaskState::Ready,
    TaskState::Starting,
    TaskState::Running,
];

/// One node's agent.
#[derive(Debug, Default)]
pub(crate) struct Agent {
    /// The host is off.
    pub(crate) dead: bool,
    /// Nothing gets through in either direction until then.
    pub(crate) cut_off_until: Timestamp,
    /// Percent of steps in which nothing is done.
    pub(crate) slowness: u64,
    /// Percent of reports that are lost.
    pub(crate) loss: u64,
    /// Percent of steps in which a running task fails.
    pub(crate) failure: u64,
    /// What it was told, and how far it got.
    tasks: BTreeMap<TaskId, Local>,
}

#[derive(Debug, Clone, Copy)]
struct Local {
    state: TaskState,
    desired: TaskState,
    since: Timestamp,
}

impl Agent {
    /// The host went off: nothing that ran there runs any more.
    pub(crate) fn die(&mut self, now: Timestamp) {
        self.dead = true;
        for local in self.tasks.values_mut() {
            if local.state >= TaskState::Starting && !local.state.is_terminal() {
                local.state = TaskState::Failed;
                local.since = now;
            }
        }
    }

    /// All agents take one step, in the order of their ids.
    pub(crate) fn act_all(world: &mut World) {
        let ids: Vec<NodeId> = world.agents.keys().copied().collect();
        for id in ids {
            // Taken out while it acts.
            let Some(mut agent) = world.agents.remove(&id) else {
                continue;
            };
            agent.act(id, world);
            world.agents.insert(id, agent);
        }
    }

    fn act(&mut self, node: NodeId, world: &mut World) {
        if self.dead || world.store.state().node(node).is_none() {
            return;
        }
        let connected = self.cut_off_until <= world.now;
        if connected {
            world.liveness.hear(node, world.now);
            self.take_assignments(node, world);
        }
        for local in self.tasks.values_mut() {
            if !world.rng.chance(self.slowness) {
                local.advance(world, self.failure);
            }
        }
        if connected {
            self.report(world);
        }
    }

    fn take_assignments(&mut self, node: NodeId, world: &mut World) {
        let mut told: BTreeMap<TaskId, Local> = BTreeMap::new();
        for task in world.store.state().tasks_on(node) {
            if task.status.state < TaskState::Assigned {
                continue;
            }
            let known = self.tasks.get(&task.id).copied().unwrap_or(Local {
                state: task.status.state,
                desired: task.desired,
                since: world.now,
            });
            told.insert(
                task.id,
                Local {
                    state: known.state.max(task.status.state),
                    desired: task.desired,
                    since: known.since,
                },
            );
        }
        self.tasks = told;
    }

    fn report(&mut self, world: &mut World) {
        let mut updates: Vec<(TaskId, TaskStatus)> = Vec::new();
        for (id, local) in &self.tasks {
            let Some(task) = world.store.state().task(*id) else {
                continue;
            };
            if task.status.state < local.state && !world.rng.chance(self.loss) {
                updates.push((
                    *id,
                    TaskStatus {
                        state: local.state,
                        at: local.since,
                        message: local.state.to_string(),
                        ..TaskStatus::default()
                    },
                ));
            }
        }
        if !updates.is_empty() {
            world.apply(
                "report",
                &[Action::Task(TaskAction::UpdateStatus { updates })],
            );
        }
    }
}

impl Local {
    fn advance(&mut self, world: &mut World, failure: u64) {
        if self.state.is_terminal() {
            return;
        }
        let next = if self.desired >= TaskState::Shutdown {
            TaskState::Shutdown
        } else if world.faulty && world.rng.chance(failure) {
            if self.state < TaskState::Starting {
                TaskState::Rejected
            } else {
                TaskState::Failed
            }
        } else {
            let next = WAY.into_iter().find(|state| *state > self.state);
            match next {
                Some(next) if next <= self.desired => next,
                _ => return,
            }
        };
        self.state = next;
        self.since = world.now;
    }
}

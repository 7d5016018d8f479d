//! The snapshot with the edits of this pass on top, and how the edits become
//! actions. The steps of a pass read and write this; none sees the others.

mod nodes;
mod quiet;
mod work;

pub(crate) use nodes::{NodeWork, Nodes};
pub(crate) use quiet::Quiet;
pub(crate) use work::{Origin, Position, Work};

use crate::plan::Plan;
use skep_manager_store::{
    Action, Attached, DesiredChange, Explanation, NewTask, Placement, Shelf, Snapshot, TaskAction,
};
use skep_types::{
    Generics, NodeId, Service, ServiceId, Slot, Task, TaskId, TaskSpec, TaskState, TaskStatus,
    Timestamp, UpdateStatus, Version,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// State of a pass.
pub(crate) struct Draft<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) now: Timestamp,
    /// Since when somebody looks: this manager leads since.
    pub(crate) leader_since: Timestamp,
    /// State of each node, after this pass.
    pub(crate) nodes: Nodes<'a>,
    /// Services, and what is left of removed ones, with their tasks, without those that are settled.
    pub(crate) services: BTreeMap<ServiceId, ServiceWork<'a>>,
    pub(crate) plan: Plan,
}

/// A service in this pass.
pub(crate) struct ServiceWork<'a> {
    pub(crate) id: ServiceId,
    /// `None` once it was removed.
    pub(crate) service: Option<&'a Arc<Service>>,
    /// Its tasks by slot, those of this pass last, without those that are quiet.
    pub(crate) tasks: Vec<Work<'a>>,
    /// What of it is left alone.
    pub(crate) quiet: Quiet,
    /// Progress of its update, where this pass sets it.
    pub(crate) update_status: Option<UpdateStatus>,
    /// More was planned for it than is seen of its tasks, or would be if it could.
    pub(crate) acted: bool,
    /// What it depends on is not there: what it waits for, in words.
    pub(crate) gate: Option<String>,
    /// Something of it is held up by that.
    pub(crate) held: bool,
    /// That nothing was planned is for what nodes have given away, to other services too.
    pub(crate) by_room: bool,
    /// When something is due that changes by time alone.
    pub(crate) wake_at: Option<Timestamp>,
}

impl<'a> Draft<'a> {
    pub(crate) fn new(
        snapshot: &'a Snapshot,
        now: Timestamp,
        leader_since: Timestamp,
    ) -> Draft<'a> {
        Draft {
            snapshot,
            now,
            leader_since,
            nodes: Nodes::new(snapshot.nodes()),
            services: BTreeMap::new(),
            plan: Plan::default(),
        }
    }

    /// With all services in it.
    pub(crate) fn whole(snapshot: &'a Snapshot, now: Timestamp) -> Draft<'a> {
        let mut draft = Draft::new(snapshot, now, now);
        for (id, _) in snapshot.changed() {
            draft.add_service(id);
        }
        draft
    }

    /// Has the service looked at in this pass.
    pub(crate) fn add_service(&mut self, id: ServiceId) {
        self.add(id, self.snapshot.tasks_of(id), Quiet::default());
    }

    /// Has that looked at which is not quiet of the service.
    pub(crate) fn add_rest(&mut self, id: ServiceId, quiet: Quiet) {
        let shelves = self.snapshot.shelves_of(id).map(|(shelf, _)| shelf);
        let loud: Vec<Shelf> = shelves.filter(|shelf| !quiet.has(*shelf)).collect();
        let snapshot = self.snapshot;
        let tasks = loud.iter().flat_map(|s| snapshot.tasks_on_shelf(id, *s));
        self.add(id, tasks, quiet);
    }

    fn add(&mut self, id: ServiceId, tasks: impl Iterator<Item = &'a Arc<Task>>, quiet: Quiet) {
        let work = ServiceWork {
            id,
            service: self.snapshot.service(id),
            tasks: tasks.map(Work::of).collect(),
            quiet,
            update_status: None,
            acted: false,
            gate: None,
            held: false,
            by_room: false,
            wake_at: None,
        };
        self.services.insert(id, work);
    }

    /// Whether nothing is heard of what runs on that node, nor can it be told to stop.
    pub(crate) fn is_silent(&self, node: NodeId) -> bool {
        self.nodes.get(node).is_none_or(NodeWork::is_down)
    }

    /// Turns the edits of tasks into actions, grouped.
    pub(crate) fn into_plan(mut self) -> Plan {
        let (mut desired, mut place, mut explain) = (Vec::new(), Vec::new(), Vec::new());
        let mut attach = Vec::new();
        let (mut orphan, mut remove) = (Vec::new(), Vec::new());
        let mut create: Vec<Action> = Vec::new();
        for (service, work) in self.services {
            if let Some(at) = work.wake_at {
                self.plan.wake(at);
            }
            let mut new: BTreeMap<Version, Vec<NewTask>> = BTreeMap::new();
            for task in work.tasks {
                if let Some(error) = &task.error
                    && !task.placed
                    && !task.removed
                {
                    self.plan.explanations.push((task.id, error.clone()));
                }
                let Some(known) = task.known else {
                    if !task.removed {
                        new.entry(task.spec_version).or_default().push(NewTask {
                            id: task.id,
                            slot: task.slot,
                            desired: task.desired,
                            node: task.node,
                            attachments: task.attachments,
                            error: task.error.unwrap_or_default(),
                            cause: task.cause,
                            restarts: task.restarts,
                            start_at: task.start_at,
                            run: task.run,
                            generic: task.granted,
                        });
                    }
                    continue;
                };
                let version = known.meta.version;
                if task.removed {
                    remove.push(task.id);
                    continue;
                }
                if task.desired != known.desired {
                    let change = DesiredChange {
                        task: task.id,
                        version,
                        desired: task.desired,
                        cause: task.stop_cause.filter(|_| known.stop_cause.is_none()),
                    };
                    desired.push((task.node, change));
                }
                if !task.placed && !task.attachments.is_empty() {
                    attach.push(Attached {
                        task: task.id,
                        version,
                        attachments: task.attachments,
                    });
                } else if task.placed {
                    place.extend(task.node.map(|node| Placement {
                        task: task.id,
                        version,
                        node,
                        attachments: task.attachments,
                        generic: task.granted,
                    }));
                } else if task.state == TaskState::Orphaned && known.status.state < task.state {
                    orphan.push((
                        task.id,
                        TaskStatus {
                            state: TaskState::Orphaned,
                            at: self.now,
                            message: "node has been away too long".to_owned(),
                            ..known.status.clone()
                        },
                    ));
                } else if let Some(error) = task.error
                    && error != known.status.error
                {
                    explain.push(Explanation {
                        task: task.id,
                        version,
                        error,
                    });
                }
            }
            let version = work.service.map_or(Version(0), |known| known.meta.version);
            create.extend(new.into_iter().map(|(spec_version, mut tasks)| {
                tasks.sort_by_key(|task| task.node);
                Action::Task(TaskAction::Create {
                    service,
                    version,
                    spec_version,
                    tasks,
                })
            }));
        }
        // A plan of many tasks is agreed on in parts, and what a node is told together costs
        // it and its manager one message.
        desired.sort_by_key(|(node, _)| *node);
        let desired = desired.into_iter().map(|(_, change)| change).collect();
        place.sort_by_key(|placement: &Placement| placement.node);
        let plan = &mut self.plan;
        // What stops comes first: a slot is never filled twice in between.
        push(&mut plan.actions, desired, |tasks| TaskAction::SetDesired {
            tasks,
        });
        push(&mut plan.actions, orphan, |updates| {
            TaskAction::UpdateStatus { updates }
        });
        push(&mut plan.actions, remove, |tasks| TaskAction::Remove {
            tasks,
        });
        plan.actions.append(&mut create);
        push(&mut plan.actions, place, |tasks| TaskAction::Place {
            tasks,
        });
        push(&mut plan.actions, attach, |tasks| TaskAction::Attach {
            tasks,
        });
        push(&mut plan.actions, explain, |tasks| TaskAction::Explain {
            tasks,
        });
        plan.explanations.sort();
        self.plan
    }
}

fn push<T>(actions: &mut Vec<Action>, items: Vec<T>, make: impl FnOnce(Vec<T>) -> TaskAction) {
    if !items.is_empty() {
        actions.push(Action::Task(make(items)));
    }
}

impl<'a> ServiceWork<'a> {
    /// Looks at it again at that time.
    pub(crate) fn wake(&mut self, at: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
    }

    /// Its tasks by position, as indexes into `tasks`, oldest first.
    pub(crate) fn positions(&self) -> BTreeMap<Position, Vec<usize>> {
        self.positions_among(|_| true)
    }

    /// Likewise, of some positions. Of many it is often one that is asked about.
    pub(crate) fn positions_among(
        &self,
        wanted: impl Fn(&Position) -> bool,
    ) -> BTreeMap<Position, Vec<usize>> {
        let mut positions: BTreeMap<Position, Vec<usize>> = BTreeMap::new();
        for (index, task) in self.tasks.iter().enumerate() {
            let position = task.position();
            if !task.removed && wanted(&position) {
                positions.entry(position).or_default().push(index);
            }
        }
        for tasks in positions.values_mut() {
            if tasks.len() > 1 {
                tasks.sort_by_key(|index| {
                    let task = &self.tasks[*index];
                    // Within a millisecond, what ended came first, and what was
                    // counted further last.
                    (
                        task.created_at,
                        task.is_live(),
                        task.known.is_none(),
                        task.ended_at(),
                        task.restarts.attempts,
                        task.id,
                    )
                });
            }
        }
        positions
    }

    /// Adds a task.
    pub(crate) fn create(
        &mut self,
        template: Template<'a>,
        id: TaskId,
        position: Position,
        origin: Origin,
        now: Timestamp,
    ) {
        let (run, slot, node) = match position {
            Position::Slot(slot) => (0, slot, None),
            Position::Node(node) => (0, Slot(0), Some(node)),
            Position::Run(run, slot, node) => (run, slot, node),
        };
        self.tasks.push(Work {
            known: None,
            id,
            slot,
            node,
            spec: template.spec,
            spec_version: template.version,
            created_at: now,
            desired: origin.desired,
            state: TaskState::New,
            cause: origin.cause,
            stop_cause: None,
            leaves: None,
            away: false,
            restarts: origin.restarts,
            start_at: origin.start_at,
            run,
            attachments: Vec::new(),
            granted: Generics::new(),
            placed: false,
            error: origin.error,
            removed: false,
        });
    }
}

/// What a new task is made from.
#[derive(Clone, Copy)]
pub(crate) struct Template<'a> {
    pub(crate) spec: &'a Arc<TaskSpec>,
    pub(crate) version: Version,
}

impl<'a> Template<'a> {
    /// The service's present one.
    pub(crate) fn present(service: &'a Arc<Service>) -> Template<'a> {
        Template {
            spec: &service.spec.task,
            version: service.spec_version,
        }
    }

    /// That of a task.
    pub(crate) fn of(task: &Work<'a>) -> Template<'a> {
        Template {
            spec: task.spec,
            version: task.spec_version,
        }
    }
}

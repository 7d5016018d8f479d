//! Changes of tasks. Groups are applied item by item.

use super::{Write, changed, network};
use crate::action::{Attached, DesiredChange, Explanation, NewTask, Placement, TaskAction};
use crate::event::{EventAction, ObjectId};
use crate::refused::Refused;
use crate::snapshot::may_run;
use skep_types::constraint::Constraint;
use skep_types::{
    Attachment, Availability, Cause, GenericResource, Generics, NodeId, NodeState, Service,
    ServiceId, Slot, Task, TaskId, TaskSpec, TaskState, TaskStatus, Version,
};
use std::sync::Arc;

const PENDING: &str = "pending task scheduling";
const ASSIGNED: &str = "scheduler assigned task to node";
const CONFIRMED: &str = "scheduler confirmed task can run on preassigned node";

pub(super) fn apply(write: &mut Write<'_>, action: &TaskAction) -> Result<(), Refused> {
    match action {
        TaskAction::Create {
            service,
            version,
            spec_version,
            tasks,
        } => {
            let origin = Origin::find(write, *service, *version, *spec_version)?;
            each(write, tasks, |write, task| create(write, &origin, task))
        }
        TaskAction::Place { tasks } => each(write, tasks, place),
        TaskAction::Attach { tasks } => each(write, tasks, attach),
        TaskAction::Explain { tasks } => each(write, tasks, explain),
        TaskAction::SetDesired { tasks } => each(write, tasks, set_desired),
        TaskAction::UpdateStatus { updates } => each(write, updates, |write, (task, status)| {
            update_status(write, *task, status)
        }),
        TaskAction::Remove { tasks } => each(write, tasks, |write, task| remove(write, *task)),
    }
}

fn each<T>(
    write: &mut Write<'_>,
    items: &[T],
    mut apply: impl FnMut(&mut Write<'_>, &T) -> Result<(), Refused>,
) -> Result<(), Refused> {
    let mut refused = 0;
    let mut first = None;
    for item in items {
        if let Err(reason) = apply(write, item) {
            refused += 1;
            first.get_or_insert(reason);
        }
    }
    match first {
        None => Ok(()),
        Some(first) => Err(Refused::Items {
            refused,
            of: items.len(),
            first: Box::new(first),
        }),
    }
}

/// What all tasks of a group are made from.
struct Origin {
    service: Arc<Service>,
    name: Arc<str>,
    spec: Arc<TaskSpec>,
    spec_version: Version,
}

impl Origin {
    fn find(
        write: &Write<'_>,
        id: ServiceId,
        version: Version,
        spec_version: Version,
    ) -> Result<Origin, Refused> {
        let object = ObjectId::Service(id);
        let service = write.state.service(id).ok_or(Refused::NotFound(object))?;
        write.require_fresh(service.meta, version, object, &service.spec.name)?;
        let spec = write
            .state
            .template(id, spec_version)
            .ok_or(Refused::NoTemplate {
                service: id,
                version: spec_version,
            })?;
        // Tasks of a service share its name as they share its template.
        let name = write.state.tasks_of(id).next().map_or_else(
            || Arc::from(service.spec.name.as_str()),
            |t| Arc::clone(&t.service_name),
        );
        Ok(Origin {
            service: Arc::clone(service),
            name,
            spec: Arc::clone(spec),
            spec_version,
        })
    }
}

fn create(write: &mut Write<'_>, origin: &Origin, new: &NewTask) -> Result<(), Refused> {
    let object = ObjectId::Task(new.id);
    if write.state.task(new.id).is_some() {
        return Err(Refused::IdTaken(object));
    }
    // A plan that was proposed twice must not fill a slot twice. Start-first
    // updates put two tasks into a slot, but of different versions; start-first moves
    // put one beside what has to leave its node, and what is on a lost node stays wanted
    // until its replacement takes traffic.
    let twins = write
        .state
        .tasks_in(origin.service.id, new.slot)
        .filter(|t| {
            t.is_live()
                && t.spec_version == origin.spec_version
                && t.run == new.run
                && (new.slot != Slot(0) || t.node == new.node)
                && !(new.slot != Slot(0) && gets_a_second(write, &origin.service, t))
        });
    // One that is moved to an emptier node goes on until the second serves.
    if twins.count() > usize::from(new.cause == Cause::Rebalanced) {
        return Err(Refused::Stale {
            object: ObjectId::Service(origin.service.id),
            name: format!("{}.{}", origin.name, new.slot.0),
        });
    }
    let assigned = match new.node {
        Some(node) if new.error.is_empty() => {
            require_node(write, node)?;
            network::require_addresses(write, new.id, node, &new.attachments)?;
            require_generic(write, new.id, node, &new.generic)?;
            true
        }
        _ => false,
    };
    let meta = write.created();
    let (state, message) = match (assigned, new.slot) {
        (true, Slot(0)) => (TaskState::Assigned, CONFIRMED),
        (true, _) => (TaskState::Assigned, ASSIGNED),
        (false, _) => (TaskState::Pending, PENDING),
    };
    let task = Task {
        id: new.id,
        meta,
        service: origin.service.id,
        service_name: Arc::clone(&origin.name),
        slot: new.slot,
        node: new.node,
        spec: Arc::clone(&origin.spec),
        spec_version: origin.spec_version,
        desired: new.desired,
        status: TaskStatus {
            state,
            at: write.now,
            message: message.to_owned(),
            error: new.error.clone(),
            ..TaskStatus::default()
        },
        attachments: if assigned {
            new.attachments.clone()
        } else {
            Vec::new()
        },
        cause: new.cause,
        stop_cause: None,
        restarts: new.restarts,
        start_at: new.start_at,
        run: new.run,
        generic: match assigned {
            true => new.generic.clone(),
            false => Generics::new(),
        },
    };
    let (name, mut attributes) = (task.name(), Vec::new());
    whereabouts(&mut attributes, &task);
    attributes.push(("cause", task.cause.to_string()));
    if !task.status.error.is_empty() {
        attributes.push(("error", task.status.error.clone()));
    }
    write.state.put_task(task);
    write.event(object, EventAction::Create, name, attributes);
    Ok(())
}

/// The service it belongs to and the node it is on, as every event of a task says.
fn whereabouts(attributes: &mut Vec<(&'static str, String)>, task: &Task) {
    attributes.push(("service", task.service.to_string()));
    attributes.extend(task.node.map(|node| ("node", node.to_string())));
}

fn require_node(write: &Write<'_>, node: NodeId) -> Result<(), Refused> {
    match write.state.node(node) {
        Some(_) => Ok(()),
        None => Err(Refused::NotFound(ObjectId::Node(node))),
    }
}

/// Nothing with a name of its own is given to two tasks that may both run.
fn require_generic(
    write: &Write<'_>,
    task: TaskId,
    node: NodeId,
    generic: &Generics,
) -> Result<(), Refused> {
    for (kind, given) in generic {
        let GenericResource::Named(names) = given else {
            continue;
        };
        for other in write.state.tasks_on(node) {
            let Some(GenericResource::Named(held)) = other.generic.get(kind) else {
                continue;
            };
            if let Some(name) = names.intersection(held).next()
                && other.id != task
                && may_run(other)
            {
                return Err(Refused::GenericTaken {
                    kind: kind.clone(),
                    name: name.clone(),
                    task: other.id,
                });
            }
        }
    }
    Ok(())
}

fn fresh(write: &Write<'_>, id: TaskId, version: Version) -> Result<Task, Refused> {
    let object = ObjectId::Task(id);
    let task = write.state.task(id).ok_or(Refused::NotFound(object))?;
    if !write.is_fresh(task.meta, version) {
        return Err(Refused::Stale {
            object,
            name: task.name(),
        });
    }
    Ok(Task::clone(task))
}

fn waiting(write: &Write<'_>, id: TaskId, version: Version) -> Result<Task, Refused> {
    let task = fresh(write, id, version)?;
    if task.status.state >= TaskState::Assigned {
        return Err(Refused::NotWaiting(id));
    }
    Ok(task)
}

fn place(write: &mut Write<'_>, placement: &Placement) -> Result<(), Refused> {
    let mut task = waiting(write, placement.task, placement.version)?;
    require_node(write, placement.node)?;
    network::require_addresses(write, task.id, placement.node, &placement.attachments)?;
    require_generic(write, task.id, placement.node, &placement.generic)?;
    let preassigned = task.node == Some(placement.node);
    task.node = Some(placement.node);
    task.attachments = placement.attachments.clone();
    task.generic = placement.generic.clone();
    task.status = TaskStatus {
        state: TaskState::Assigned,
        at: write.now,
        message: if preassigned { CONFIRMED } else { ASSIGNED }.to_owned(),
        ..TaskStatus::default()
    };
    put(write, task);
    Ok(())
}

fn attach(write: &mut Write<'_>, attached: &Attached) -> Result<(), Refused> {
    let mut task = fresh(write, attached.task, attached.version)?;
    let node = match task.node.filter(|_| may_run(&task)) {
        Some(node) => node,
        None => return Err(Refused::NotPlaced(task.id)),
    };
    network::require_addresses(write, task.id, node, &attached.attachments)?;
    for attachment in &attached.attachments {
        let is_on = |present: &Attachment| present.network == attachment.network;
        if task.attachments.iter().any(is_on) {
            return Err(Refused::Address {
                address: attachment.address,
                network: attachment.network,
                reason: "the task has an address there",
            });
        }
        task.attachments.push(*attachment);
    }
    put(write, task);
    Ok(())
}

fn explain(write: &mut Write<'_>, explanation: &Explanation) -> Result<(), Refused> {
    let mut task = waiting(write, explanation.task, explanation.version)?;
    task.status = TaskStatus {
        state: TaskState::Pending,
        at: write.now,
        message: PENDING.to_owned(),
        error: explanation.error.clone(),
        ..TaskStatus::default()
    };
    put(write, task);
    Ok(())
}

fn set_desired(write: &mut Write<'_>, change: &DesiredChange) -> Result<(), Refused> {
    let mut task = fresh(write, change.task, change.version)?;
    if change.desired < task.desired {
        return Err(Refused::StateGoesBack {
            task: task.id,
            from: task.desired,
            to: change.desired,
        });
    }
    task.desired = change.desired;
    task.stop_cause = task.stop_cause.or(change.cause);
    put(write, task);
    Ok(())
}

fn update_status(write: &mut Write<'_>, id: TaskId, status: &TaskStatus) -> Result<(), Refused> {
    let object = ObjectId::Task(id);
    let mut task = Task::clone(write.state.task(id).ok_or(Refused::NotFound(object))?);
    let from = task.status.state;
    let back = status.state < from || (from.is_terminal() && status.state != from);
    if back || status.state == TaskState::Remove {
        return Err(Refused::StateGoesBack {
            task: id,
            from,
            to: status.state,
        });
    }
    let mut status = status.clone();
    status.ran_at = task.status.ran_at;
    status.ready_at = task.status.ready_at;
    status.not_ready &= status.state == TaskState::Running;
    if status.local.count < task.status.local.count {
        status.local = task.status.local;
    }
    // A clock that is ahead would hold back what follows.
    let local = &mut status.local;
    local.at = local.at.min(write.now);
    local.counted.window_from = local.counted.window_from.min(write.now);
    if status.state == TaskState::Running {
        // As far as that can be true by the managers' clock.
        let latest = write.now.max(task.meta.created_at);
        let since = status.at.clamp(task.meta.created_at, latest);
        let ran_at = *status.ran_at.get_or_insert(since);
        if status.is_ready() {
            status.ready_at.get_or_insert(since.max(ran_at));
        }
    }
    task.status = status;
    put(write, task);
    Ok(())
}

fn remove(write: &mut Write<'_>, id: TaskId) -> Result<(), Refused> {
    let object = ObjectId::Task(id);
    let task = write.state.task(id).ok_or(Refused::NotFound(object))?;
    let node_there = task.node.is_some_and(|n| write.state.node(n).is_some());
    if may_run(task) && node_there {
        return Err(Refused::StillRunning(id));
    }
    forget(write, id);
    Ok(())
}

/// Drops a task, whatever its state.
pub(super) fn forget(write: &mut Write<'_>, id: TaskId) {
    if let Some(task) = write.state.drop_task(id) {
        let (object, mut attributes) = (ObjectId::Task(id), Vec::new());
        whereabouts(&mut attributes, &task);
        write.event(object, EventAction::Remove, task.name(), attributes);
    }
}

fn put(write: &mut Write<'_>, mut task: Task) {
    let Some(present) = write.state.task(task.id) else {
        return;
    };
    if **present == task {
        return;
    }
    let mut attributes = Vec::new();
    changed(
        &mut attributes,
        ("state.old", "state.new"),
        &present.status.state,
        &task.status.state,
        TaskState::to_string,
    );
    changed(
        &mut attributes,
        ("desiredstate.old", "desiredstate.new"),
        &present.desired,
        &task.desired,
        TaskState::to_string,
    );
    if let Some(cause) = task.stop_cause.filter(|_| task.desired != present.desired) {
        attributes.push(("cause", cause.to_string()));
    }
    if !task.status.error.is_empty() && task.status.error != present.status.error {
        attributes.push(("error", task.status.error.clone()));
    }
    if let Some(code) = task.status.exit_code
        && present.status.exit_code.is_none()
    {
        attributes.push(("exitcode", code.to_string()));
    }
    whereabouts(&mut attributes, &task);
    task.meta = write.touched(task.meta);
    let (object, name) = (ObjectId::Task(task.id), task.name());
    write.state.put_task(task);
    write.event(object, EventAction::Update, name, attributes);
}

/// Its node is drained, or silent, or not one that the placement allows.
fn gets_a_second(write: &Write<'_>, service: &Service, task: &Task) -> bool {
    let Some(node) = task.node.and_then(|node| write.state.node(node)) else {
        return false;
    };
    let placement = &service.spec.task.placement;
    let mut texts = placement.constraints.iter();
    node.spec.availability == Availability::Drain
        || node.status.state == NodeState::Down
        || !placement.runs_on(&node.description.platform)
        || texts.any(|text| Constraint::parse(text).is_ok_and(|c| !c.holds(node)))
}

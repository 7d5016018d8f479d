//! Which tasks should exist: slots of replicated services, nodes of global
//! ones, replacements of what ended or was lost.
//!
//! One path for everything: whatever happened, the positions a service should
//! fill are compared with its tasks. Rolling changes are `update`'s, runs of jobs
//! `jobs`'; what waits for other services, `gate`'s.

mod gate;
mod jobs;
mod lost;
mod moves;
mod promote;
mod rebalance;
mod restart;
mod slots;
mod template;
mod update;
mod vacancies;

pub(crate) use update::Pace;
pub(crate) use vacancies::vacancies;

use crate::allocator::Allocator;
use crate::current::Current;
use crate::draft::{Draft, NodeWork, Origin, Position, ServiceWork, Work};
use crate::ids::IdSource;
use skep_types::constraint::Constraint;
use skep_types::{Cause, NodeId, Service, ServiceMode, TaskState};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Decides which tasks exist and what is wanted of them.
pub(crate) fn orchestrate<'a>(
    draft: &mut Draft<'a>,
    allocator: &mut Allocator<'a>,
    ids: &mut IdSource,
) {
    // Taken out, so that the rest of the draft can be read meanwhile.
    let mut services = std::mem::take(&mut draft.services);
    for work in services.values_mut() {
        let Some(service) = work.service else {
            continue;
        };
        lost::mark(draft, work);
        moves::mark(draft, work, service);
        lost::give_up(draft, work, service);
        rebalance::resume(work);
    }
    draft.services = services;
    rebalance::mark(draft, allocator);
    let mut services = std::mem::take(&mut draft.services);
    let busy = moves::busy_drained(draft);
    for work in services.values_mut() {
        let before = std::mem::take(&mut draft.plan);
        match work.service {
            Some(service) => {
                work.gate = gate::unmet(draft.snapshot, service);
                orchestrate_service(draft, work, service, &busy, ids);
                gate::tell(draft, work, service);
            }
            // The service is gone: its tasks stop, then go.
            None => {
                for task in &mut work.tasks {
                    task.stop(TaskState::Remove, Cause::Removed);
                }
            }
        }
        let planned = std::mem::replace(&mut draft.plan, before);
        work.acted |= !planned.actions.is_empty();
        draft.plan.actions.extend(planned.actions);
        if let Some(at) = planned.wake_at {
            work.wake(at);
        }
    }
    draft.services = services;
}

fn orchestrate_service<'a>(
    draft: &mut Draft<'a>,
    work: &mut ServiceWork<'a>,
    service: &'a Arc<Service>,
    busy: &BTreeSet<NodeId>,
    ids: &mut IdSource,
) {
    let beside = moves::stop(draft, work, service, busy);
    restart::hasten(work, &service.spec.task.restart, draft.now);
    if service.spec.mode.is_job() {
        jobs::advance(draft, work, service, ids);
        promote::promote(draft, work);
        return;
    }
    let positions = match service.spec.mode {
        ServiceMode::Replicated { replicas } => slots::choose(work, replicas),
        ServiceMode::Global | ServiceMode::ReplicatedJob { .. } | ServiceMode::GlobalJob => {
            eligible(draft, work, service)
        }
    };
    if update::begin(draft, work, service, &positions) {
        return;
    }
    fill(draft, work, service, &positions, ids);
    moves::start(draft, work, service, beside, ids);
    update::roll(draft, work, service, ids);
    moves::wake(draft, work, service);
    rebalance::finish(draft, work, service);
    promote::promote(draft, work);
}

/// The nodes that should have a live task of a global service and have none.
fn eligible(draft: &Draft<'_>, work: &ServiceWork<'_>, service: &Service) -> Vec<Position> {
    let live = work.tasks.iter().filter(|task| task.is_live());
    let served: BTreeSet<NodeId> = live.filter_map(|task| task.node).collect();
    // Where it ended by itself, or with its machine, on a node that keeps what it has.
    let ended: BTreeSet<NodeId> = work
        .tasks
        .iter()
        .filter(|task| task.state.is_terminal() && task.desired != TaskState::Remove)
        .filter(|task| task.stop_cause.is_none())
        .filter_map(|task| task.node)
        .collect();
    satisfying(draft, service)
        .filter(|node| !served.contains(&node.node.id))
        .filter(|node| node.takes_tasks() || (node.keeps_tasks() && ended.contains(&node.node.id)))
        .map(|node| Position::Node(node.node.id))
        .collect()
}

/// The nodes that take new tasks of a service.
fn allowed_nodes(draft: &Draft<'_>, service: &Service) -> Vec<NodeId> {
    satisfying(draft, service)
        .filter(|node| node.takes_tasks())
        .map(|node| node.node.id)
        .collect()
}

/// The nodes on which the constraints of a service hold, and its image runs.
fn satisfying<'d, 'a>(
    draft: &'d Draft<'a>,
    service: &'d Service,
) -> impl Iterator<Item = &'d NodeWork<'a>> {
    let placement = &service.spec.task.placement;
    let texts = &placement.constraints;
    let constraints: Vec<Constraint> = texts
        .iter()
        .filter_map(|text| Constraint::parse(text).ok())
        .collect();
    let readable = constraints.len() == texts.len();
    let nodes = draft.nodes.values();
    nodes.filter(move |node| {
        let runs = placement.runs_on(&node.node.description.platform);
        readable && runs && constraints.iter().all(|c| c.holds(node.node))
    })
}

/// Puts a task into every position that lacks one, unless the restart policy
/// says that it stays empty.
fn fill<'a>(
    draft: &mut Draft<'a>,
    work: &mut ServiceWork<'a>,
    service: &'a Arc<Service>,
    empty: &[Position],
    ids: &mut IdSource,
) {
    if empty.is_empty() {
        return;
    }
    let current = Current::new(&draft.nodes, service, &work.tasks);
    let asked: BTreeSet<&Position> = empty.iter().collect();
    let positions = work.positions_among(|position| asked.contains(position));
    for position in empty {
        let mut tasks: Vec<&Work<'a>> = positions
            .get(position)
            .into_iter()
            .flatten()
            .map(|index| &work.tasks[*index])
            .collect();
        let stopping = tasks.iter().any(|task| is_stopping(draft, task));
        let held = work.gate.is_some() && gate::is_first(tasks.iter().copied());
        // What is to go is no history of the position, but may still run.
        tasks.retain(|task| task.desired != TaskState::Remove);
        let latest = tasks.last().copied();
        let waits = gate::puts_off(work, service);
        let template = template::choose(draft, service, *position, latest, &current, waits);
        let origin = match latest {
            None => Some(Origin::new(Cause::Created)),
            Some(latest) if !restart::is_of(latest, template) => {
                Some(Origin::new(template::change_of(service)))
            }
            Some(latest) => restart::follow(latest, &template.spec.restart, draft.now),
        };
        let Some(mut origin) = origin else { continue };
        if stopping || held || origin.start_at.is_some_and(|at| at > draft.now) {
            origin.desired = TaskState::Ready;
        }
        work.create(template, ids.task(), *position, origin, draft.now);
    }
}

/// It was told to stop, may still be running, and will tell when it has ended.
fn is_stopping(draft: &Draft<'_>, task: &Work<'_>) -> bool {
    task.desired >= TaskState::Shutdown
        && task.may_run()
        && task.node.is_some_and(|node| !draft.is_silent(node))
}

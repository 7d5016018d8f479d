//! Moves tasks off nodes that they have to leave though all is well with them: nodes
//! that are drained, and ones that changed so that the constraints do not hold there.
//!
//! They are moved as the service's update moves tasks: so many at a time, in that
//! order, each watched as long. Nothing is remembered: what is under way is read from
//! the tasks, which say why they were made.

use super::update::Pace;
use super::{gate, is_stopping, lost, restart, template};
use crate::current::{Allowed, Current};
use crate::draft::{Draft, Origin, Position, ServiceWork, Work};
use crate::ids::IdSource;
use skep_types::{
    Availability, Cause, NodeId, Rebalance, Restarts, Service, Slot, TaskState, Timestamp,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Marks what has to leave its node.
pub(super) fn mark(draft: &Draft<'_>, work: &mut ServiceWork<'_>, service: &Service) {
    let mut allowed = Allowed::default();
    for task in &mut work.tasks {
        if !task.is_wanted() {
            continue;
        }
        let Some(node) = task.node.and_then(|id| draft.nodes.get(id)) else {
            continue;
        };
        // A node that was allowed until the constraints were changed is none of these:
        // its tasks are outdated.
        let misplaced = !allowed.on(node.node, service.spec_version, &service.spec.task)
            && !allowed.on(node.node, task.spec_version, task.spec);
        task.leaves = if misplaced {
            Some(Cause::Constraint)
        } else if node.node.spec.availability == Availability::Drain {
            Some(Cause::Drained)
        } else {
            None
        };
    }
}

/// Nodes that are drained and not yet rid of all tasks of slots and jobs. Those of global
/// services go last: what runs on every node serves the others.
pub(super) fn busy_drained(draft: &Draft<'_>) -> BTreeSet<NodeId> {
    let nodes = draft.nodes.values();
    let drained = nodes.filter(|node| node.node.spec.availability == Availability::Drain);
    let is_busy = |id: &NodeId| {
        let mut tasks = draft.snapshot.tasks_on(*id);
        tasks.any(|task| {
            let is_global = task.slot == Slot(0) && task.run == 0;
            !is_global && skep_manager_store::may_run(task)
        })
    };
    drained.map(|node| node.node.id).filter(is_busy).collect()
}

/// Positions that get a second task before the first is stopped, and what was counted of
/// earlier tries.
pub(super) struct Beside(Vec<(usize, Restarts)>);

/// Stops what may be stopped now of what has to leave.
pub(super) fn stop(
    draft: &mut Draft<'_>,
    work: &mut ServiceWork<'_>,
    service: &Arc<Service>,
    busy: &BTreeSet<NodeId>,
) -> Beside {
    let mut beside = Beside(Vec::new());
    stop_unplanned(draft, work, busy);
    let mut live = work.tasks.iter().filter(|task| task.is_live());
    if !live.any(|task| task.leaves.is_some()) && !has_twins(work) {
        return beside;
    }
    let pace = Pace::of(service);
    let current = Current::new(&draft.nodes, service, &work.tasks);
    let positions = work.positions();
    let update = pace.rolls.then(|| template::change_of(service));
    let mut room = pace.room(under_way(work, &pace, update, draft.now).len());
    let mut waiting: Vec<(Cause, Position, usize)> = Vec::new();
    for (position, tasks) in &positions {
        let live = |i: &usize| work.tasks[*i].is_live();
        let live: Vec<usize> = tasks.iter().copied().filter(live).collect();
        let stays: Vec<usize> = live
            .iter()
            .copied()
            .filter(|i| work.tasks[*i].leaves.is_none())
            .collect();
        let leaves = live.iter().find(|i| work.tasks[**i].leaves.is_some());
        let Some(first) = leaves.copied() else {
            part(draft, work, service, &current, &stays);
            continue;
        };
        if matches!(position, Position::Node(_) | Position::Run(..)) {
            continue;
        }
        let cause = work.tasks[first].leaves.unwrap_or(Cause::Drained);
        let served = stays.iter().any(|i| work.tasks[*i].is_ready());
        let alone = live.len() == 1;
        if served || (!alone && !pace.starts_first) || (!alone && stays.is_empty()) {
            // The newest is kept where it is all there is.
            let gone = live.len() - usize::from(stays.is_empty());
            for index in live[..gone].iter().filter(|i| !stays.contains(*i)) {
                work.tasks[*index].stop(TaskState::Shutdown, cause);
            }
        } else if alone {
            waiting.push((cause, *position, first));
        }
    }
    // Where it must not be before where it need not be.
    waiting.sort_by_key(|(cause, position, _)| {
        let rank = match cause {
            Cause::Constraint => 0,
            Cause::Rebalanced => 2,
            _ => 1,
        };
        (rank, *position)
    });
    for (cause, position, index) in waiting {
        if room == 0 {
            break;
        }
        if !pace.starts_first {
            work.tasks[index].stop(TaskState::Shutdown, cause);
            room -= 1;
            continue;
        }
        // An update replaces it anyway, and takes it first.
        if pace.rolls && current.is_outdated(&work.tasks[index]) {
            continue;
        }
        let tried = positions[&position].iter().rev();
        let tried = tried.map(|i| &work.tasks[*i]).take_while(|t| !t.is_live());
        let last = tried
            .filter(|task| task.desired != TaskState::Remove)
            .find(|task| task.ended_by_itself());
        let policy = &service.spec.task.restart;
        let counted = match last.map(|last| restart::retry(policy, last, restart::RETRY_DELAY)) {
            None => Restarts::default(),
            // The old one serves until the node's time is over, or for good.
            Some(None) => {
                let old = &mut work.tasks[index];
                old.leaves = old.leaves.filter(|cause| *cause != Cause::Rebalanced);
                continue;
            }
            Some(Some((at, _))) if at > draft.now => {
                draft.plan.wake(at);
                continue;
            }
            Some(Some((_, restarts))) => restarts,
        };
        beside.0.push((index, counted));
        room -= 1;
    }
    beside
}

/// What is stopped without waiting for others: what does not serve, what its node was
/// given no more time for, and what is of its node alone.
fn stop_unplanned(draft: &mut Draft<'_>, work: &mut ServiceWork<'_>, busy: &BTreeSet<NodeId>) {
    for task in work.tasks.iter_mut().filter(|task| task.is_live()) {
        let (Some(cause), Some(id)) = (task.leaves, task.node) else {
            continue;
        };
        let until = draft.nodes.get(id).and_then(|node| node.node.drained_by());
        let waits = until.is_none_or(|at| at > draft.now);
        let goes = match task.position() {
            _ if cause == Cause::Rebalanced => false,
            Position::Slot(_) => !waits || !task.is_ready(),
            Position::Node(_) => cause == Cause::Constraint || !waits || !busy.contains(&id),
            // What a job has begun it may end, as long as the node may take.
            Position::Run(..) => !waits || task.state < TaskState::Running,
        };
        if goes {
            task.stop(TaskState::Shutdown, cause);
        } else if let Some(at) = until.filter(|at| *at > draft.now) {
            draft.plan.wake(at);
        }
    }
}

/// A move or an update may have been called off half way, or a lost node come back. The
/// tasks are still sorted by slot.
fn has_twins(work: &ServiceWork<'_>) -> bool {
    let of_slots = |task: &&Work<'_>| task.is_live() && task.slot != Slot(0);
    let mut slots = work.tasks.iter().filter(of_slots).map(|task| task.slot);
    let mut last = None;
    slots.any(|slot| last.replace(slot) == Some(slot))
}

/// Two of a kind, and neither has to leave: a move, a replacement, or a change that is
/// not needed any more.
fn part(
    draft: &mut Draft<'_>,
    work: &mut ServiceWork<'_>,
    service: &Service,
    current: &Current<'_>,
    live: &[usize],
) {
    let mut live = live.to_vec();
    // Oldest first, and what serves before what does not.
    live.sort_by_key(|i| !work.tasks[*i].is_ready());
    let kind = |task: &Work<'_>| (current.version_of(task), current.is_outdated(task));
    for (at, index) in live.iter().enumerate() {
        let task = &work.tasks[*index];
        // A place in a run has one task, whatever it is made from.
        let is_twin = |other: &&Work<'_>| task.run != 0 || kind(other) == kind(task);
        let mut before = live[..at].iter().map(|i| &work.tasks[*i]);
        let Some(kept) = before.find(is_twin) else {
            continue;
        };
        let wait = lost::told_by(draft, kept, task);
        if wait > draft.now {
            draft.plan.wake(wait);
            continue;
        }
        let cause = match task.cause {
            Cause::NodeLost => Cause::NodeBack,
            Cause::Rebalanced => Cause::Rebalanced,
            _ if is_moved(task) => Cause::Drained,
            _ => template::change_of(service),
        };
        work.tasks[*index].stop(TaskState::Shutdown, cause);
    }
}

/// Positions whose task came in a move, or by that cause, and has not been watched long
/// enough.
pub(super) fn under_way(
    work: &ServiceWork<'_>,
    pace: &Pace,
    by: Option<Cause>,
    now: Timestamp,
) -> BTreeSet<Position> {
    let live = work.tasks.iter().filter(|task| task.is_live());
    let live = live
        .filter(|task| task.leaves.is_none())
        .filter(|task| is_moved(task) || Some(task.cause) == by)
        .filter(|task| pace.settles_at(task).is_none_or(|at| at > now))
        .map(Work::position);
    live.chain(failed(work)).collect()
}

/// Positions where what came in a move has just failed, and the next try is not made yet.
/// Where none follows, nothing is under way.
fn failed<'w>(work: &'w ServiceWork<'_>) -> impl Iterator<Item = Position> + 'w {
    // Mostly there is none, and positions need not be sorted out.
    let any = work.tasks.iter().any(has_failed_to_move);
    let positions = if any {
        work.positions()
    } else {
        BTreeMap::new()
    };
    let policy = work.service.map(|service| &service.spec.task.restart);
    let is_tried_again = move |last: &Work<'_>| {
        let follows = policy.map(|p| p.follows(last.state, &last.restarts, last.ended_at()));
        has_failed_to_move(last) && follows.unwrap_or(false)
    };
    positions.into_iter().filter_map(move |(position, tasks)| {
        let mut tasks = tasks.iter().map(|i| &work.tasks[*i]);
        let failed = tasks.clone().next_back().is_some_and(is_tried_again);
        (failed && !tasks.any(Work::is_live)).then_some(position)
    })
}

fn has_failed_to_move(task: &Work<'_>) -> bool {
    let failed = task.ended_by_itself() && task.state != TaskState::Complete;
    failed && is_moved(task) && task.ready_at().is_none()
}

fn is_moved(task: &Work<'_>) -> bool {
    matches!(
        task.cause,
        Cause::Drained | Cause::Constraint | Cause::Rebalanced
    )
}

/// Makes the second tasks.
pub(super) fn start<'a>(
    draft: &Draft<'a>,
    work: &mut ServiceWork<'a>,
    service: &'a Arc<Service>,
    beside: Beside,
    ids: &mut IdSource,
) {
    if beside.0.is_empty() {
        return;
    }
    let current = Current::new(&draft.nodes, service, &work.tasks);
    let positions = work.positions();
    for (index, restarts) in beside.0 {
        let old = &work.tasks[index];
        let Some(cause) = old.leaves.filter(|_| old.is_live()) else {
            continue;
        };
        let position = old.position();
        let template = template::choose(
            draft,
            service,
            position,
            Some(old),
            &current,
            gate::puts_off(work, service),
        );
        let mut others = positions[&position].iter().map(|i| &work.tasks[*i]);
        let stopping = others.any(|task| is_stopping(draft, task));
        let origin = Origin {
            desired: match stopping {
                true => TaskState::Ready,
                false => TaskState::Running,
            },
            restarts,
            ..Origin::new(cause)
        };
        work.create(template, ids.task(), position, origin, draft.now);
    }
}

/// Looks again when the next may be moved.
pub(super) fn wake(draft: &mut Draft<'_>, work: &ServiceWork<'_>, service: &Service) {
    let mut live = work.tasks.iter().filter(|task| task.is_live());
    let pace = Pace::of(service);
    let asked = service.spec.rebalance == Rebalance::Auto || service.rebalance_since.is_some();
    if !pace.rolls && !asked && !live.any(|task| task.leaves.is_some()) {
        return;
    }
    let settle = work.tasks.iter().filter(|task| task.is_live());
    let settle = settle.filter(|task| is_moved(task) || pace.rolls);
    let settle = settle.filter_map(|task| pace.settles_at(task));
    if let Some(at) = settle.filter(|at| *at > draft.now).min() {
        draft.plan.wake(at);
    }
}

//! Room for an update that starts the new task first, on nodes that are full of the
//! old ones.

use super::filter::{Filters, Refusal};
use super::fleet::{At, Fleet, FleetNode};
use crate::current::Current;
use crate::draft::{Position, ServiceWork, Work};
use skep_types::{Cause, TaskState, Timestamp, UpdateState};
use std::collections::BTreeMap;

/// Stops old tasks whose successors wait for the very room that they take: otherwise
/// both would stay as they are for ever. None is stopped for a task that would find no
/// room then either; `waiting` are the tasks of one template, as the scheduler left them.
pub(super) fn make(
    work: &mut ServiceWork<'_>,
    waiting: &[usize],
    filters: &Filters,
    fleet: &Fleet,
    current: &Current<'_>,
    now: Timestamp,
) {
    let status = work.service.and_then(|s| s.update_status.as_ref());
    let cause = match status.map(|status| status.state) {
        Some(UpdateState::Updating) => Cause::Updated,
        Some(UpdateState::RollbackStarted) => Cause::RolledBack,
        _ => return,
    };
    let waits = |task: &&Work<'_>| task.waits_for_node(now);
    let waiting = waiting.iter().map(|index| &work.tasks[*index]);
    let mut waiting = waiting.filter(waits).peekable();
    if waiting.peek().is_none() {
        return;
    }
    let old = predecessors(&work.tasks, current);
    if old.is_empty() {
        return;
    }
    let pairs: Vec<(usize, At)> = waiting
        .filter_map(|task| {
            let old = *old.get(&task.position())?;
            Some((old, fleet.index_of(work.tasks[old].node?)?))
        })
        .collect();
    // What the nodes will be once the old tasks have gone and the new ones have come.
    let mut later: BTreeMap<At, FleetNode> = BTreeMap::new();
    let (stopping, serving): (Vec<_>, Vec<_>) = pairs
        .into_iter()
        .partition(|(old, _)| work.tasks[*old].desired > TaskState::Running);
    for (old, at) in stopping {
        let node = later.entry(at).or_insert_with(|| fleet.node(at).clone());
        node.release(&work.tasks[old]);
        node.take_in(&filters.resources);
    }
    for (old, at) in serving {
        // Where the spread is bounded, the next may find no room after all.
        if fleet.skew.is_bounded() && !later.is_empty() {
            break;
        }
        if filters.check(fleet.node(at)) != Err(Refusal::Resources)
            || fleet.skew.broken(at).is_some()
        {
            continue;
        }
        let mut node = later.get(&at).unwrap_or(fleet.node(at)).clone();
        node.release(&work.tasks[old]);
        if filters.check(&node).is_ok() {
            node.take_in(&filters.resources);
            later.insert(at, node);
            work.tasks[old].stop(TaskState::Shutdown, cause);
        }
    }
}

/// The old task of each position, on its node.
fn predecessors(tasks: &[Work<'_>], current: &Current<'_>) -> BTreeMap<Position, usize> {
    let mut old = BTreeMap::new();
    for (index, task) in tasks.iter().enumerate() {
        if task.may_run() && current.is_outdated(task) {
            old.entry(task.position()).or_insert(index);
        }
    }
    old
}

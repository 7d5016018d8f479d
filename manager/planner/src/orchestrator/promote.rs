//! Lets replacements start once the old task has stopped and the delay is over.

use super::{gate, is_stopping, jobs, lost};
use crate::draft::{Draft, Position, ServiceWork, Work};
use skep_types::{SHUTDOWN_DELAY, TaskState, Timestamp};
use std::collections::BTreeSet;
use std::time::Duration;

/// Wait for an old task to stop, unless its own grace period is longer.
const STOP_WAIT: Duration = Duration::from_secs(60);
/// Time past its grace period in which a task is killed, cleaned up and
/// reported.
const KILL_MARGIN: Duration = Duration::from_secs(30);

/// Raises prepared tasks to Running when their time has come.
pub(super) fn promote(draft: &mut Draft<'_>, work: &mut ServiceWork<'_>) {
    let waits = |task: &&Work<'_>| task.is_live() && task.desired == TaskState::Ready;
    let waiting: BTreeSet<Position> = work
        .tasks
        .iter()
        .filter(waits)
        .map(Work::position)
        .collect();
    if waiting.is_empty() {
        return;
    }
    let mut due: Vec<usize> = Vec::new();
    let depends = work
        .service
        .is_some_and(|service| !service.spec.depends_on.is_empty());
    let left = jobs::left_of_ended_runs(work)
        .into_iter()
        .map(|index| &work.tasks[index])
        .filter(|task| is_stopping(draft, task))
        .map(|old| wait_ends(draft, old))
        .max();
    let positions = work.positions_among(|position| waiting.contains(position));
    for tasks in positions.values() {
        let first = depends && gate::is_first(tasks.iter().map(|i| &work.tasks[*i]));
        // What it depends on may go while it waits for something else.
        work.acted |= first;
        let held = first && work.gate.is_some();
        work.held |= held;
        for index in tasks.iter().filter(|_| !held) {
            let task = &work.tasks[*index];
            if !task.is_live() || task.desired != TaskState::Ready {
                continue;
            }
            let start = task.start_at.unwrap_or(task.created_at);
            let start = left.map_or(start, |left| left.max(start));
            // A newer one may be what stops: a rollback goes back to this one.
            let stopping = tasks
                .iter()
                .map(|i| &work.tasks[*i])
                .filter(|other| is_stopping(draft, other));
            let stopped = stopping.map(|old| wait_ends(draft, old));
            // What it replaces may be back, and then it is not needed.
            let back = tasks
                .iter()
                .filter(|other| *other != index && work.tasks[**other].is_live())
                .map(|kept| lost::told_by(draft, &work.tasks[*kept], task));
            let at = stopped.chain(back).fold(start, Timestamp::max);
            if at <= draft.now {
                due.push(*index);
            } else {
                draft.plan.wake(at);
                // It gets its node before, once its crash loop is waited out.
                if let Some(held) = task.start_at.filter(|_| task.is_held(draft.now)) {
                    draft.plan.wake(held);
                }
            }
        }
    }
    for index in due {
        work.tasks[index].desire(TaskState::Running);
    }
}

/// When an old task that was told to stop has had its time.
pub(super) fn wait_ends(draft: &Draft<'_>, old: &Work<'_>) -> Timestamp {
    let told = old
        .known
        .filter(|known| known.desired >= TaskState::Shutdown)
        .map_or(draft.now, |known| known.meta.updated_at);
    let container = &old.spec.container;
    let delay = container.shutdown_delay.unwrap_or(SHUTDOWN_DELAY);
    let grace = container.stop_grace_period.unwrap_or_default();
    told + STOP_WAIT.max(delay.saturating_add(grace).saturating_add(KILL_MARGIN))
}

//! Tasks on nodes that are silent.
//!
//! They are replaced at once, and stay wanted where they are until what replaces them
//! takes traffic: a node that is back before goes on with them, and nobody notices. What
//! was not running there yet, or would be replaced anyway, is given up at once.

use crate::current::Current;
use crate::draft::{Draft, ServiceWork, Work};
use skep_types::{Cause, Service, TaskState, Timestamp, UpdateState};
use std::sync::Arc;

/// What ended is not wanted any more, and what is on a lost node counts for nothing.
pub(super) fn mark(draft: &Draft<'_>, work: &mut ServiceWork<'_>) {
    for task in &mut work.tasks {
        if task.desired > TaskState::Running {
            continue;
        }
        if task.state.is_terminal() {
            task.desire(TaskState::Shutdown);
        } else if task.node.is_some_and(|node| draft.is_silent(node)) {
            let runs = task.desired == TaskState::Running && task.state == TaskState::Running;
            match runs
                && task
                    .node
                    .is_some_and(|node| draft.nodes.get(node).is_some())
            {
                true => task.away = true,
                false => task.stop(TaskState::Shutdown, Cause::NodeLost),
            }
        }
    }
}

/// Gives up what is replaced, or is not to go on where it is.
pub(super) fn give_up(draft: &Draft<'_>, work: &mut ServiceWork<'_>, service: &Arc<Service>) {
    if !work.tasks.iter().any(|task| task.away) {
        return;
    }
    let state = service.update_status.as_ref().map(|status| status.state);
    let paused = matches!(
        state,
        Some(UpdateState::Paused | UpdateState::RollbackPaused)
    );
    let current = Current::new(&draft.nodes, service, &work.tasks);
    let mut lost = Vec::new();
    for tasks in work.positions().values() {
        let tasks = || tasks.iter().map(|index| (*index, &work.tasks[*index]));
        let served = tasks().any(|(_, task)| task.is_live() && task.is_ready());
        let is_lost = |task: &Work<'_>| {
            served || task.leaves.is_some() || (!paused && current.is_outdated(task))
        };
        let away = tasks().filter(|(_, task)| task.away);
        lost.extend(
            away.filter(|(_, task)| is_lost(task))
                .map(|(index, _)| index),
        );
    }
    for index in lost {
        work.tasks[index].stop(TaskState::Shutdown, Cause::NodeLost);
    }
}

/// Until when a replacement is kept beside `kept`, whose node may be back: the node is
/// given the time to say what became of its tasks.
pub(super) fn told_by(draft: &Draft<'_>, kept: &Work<'_>, replacement: &Work<'_>) -> Timestamp {
    let node = kept.node.and_then(|id| draft.nodes.get(id));
    match node.filter(|_| replacement.cause == Cause::NodeLost) {
        // It is heard again in this very pass, or was when it was written so.
        Some(node) if node.state != node.node.status.state => {
            draft.now + draft.snapshot.heartbeat()
        }
        Some(node) => node.node.meta.updated_at + draft.snapshot.heartbeat(),
        None => draft.now,
    }
}

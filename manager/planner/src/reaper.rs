//! Which tasks are forgotten: history beyond the limit, tasks to be removed
//! once they have ended, tasks nobody can tell about any more.

use crate::draft::{Draft, Position, ServiceWork};
use skep_types::{TaskState, Timestamp, UpdateState};
use std::collections::BTreeMap;
use std::time::Duration;

/// Tasks kept a position while there is no cluster object.
const DEFAULT_HISTORY: i32 = 5;
/// After this time a silent node's tasks are given up.
const ORPHAN_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// Forgets tasks.
pub(crate) fn reap(draft: &mut Draft<'_>) {
    let history = draft
        .snapshot
        .cluster()
        .map_or(DEFAULT_HISTORY, |cluster| cluster.spec.task_history);
    for work in draft.services.values_mut() {
        for task in &mut work.tasks {
            let unwanted = task.desired == TaskState::Remove
                || (task.desired > TaskState::Running && task.state < TaskState::Assigned);
            if unwanted && !task.may_run() {
                task.removed = true;
            }
        }
        trim(work, history);
    }
    // Last: what is given up now is forgotten once that is written.
    orphan(draft);
}

/// Keeps `history` tasks a position, the live one included.
fn trim(work: &mut ServiceWork<'_>, history: i32) {
    let Ok(history) = usize::try_from(history) else {
        return;
    };
    let Some(service) = work.service else { return };
    if work.tasks.iter().all(|task| task.is_live() || task.removed) {
        return;
    }
    let status = service.update_status.as_ref().map(|status| status.state);
    let updating = matches!(
        status,
        Some(UpdateState::Updating | UpdateState::RollbackStarted)
    );
    if updating || work.update_status.is_some() {
        // The update reads from the old tasks what it has done already.
        return;
    }
    let attempts = service.spec.task.restart.max_attempts as usize;
    // Restarts are counted from the tasks kept.
    let limit = if attempts == 0 {
        history
    } else {
        history.max(attempts + 2)
    };
    let positions: BTreeMap<Position, Vec<usize>> = work.positions();
    for tasks in positions.into_values() {
        let live = tasks.iter().filter(|i| work.tasks[**i].is_live()).count();
        // Without a live task the last one says why there is none.
        let keep = limit.max(1).saturating_sub(live);
        let ended: Vec<usize> = tasks
            .into_iter()
            .filter(|i| !work.tasks[*i].is_live())
            .collect();
        let surplus = ended.len().saturating_sub(keep);
        for index in &ended[..surplus] {
            let task = &mut work.tasks[*index];
            if !task.may_run() {
                task.removed = true;
            }
        }
    }
}

/// Gives up tasks of nodes that have been silent too long.
fn orphan(draft: &mut Draft<'_>) {
    let mut wake: Option<Timestamp> = None;
    let given_up: Vec<_> = draft
        .nodes
        .values()
        .filter(|node| node.is_down())
        .filter(|node| {
            let due = node.node.meta.updated_at + ORPHAN_AFTER;
            if due > draft.now {
                wake = Some(wake.map_or(due, |earlier| earlier.min(due)));
            }
            due <= draft.now
        })
        .map(|node| node.node.id)
        .collect();
    if let Some(at) = wake {
        draft.plan.wake(at);
    }
    if given_up.is_empty() {
        return;
    }
    for work in draft.services.values_mut() {
        for task in &mut work.tasks {
            if task.may_run() && task.node.is_some_and(|node| given_up.contains(&node)) {
                task.state = TaskState::Orphaned;
            }
        }
    }
}

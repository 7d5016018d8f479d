//! Which tasks are forgotten: history beyond the limit, tasks to be removed
//! once they have ended, tasks nobody can tell about any more.

use crate::draft::{Current, Draft, Position, ServiceWork, Work};
use skep_types::{Service, TaskState, Timestamp, UpdateState};
use std::collections::BTreeMap;
use std::sync::Arc;
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
    let rolling = Rolling::of(work, service);
    let attempts = service.spec.task.restart.max_attempts as usize;
    // Restarts are counted from the tasks kept.
    let limit = if attempts == 0 {
        history
    } else {
        history.max(attempts + 2)
    };
    let positions: BTreeMap<Position, Vec<usize>> = work.positions();
    for tasks in positions.into_values() {
        let live = match rolling {
            // Its tries are counted from those that ended, whatever lives
            // beside them.
            Some(_) => 0,
            None => tasks.iter().filter(|i| work.tasks[**i].is_live()).count(),
        };
        // Without a live task the last one says why there is none.
        let keep = limit.max(1).saturating_sub(live);
        let read = rolling.as_ref().map(|r| r.reads(&work.tasks, &tasks));
        let ended: Vec<usize> = tasks
            .into_iter()
            .filter(|i| !work.tasks[*i].is_live())
            .collect();
        let surplus = ended.len().saturating_sub(keep);
        for index in &ended[..surplus] {
            let task = &mut work.tasks[*index];
            let is_read = read.is_some_and(|read| read.contains(&Some(*index)));
            if !task.may_run() && !is_read {
                task.removed = true;
            }
        }
    }
}

/// An update that is under way or paused, or begins or ends in this pass: it reads
/// from the tasks what it has done already, and what a paused one left as it was.
struct Rolling<'a> {
    current: Current<'a>,
    started_at: Timestamp,
}

impl<'a> Rolling<'a> {
    fn of(work: &ServiceWork<'a>, service: &'a Arc<Service>) -> Option<Rolling<'a>> {
        let known = service.update_status.as_ref().filter(|status| {
            !matches!(
                status.state,
                UpdateState::Completed | UpdateState::RollbackCompleted
            )
        });
        let status = known.or(work.update_status.as_ref())?;
        Some(Rolling {
            current: Current::new(service, &work.tasks),
            started_at: status.started_at,
        })
    }

    /// What is read in a position however long ago it was, of its tasks, oldest
    /// first: the last task that was replaced, which says that the position is
    /// one to be changed, and the first try, which says how that went.
    fn reads(&self, work: &[Work<'_>], tasks: &[usize]) -> [Option<usize>; 2] {
        let mut replaced = None;
        for index in tasks {
            let task = &work[*index];
            if task.desired == TaskState::Remove {
                continue;
            }
            if self.current.is_outdated(task) {
                replaced = Some(*index);
            } else if replaced.is_some() && task.created_at >= self.started_at {
                return [replaced, Some(*index)];
            }
        }
        [replaced, None]
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

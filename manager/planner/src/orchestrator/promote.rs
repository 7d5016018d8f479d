//! Lets replacements start once the old task has stopped and the delay is over.

use super::{is_stopping, restart};
use crate::draft::{Current, Draft, ServiceWork, Work};
use skep_types::{Service, TaskState, Timestamp};
use std::sync::Arc;
use std::time::Duration;

/// Longest wait for an old task to stop.
const STOP_WAIT_MAX: Duration = Duration::from_secs(60);

/// Raises prepared tasks to Running when their time has come.
pub(super) fn promote<'a>(
    draft: &mut Draft<'a>,
    work: &mut ServiceWork<'a>,
    service: &'a Arc<Service>,
) {
    if !work
        .tasks
        .iter()
        .any(|task| task.is_live() && task.desired == TaskState::Ready)
    {
        return;
    }
    let current = Current::new(service, &work.tasks);
    let mut due: Vec<usize> = Vec::new();
    for tasks in work.positions().values() {
        for (place, index) in tasks.iter().enumerate() {
            let task = &work.tasks[*index];
            if !task.is_live() || task.desired != TaskState::Ready {
                continue;
            }
            let before: Vec<&Work<'_>> = tasks[..place].iter().map(|i| &work.tasks[*i]).collect();
            let at = start(draft, &before, task, service, &current);
            if at <= draft.now {
                due.push(*index);
            } else {
                draft.plan.wake(at);
            }
        }
    }
    for index in due {
        work.tasks[index].desire(TaskState::Running);
    }
}

/// When the task may start, as things stand now.
fn start(
    draft: &Draft<'_>,
    before: &[&Work<'_>],
    task: &Work<'_>,
    service: &Service,
    current: &Current<'_>,
) -> Timestamp {
    let due = restart::due(&service.spec.task.restart, before, task, current);
    if before.iter().any(|old| is_stopping(draft, old)) {
        return due.max(task.created_at + STOP_WAIT_MAX);
    }
    due
}

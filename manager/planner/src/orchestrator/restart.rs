//! Whether and when a task that ended is followed by another one.
//!
//! What was counted is on the tasks themselves: a new leader comes to the same
//! answer without having watched, however few ended tasks are kept.

use crate::draft::{Origin, ServiceWork, Template, Work};
use skep_types::{Cause, RestartPolicy, Restarts, TaskState, Timestamp};
use std::time::Duration;

/// Least time before a failed try beside an old task that serves is followed by another.
pub(super) const RETRY_DELAY: Duration = Duration::from_secs(5);
/// Characters of the last error that are told again.
const ERROR_WIDTH: usize = 200;

/// The task after `latest`, which was made from the same template and is not
/// live; `None` where the policy leaves the position empty.
pub(super) fn follow(latest: &Work<'_>, policy: &RestartPolicy, now: Timestamp) -> Option<Origin> {
    if !latest.ended_by_itself() {
        // Stopped by us, or lost with its node: the policy is about tasks that
        // end by themselves.
        let cause = match latest.state {
            TaskState::Orphaned => Cause::NodeLost,
            _ if latest.away => Cause::NodeLost,
            _ => latest.stop_cause.unwrap_or(Cause::Restarted),
        };
        let until = if latest.state.is_terminal() {
            latest.ended_at()
        } else {
            now
        };
        let mut restarts = latest.restarts;
        if ran_steadily(latest, until) {
            restarts.in_row = 0;
        }
        return Some(Origin {
            restarts,
            ..Origin::new(cause)
        });
    }
    let ended_at = latest.ended_at();
    if !policy.follows(latest.state, &latest.restarts, ended_at) {
        return None;
    }
    let restarts = counted(policy, latest);
    // From when it is known to have ended: a node's clock may be behind.
    let start_at = now + policy.backoff(restarts.in_row);
    let error = (restarts.in_row >= Restarts::LOOP && start_at > now)
        .then(|| crash_loop(latest, restarts, start_at));
    // A move is not over before one takes traffic: until then the next waits.
    let cause = match latest.cause {
        moved @ (Cause::Drained | Cause::Constraint | Cause::Rebalanced | Cause::NodeLost)
            if latest.ready_at().is_none() =>
        {
            moved
        }
        _ => Cause::Restarted,
    };
    Some(Origin {
        restarts,
        start_at: Some(start_at),
        error,
        ..Origin::new(cause)
    })
}

/// Under another version it may be the same: a rollback brings it back.
pub(super) fn is_of(task: &Work<'_>, template: Template<'_>) -> bool {
    task.spec_version == template.version || task.spec.runs_like(template.spec)
}

/// When what an update made in a position is followed by another try, while the
/// old task still serves there, and what is counted by then. `last` is the last try
/// that ended by itself; `None` where the policy has none follow it.
pub(super) fn retry(
    policy: &RestartPolicy,
    last: &Work<'_>,
    least: Duration,
) -> Option<(Timestamp, Restarts)> {
    let ended_at = last.ended_at();
    if !policy.follows(last.state, &last.restarts, ended_at) {
        return None;
    }
    let restarts = counted(policy, last);
    let at = ended_at + policy.backoff(restarts.in_row).max(least);
    Some((at, restarts))
}

/// What is counted for the task after one that ended by itself.
fn counted(policy: &RestartPolicy, ended: &Work<'_>) -> Restarts {
    let at = ended.ended_at();
    let steadily = ran_steadily(ended, at);
    ended.restarts.after(policy, ended.state, at, steadily)
}

fn ran_steadily(task: &Work<'_>, until: Timestamp) -> bool {
    task.ready_at()
        .is_some_and(|at| until.since(at) >= Restarts::STEADY)
}

/// Lets tasks that wait start sooner where the delay was lowered meanwhile, and what
/// is told of them say so.
pub(super) fn hasten(work: &mut ServiceWork<'_>, policy: &RestartPolicy, now: Timestamp) {
    let mut untold: Vec<(usize, Timestamp)> = Vec::new();
    for (index, task) in work.tasks.iter_mut().enumerate() {
        let waits = task.is_live() && task.desired == TaskState::Ready;
        let Some(at) = task.start_at.filter(|at| waits && *at > now) else {
            continue;
        };
        let at = at.min(task.created_at + policy.backoff(task.restarts.in_row));
        task.start_at = Some(at);
        let told = task.known.map_or("", |known| &known.status.error);
        if task.is_held(now) && !told.contains(&time_of_day(at)) {
            untold.push((index, at));
        }
    }
    if untold.is_empty() {
        return;
    }
    let positions = work.positions();
    for (index, at) in untold {
        let tasks = positions.get(&work.tasks[index].position());
        let mut newest = tasks.into_iter().flatten().rev();
        if let Some(latest) = newest.find(|other| work.tasks[**other].ended_by_itself()) {
            let restarts = work.tasks[index].restarts;
            let text = crash_loop(&work.tasks[*latest], restarts, at);
            work.tasks[index].error = Some(text);
        }
    }
}

/// In one line what a task waits for that failed before.
fn crash_loop(latest: &Work<'_>, restarts: Restarts, start_at: Timestamp) -> String {
    let status = latest.known.map(|task| &task.status);
    let error = status.map_or("", |status| status.error.trim());
    let line = error.lines().next().unwrap_or_default();
    let last = match status.and_then(|status| status.exit_code) {
        _ if !line.is_empty() => line.chars().take(ERROR_WIDTH).collect(),
        Some(code) => format!("exit code {code}"),
        None => latest.state.to_string(),
    };
    format!(
        "crash loop: failed {} times in a row, starts again at {}; last: {last}",
        restarts.in_row,
        time_of_day(start_at)
    )
}

/// `14:03:20 UTC`; a crash loop is waited out within a day.
fn time_of_day(at: Timestamp) -> String {
    let seconds = at.0.div_ceil(1000) % (24 * 60 * 60);
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    format!("{hours:02}:{minutes:02}:{:02} UTC", seconds % 60)
}

//! Whether and when a task that ended is followed by another one.
//!
//! Derived from the tasks kept in the position, so that a new leader comes to
//! the same answer without having watched.

use crate::draft::{Template, Work};
use skep_types::{RestartCondition, RestartPolicy, TaskState, Timestamp};
use std::time::Duration;

/// Swarm's default delay.
const DEFAULT_DELAY: Duration = Duration::from_secs(5);
/// Least delay from the second failure in a row on.
const BACKOFF_MIN: Duration = Duration::from_millis(100);
/// Longest delay that repeated failures lead to (a longer one asked for stays).
const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// A task that lived so long ends a row of failures.
const STEADY: Duration = Duration::from_secs(5 * 60);

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing: the position stays empty.
    Never,
    /// A new task at once.
    Now,
    /// A new task that is prepared at once and starts later.
    Later,
    /// A new task, made at that time: after a second failure in a row
    /// preparing is not worth it, and may be what fails.
    At(Timestamp),
}

/// Judges a position without a live task. `tasks` are all its tasks, oldest
/// first; `next` is what the next one is made from.
pub(super) fn judge(tasks: &[&Work<'_>], next: Template<'_>) -> Verdict {
    let policy = &next.spec.restart;
    let Some(latest) = tasks.last() else {
        return Verdict::Now;
    };
    // Stopped by us, lost with its node, or of another template: the policy
    // is about tasks that end by themselves.
    if !ended_by_itself(latest) || !is_of(latest, next) {
        return Verdict::Now;
    }
    let wanted = match policy.condition {
        RestartCondition::None => false,
        RestartCondition::OnFailure => latest.state != TaskState::Complete,
        RestartCondition::Any => true,
    };
    if !wanted || attempts_are_used_up(policy, tasks, latest) {
        return Verdict::Never;
    }
    match row(tasks) {
        0 | 1 => Verdict::Later,
        failures => Verdict::At(latest.ended_at() + backoff(policy, failures)),
    }
}

/// Under another version it may be the same: a rollback brings it back.
fn is_of(task: &Work<'_>, template: Template<'_>) -> bool {
    task.spec_version == template.version || task.spec == template.spec
}

pub(super) fn ended_by_itself(task: &Work<'_>) -> bool {
    matches!(
        task.state,
        TaskState::Complete | TaskState::Failed | TaskState::Rejected
    )
}

fn attempts_are_used_up(policy: &RestartPolicy, tasks: &[&Work<'_>], latest: &Work<'_>) -> bool {
    if policy.max_attempts == 0 {
        return false;
    }
    let until = latest.ended_at();
    let counts = |task: &&&Work<'_>| {
        task.spec_version == latest.spec_version
            && ended_by_itself(task)
            && (policy.window.is_zero() || until.since(task.ended_at()) <= policy.window)
    };
    // The first of them was no restart.
    let restarts = tasks.iter().filter(counts).count().saturating_sub(1);
    restarts >= policy.max_attempts as usize
}

/// Ends in a row, up to the last of `tasks`, of tasks that did not live long.
fn row(tasks: &[&Work<'_>]) -> u32 {
    let row = tasks.iter().rev().take_while(|task| {
        ended_by_itself(task) && task.ended_at().since(task.created_at) < STEADY
    });
    u32::try_from(row.count()).unwrap_or(u32::MAX)
}

fn delay(policy: &RestartPolicy) -> Duration {
    policy.delay.unwrap_or(DEFAULT_DELAY)
}

/// The delay doubles with each failure in a row, so that a task that cannot
/// start does not keep the swarm busy.
fn backoff(policy: &RestartPolicy, failures: u32) -> Duration {
    let base = delay(policy).max(BACKOFF_MIN);
    let doublings = failures.saturating_sub(1).min(16);
    (base * 2_u32.pow(doublings)).min(BACKOFF_MAX.max(base))
}

/// When what an update made in a position is followed by another try, while the
/// old task still serves there. `tries` are its tasks there, oldest first.
pub(super) fn retry_at(
    policy: &RestartPolicy,
    tries: &[&Work<'_>],
    least: Duration,
) -> Option<Timestamp> {
    let last = tries.iter().rev().find(|task| ended_by_itself(task))?;
    Some(last.ended_at() + backoff(policy, row(tries)).max(least))
}

/// When a replacement may start, for what came before it in its position.
pub(super) fn due(before: &[&Work<'_>], task: &Work<'_>) -> Timestamp {
    match before.last() {
        // Longer rows were waited out before the task was made.
        Some(previous)
            if ended_by_itself(previous)
                && is_of(previous, Template::of(task))
                && row(before) <= 1 =>
        {
            task.created_at + delay(&task.spec.restart)
        }
        _ => task.created_at,
    }
}

//! Whether and when a task that ended is followed by another one.
//!
//! Derived from the tasks kept in the position, so that a new leader comes to
//! the same answer without having watched.

use crate::draft::{Current, Work};
use skep_types::{RestartCondition, RestartPolicy, TaskState, Timestamp};
use std::time::Duration;

/// Swarm's default delay.
const DEFAULT_DELAY: Duration = Duration::from_secs(5);
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
    /// A new task that starts so long after it was made.
    After(Duration),
}

/// Judges a position without a live task. `tasks` are all its tasks, oldest
/// first.
pub(super) fn judge(policy: &RestartPolicy, tasks: &[&Work<'_>], current: &Current<'_>) -> Verdict {
    let Some(latest) = tasks.last() else {
        return Verdict::Now;
    };
    // Stopped by us, lost with its node, or of a former template: the policy
    // is about tasks that end by themselves.
    if !ended_by_itself(latest) || current.is_outdated(latest) {
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
    Verdict::After(delay(policy, tasks))
}

fn ended_by_itself(task: &Work<'_>) -> bool {
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

/// The delay after the last of `tasks`: doubled with each failure in a row, so
/// that a task that cannot start does not keep the swarm busy.
fn delay(policy: &RestartPolicy, tasks: &[&Work<'_>]) -> Duration {
    let base = policy.delay.unwrap_or(DEFAULT_DELAY);
    let row = tasks
        .iter()
        .rev()
        .take_while(|task| {
            matches!(task.state, TaskState::Failed | TaskState::Rejected)
                && task.ended_at().since(task.created_at) < STEADY
        })
        .count();
    let doublings = u32::try_from(row.saturating_sub(1))
        .unwrap_or(u32::MAX)
        .min(16);
    (base * 2_u32.pow(doublings)).min(BACKOFF_MAX.max(base))
}

/// When a replacement may start, for what came before it in its position.
pub(super) fn due(
    policy: &RestartPolicy,
    before: &[&Work<'_>],
    task: &Work<'_>,
    current: &Current<'_>,
) -> Timestamp {
    match before.last() {
        Some(previous) if ended_by_itself(previous) && !current.is_outdated(previous) => {
            task.created_at + delay(policy, before)
        }
        _ => task.created_at,
    }
}

//! Whether a node starts a task again by itself.
//!
//! Only while no manager hears it: whoever hears of an end decides what follows, and an
//! end that was said is final. So it is the same task that is started again, and what
//! managers hear of it never goes back.

use skep_types::{LocalRestarts, Restarts, Task, TaskState, TaskStatus, Timestamp};
use std::time::Duration;

/// So many heartbeats without a session, and the node is on its own: by then the
/// managers have given it up as well.
pub const SILENT_BEATS: u32 = 3;

/// How a container ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// Where the task would end: COMPLETE, FAILED, REJECTED, or ORPHANED when it was lost with
    /// its machine.
    pub state: TaskState,
    /// When, by the clock of the node.
    pub at: Timestamp,
}

/// The next start of the same task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Again {
    /// Time from the end until then, at least.
    pub delay: Duration,
    /// What is counted with it.
    pub counted: Restarts,
}

/// What follows an end of `task`, which was at `status` until then, if no manager hears
/// of it; `None` where nothing does. The task's own policy holds: a newer one of its
/// service is not known here.
pub fn again(task: &Task, status: &TaskStatus, ended: Ended) -> Option<Again> {
    let is_job = task.run != 0;
    let has_run = status.state >= TaskState::Starting || status.local.count > 0;
    if is_job || task.desired != TaskState::Running || !has_run {
        return None;
    }
    let before = match status.local.count {
        0 => task.restarts,
        _ => status.local.counted,
    };
    let steadily = status
        .ready_at
        .is_some_and(|at| ended.at.since(at) >= Restarts::STEADY);
    if ended.state == TaskState::Orphaned {
        // Lost by no fault of its own: the policy is about what ends by itself.
        let in_row = if steadily { 0 } else { before.in_row };
        return Some(Again {
            delay: Duration::ZERO,
            counted: Restarts { in_row, ..before },
        });
    }
    let policy = &task.spec.restart;
    if !policy.follows(ended.state, &before, ended.at) {
        return None;
    }
    let counted = before.after(policy, ended.state, ended.at, steadily);
    Some(Again {
        delay: policy.backoff(counted.in_row),
        counted,
    })
}

/// Has it begin at the beginning: what is left to say of it is how often.
pub fn begin(status: &mut TaskStatus, again: Again, now: Timestamp) {
    status.local = LocalRestarts {
        count: status.local.count.saturating_add(1),
        counted: again.counted,
        at: now,
    };
    status.state = TaskState::Accepted;
    status.at = now;
    status.ready_at = None;
    status.not_ready = false;
    status.exit_code = None;
    status.oom_killed = false;
    status.pid = 0;
}

/// What managers are told of a task: one that is started again by its node runs, and
/// takes no traffic before it has worked. A state never goes back.
pub fn said(status: &TaskStatus) -> TaskStatus {
    let mut said = status.clone();
    if status.local.count > 0 && status.state < TaskState::Running {
        said.state = TaskState::Running;
        said.not_ready |= status.ready_at.is_none();
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;
    use skep_types::{RestartCondition, RestartPolicy, ServiceId, Slot, TaskId, TaskSpec, Version};
    use std::sync::Arc;

    const MINUTE: u64 = 60_000;

    fn task(policy: RestartPolicy) -> Task {
        Task {
            id: TaskId::from_bits(1),
            meta: Default::default(),
            service: ServiceId::from_bits(9),
            service_name: "web".into(),
            slot: Slot(1),
            node: None,
            spec: Arc::new(TaskSpec {
                restart: policy,
                ..TaskSpec::default()
            }),
            spec_version: Version(1),
            desired: TaskState::Running,
            status: TaskStatus {
                state: TaskState::Running,
                ready_at: Some(Timestamp(MINUTE)),
                ..TaskStatus::default()
            },
            attachments: Vec::new(),
            cause: Default::default(),
            stop_cause: None,
            restarts: Restarts::default(),
            start_at: None,
            run: 0,
            generic: Default::default(),
        }
    }

    fn ended(state: TaskState, at: u64) -> Ended {
        Ended {
            state,
            at: Timestamp(at),
        }
    }

    /// Delays in ms, one failure after the other, each container failing at once.
    fn delays(policy: RestartPolicy, failures: u64, between: u64) -> Vec<Option<u64>> {
        let mut task = task(policy);
        let mut now = 2 * MINUTE;
        let mut delays = Vec::new();
        for _ in 0..failures {
            let next = again(&task, &task.status, ended(TaskState::Failed, now));
            delays.push(next.map(|next| next.delay.as_millis() as u64));
            let Some(next) = next else { break };
            begin(&mut task.status, next, Timestamp(now));
            task.status.state = TaskState::Starting;
            now += between;
        }
        delays
    }

    #[test]
    fn the_policy_says_which_ends_are_followed_by_another_start() {
        use RestartCondition::{Any, None as Never, OnFailure};
        use TaskState::{Complete, Failed, Orphaned, Rejected};
        for (condition, state, follows) in [
            (Any, Complete, true),
            (Any, Failed, true),
            (Any, Rejected, true),
            (OnFailure, Complete, false),
            (OnFailure, Failed, true),
            (Never, Complete, false),
            (Never, Failed, false),
            // As managers replace what was lost with its node, whatever the policy.
            (Never, Orphaned, true),
            (OnFailure, Orphaned, true),
        ] {
            let task = task(RestartPolicy {
                condition,
                ..RestartPolicy::default()
            });
            let next = again(&task, &task.status, ended(state, 2 * MINUTE));
            assert_eq!(next.is_some(), follows, "{condition:?} {state}");
        }
    }

    #[test]
    fn the_delay_doubles_as_that_of_managers_does() {
        let policy = RestartPolicy {
            max_delay: Some(Duration::from_secs(30)),
            ..RestartPolicy::default()
        };
        let expected = [5000, 10_000, 20_000, 30_000, 30_000].map(Some);
        assert_eq!(delays(policy, 5, 1000), expected);
        let at_once = RestartPolicy {
            delay: Some(Duration::ZERO),
            ..RestartPolicy::default()
        };
        assert_eq!(delays(at_once, 4, 1000), [0, 200, 400, 800].map(Some));
    }

    #[test]
    fn a_row_ends_with_a_run_that_served_for_minutes_or_was_done() {
        let mut task = task(RestartPolicy::default());
        task.restarts.in_row = 4;
        let in_row = |task: &Task, state, at| {
            let next = again(task, &task.status, ended(state, at));
            next.map(|next| next.counted.in_row)
        };
        let (short, long) = (2 * MINUTE, 6 * MINUTE);
        assert_eq!(in_row(&task, TaskState::Failed, short), Some(5));
        assert_eq!(in_row(&task, TaskState::Failed, long), Some(0));
        assert_eq!(in_row(&task, TaskState::Complete, short), Some(0));
        assert_eq!(in_row(&task, TaskState::Orphaned, short), Some(4));
        assert_eq!(in_row(&task, TaskState::Orphaned, long), Some(0));
        // It ran, and never took traffic.
        task.status.ready_at = None;
        assert_eq!(in_row(&task, TaskState::Failed, long), Some(5));
    }

    #[test]
    fn attempts_are_counted_with_those_of_the_managers() {
        let policy = RestartPolicy {
            max_attempts: 2,
            delay: Some(Duration::from_millis(1)),
            window: Duration::from_secs(60),
            ..RestartPolicy::default()
        };
        assert_eq!(
            delays(policy.clone(), 5, 1000).len(),
            3,
            "the third is none"
        );
        // One every 40 seconds: a window is over with every third.
        let slow = delays(policy.clone(), 6, 40_000);
        assert!(slow.iter().all(Option::is_some), "{slow:?}");
        let mut task = task(policy);
        task.restarts.attempts = 2;
        task.restarts.window_from = Timestamp(MINUTE);
        let at = |at| again(&task, &task.status, ended(TaskState::Failed, at));
        assert_eq!(at(MINUTE + 30_000), None);
        assert!(at(3 * MINUTE).is_some(), "the window is over");
    }

    #[test]
    fn jobs_what_is_to_stop_and_what_never_started_are_left_to_the_managers() {
        let whole = task(RestartPolicy::default());
        let next = |task: &Task| again(task, &task.status, ended(TaskState::Failed, 2 * MINUTE));
        assert!(next(&whole).is_some());
        let mut job = whole.clone();
        job.run = 1;
        assert_eq!(next(&job), None);
        for desired in [TaskState::Ready, TaskState::Shutdown, TaskState::Remove] {
            let mut other = whole.clone();
            other.desired = desired;
            assert_eq!(next(&other), None, "{desired}");
        }
        let mut fresh = whole.clone();
        fresh.status.state = TaskState::Preparing;
        assert_eq!(next(&fresh), None);
        // This one had started before.
        fresh.status.local.count = 1;
        assert!(next(&fresh).is_some());
    }

    #[test]
    fn managers_never_hear_of_a_state_that_goes_back() {
        let mut status = task(RestartPolicy::default()).status;
        status.exit_code = Some(1);
        let next = Again {
            delay: Duration::ZERO,
            counted: Restarts::default(),
        };
        begin(&mut status, next, Timestamp(MINUTE));
        assert_eq!((status.local.count, status.exit_code), (1, None));
        for state in [
            TaskState::Accepted,
            TaskState::Preparing,
            TaskState::Ready,
            TaskState::Starting,
            TaskState::Running,
        ] {
            status.state = state;
            let said = said(&status);
            assert_eq!(said.state, TaskState::Running);
            assert_eq!(said.is_ready(), state == TaskState::Running, "{state}");
        }
        // It has served, and the next daemon finds it.
        status.ready_at = Some(Timestamp(MINUTE));
        status.state = TaskState::Starting;
        assert!(said(&status).is_ready());
        status.state = TaskState::Failed;
        assert_eq!(said(&status), status);
        // Before there is anything again, all is said as it is.
        let first = TaskStatus {
            state: TaskState::Preparing,
            ..TaskStatus::default()
        };
        assert_eq!(said(&first), first);
    }
}

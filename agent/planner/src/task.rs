//! The life of a task on its node, one step at a time.
//!
//! Pure: given where a task is and where the managers want it, [`step`] says
//! what to do next. Doing it, and waiting, is left to the agent. The rules
//! are SwarmKit's (`agent/exec/controller.go`): a failure before STARTING is
//! REJECTED, from then on FAILED. What is started again without the managers is
//! `restart`'s to say.

use skep_types::TaskState;

/// What to do next with a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Say that the task is taken.
    Accept,
    /// Make image, network and container.
    Prepare,
    /// Start the container and see it become healthy.
    Start,
    /// Watch the container until it ends or is wanted elsewhere.
    Wait,
    /// Stop the container, if there is one.
    Shutdown,
    /// Nothing until the managers want something else.
    Idle,
}

/// What to do with a task that is at `current` and wanted at `desired`.
pub fn step(current: TaskState, desired: TaskState) -> Step {
    if current.is_terminal() {
        return Step::Idle;
    }
    if desired >= TaskState::Shutdown {
        return Step::Shutdown;
    }
    match current {
        TaskState::New | TaskState::Pending | TaskState::Assigned => Step::Accept,
        TaskState::Accepted | TaskState::Preparing => Step::Prepare,
        TaskState::Ready if desired >= TaskState::Running => Step::Start,
        TaskState::Ready => Step::Idle,
        TaskState::Starting => Step::Start,
        _ => Step::Wait,
    }
}

/// Where a task ends that failed at `current`.
pub fn after_failure(current: TaskState) -> TaskState {
    if current < TaskState::Starting {
        TaskState::Rejected
    } else {
        TaskState::Failed
    }
}

/// Where a task ends whose container ended by itself.
pub fn after_exit(exit_code: i32) -> TaskState {
    if exit_code == 0 {
        TaskState::Complete
    } else {
        TaskState::Failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_that_has_ended_is_left_alone() {
        for current in TaskState::ALL
            .into_iter()
            .filter(|state| state.is_terminal())
        {
            for desired in TaskState::ALL {
                assert_eq!(step(current, desired), Step::Idle, "{current} {desired}");
            }
        }
    }

    #[test]
    fn a_task_that_is_not_wanted_is_shut_down_wherever_it_is() {
        for current in TaskState::ALL
            .into_iter()
            .filter(|state| !state.is_terminal())
        {
            assert_eq!(
                step(current, TaskState::Shutdown),
                Step::Shutdown,
                "{current}"
            );
            assert_eq!(
                step(current, TaskState::Remove),
                Step::Shutdown,
                "{current}"
            );
        }
    }

    #[test]
    fn a_replacement_prepares_and_waits_to_be_wanted() {
        assert_eq!(step(TaskState::Assigned, TaskState::Ready), Step::Accept);
        assert_eq!(step(TaskState::Accepted, TaskState::Ready), Step::Prepare);
        assert_eq!(step(TaskState::Ready, TaskState::Ready), Step::Idle);
        assert_eq!(step(TaskState::Ready, TaskState::Running), Step::Start);
        assert_eq!(step(TaskState::Running, TaskState::Running), Step::Wait);
    }

    #[test]
    fn every_step_but_waiting_leads_on() {
        // Following the steps from ASSIGNED reaches RUNNING and stays there.
        let mut state = TaskState::Assigned;
        let mut seen = vec![state];
        while state != TaskState::Running {
            state = match step(state, TaskState::Running) {
                Step::Accept => TaskState::Accepted,
                Step::Prepare => TaskState::Ready,
                Step::Start => TaskState::Running,
                other => panic!("{other:?} at {state}"),
            };
            assert!(!seen.contains(&state));
            seen.push(state);
        }
    }

    #[test]
    fn a_failure_before_the_start_is_a_rejection() {
        assert_eq!(after_failure(TaskState::Preparing), TaskState::Rejected);
        assert_eq!(after_failure(TaskState::Starting), TaskState::Failed);
        assert_eq!(after_failure(TaskState::Running), TaskState::Failed);
        assert_eq!(after_exit(0), TaskState::Complete);
        assert_eq!(after_exit(137), TaskState::Failed);
    }
}

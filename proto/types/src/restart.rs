//! What follows the end of a task, and the arithmetic of it: managers make the next
//! task by it, and a node that no manager hears starts the same one again.

use crate::meta::Timestamp;
use crate::task::TaskState;
use std::time::Duration;

/// Swarm's default delay.
const DEFAULT_DELAY: Duration = Duration::from_secs(5);
/// Least delay from the second failure in a row on, and after what ended none.
const BACKOFF_MIN: Duration = Duration::from_millis(100);
/// Longest delay that repeated failures lead to, unless the policy says.
const BACKOFF_MAX: Duration = Duration::from_secs(5 * 60);

/// What happens when a task ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestartPolicy {
    /// Which ends are followed by a new task.
    pub condition: RestartCondition,
    /// Time before the new task starts; 5 s when not set.
    pub delay: Option<Duration>,
    /// Restarts allowed; 0 is unlimited.
    pub max_attempts: u32,
    /// Time over which attempts are counted; zero is for ever. Windows follow
    /// each other: in a time as long as one that spans two, up to twice the
    /// attempts can fall.
    pub window: Duration,
    /// Longest time that repeated failures make of `delay`, which each of them
    /// doubles; 5 min when not set. A longer `delay` stays as it is.
    pub max_delay: Option<Duration>,
}

impl RestartPolicy {
    /// Most that `max_delay` can be.
    pub const MAX_DELAY: Duration = Duration::from_secs(24 * 60 * 60);

    /// Whether a task that ended by itself like this, at that time, is followed
    /// by another one.
    pub fn follows(&self, ended: TaskState, restarts: &Restarts, at: Timestamp) -> bool {
        let wanted = match self.condition {
            RestartCondition::None => false,
            RestartCondition::OnFailure => ended != TaskState::Complete,
            RestartCondition::Any => true,
        };
        let left =
            self.max_attempts == 0 || restarts.in_window(self.window, at) < self.max_attempts;
        wanted && left
    }

    /// Time before the next start, after so many failures in a row. It doubles with
    /// each of them, so that a task that cannot start does not keep the swarm busy; nor
    /// does one that is done at once.
    pub fn backoff(&self, in_row: u32) -> Duration {
        let delay = self.delay.unwrap_or(DEFAULT_DELAY);
        let base = delay.max(BACKOFF_MIN);
        if in_row < Restarts::LOOP {
            return if in_row == 0 { base } else { delay };
        }
        let doublings = (in_row - 1).min(20);
        let most = self.max_delay.unwrap_or(BACKOFF_MAX).max(base);
        base.saturating_mul(1 << doublings).min(most)
    }
}

impl Default for RestartPolicy {
    fn default() -> Self {
        RestartPolicy {
            condition: RestartCondition::Any,
            delay: None,
            max_attempts: 0,
            window: Duration::ZERO,
            max_delay: None,
        }
    }
}

/// Which ends of a task are followed by a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RestartCondition {
    /// None.
    None,
    /// A non-zero exit or an error.
    OnFailure,
    /// Every end.
    #[default]
    Any,
}

/// What was counted of the tasks before this one in its place, so that it need
/// not be read from them: they may be forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Restarts {
    /// Tasks in a row, up to this one, that failed before they had run steadily.
    pub in_row: u32,
    /// Restarts within the window, that to this task included.
    pub attempts: u32,
    /// When the window began: the end that the first of them followed.
    pub window_from: Timestamp,
}

impl Restarts {
    /// From this many in a row on it is a crash loop: the next task gets a node
    /// when it is to start, not before.
    pub const LOOP: u32 = 2;

    /// A run that took traffic for so long ends a row of failures.
    pub const STEADY: Duration = Duration::from_secs(5 * 60);

    /// Restarts that count at that time. Windows follow each other: the first
    /// restart after one has passed begins the next.
    pub fn in_window(&self, window: Duration, at: Timestamp) -> u32 {
        let over = !window.is_zero() && at.since(self.window_from) > window;
        if over { 0 } else { self.attempts }
    }

    /// What is counted for what follows an end at that time, under that policy.
    /// `steadily`: it had taken traffic for [`STEADY`](Self::STEADY).
    #[must_use]
    pub fn after(
        &self,
        policy: &RestartPolicy,
        ended: TaskState,
        at: Timestamp,
        steadily: bool,
    ) -> Restarts {
        let attempts = self.in_window(policy.window, at);
        Restarts {
            // What is done is no failure.
            in_row: if ended == TaskState::Complete || steadily {
                0
            } else {
                self.in_row.saturating_add(1)
            },
            attempts: attempts.saturating_add(1),
            window_from: if attempts == 0 { at } else { self.window_from },
        }
    }
}

/// Starts of a task's container after the first, by its node alone: while no manager
/// could be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LocalRestarts {
    /// How many; 0 for the most.
    pub count: u32,
    /// What is counted with the last of them, those of the managers included.
    pub counted: Restarts,
    /// When the last of them took traffic, or was begun if it has not; by the clock of
    /// the node.
    pub at: Timestamp,
}

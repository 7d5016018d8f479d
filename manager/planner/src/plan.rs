//! What a pass decided, as data.

use skep_manager_store::Action;
use skep_types::{TaskId, Timestamp};

/// The outcome of one pass.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Plan {
    /// Changes to propose, in order.
    pub actions: Vec<Action>,
    /// When to plan again even if nothing changes.
    pub wake_at: Option<Timestamp>,
    /// Why tasks wait for a node, sorted by task.
    pub explanations: Vec<(TaskId, String)>,
}

impl Plan {
    /// Wakes at `at`, unless something is to happen earlier.
    pub(crate) fn wake(&mut self, at: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
    }
}

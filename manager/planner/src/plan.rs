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

    /// The actions in proposals of at most `items` objects each. Applied in
    /// order they mean the same; an item that has become stale in between is
    /// refused by the store and decided again by the next pass.
    pub fn into_proposals(self, items: usize) -> Vec<Vec<Action>> {
        let items = items.max(1);
        let mut proposals: Vec<Vec<Action>> = Vec::new();
        let mut room = 0;
        for action in self.actions {
            let mut rest = Some(action);
            while let Some(action) = rest.take() {
                if room == 0 {
                    proposals.push(Vec::new());
                    room = items;
                }
                let (now, later) = action.cut(room);
                room = room.saturating_sub(now.items());
                rest = later;
                if let Some(last) = proposals.last_mut() {
                    last.push(now);
                }
            }
        }
        proposals
    }
}

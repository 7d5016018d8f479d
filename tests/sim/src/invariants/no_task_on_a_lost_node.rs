//! Nothing is wanted on a node that is down, drained or gone.

use super::Verdict;
use skep_manager_store::Snapshot;
use skep_types::{Availability, NodeState};

pub(super) fn check(state: &Snapshot) -> Verdict {
    for task in state.tasks().filter(|task| task.is_live()) {
        let Some(id) = task.node else { continue };
        let lost = state.node(id).is_none_or(|node| {
            node.status.state == NodeState::Down || node.spec.availability == Availability::Drain
        });
        if lost {
            return Err(format!("{} {} is wanted there", task.name(), task.id));
        }
    }
    Ok(())
}

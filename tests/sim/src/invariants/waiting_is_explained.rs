//! A task that waits for a node says why, in its status and in the plan.

use super::Verdict;
use skep_manager_planner::Plan;
use skep_manager_store::Snapshot;
use skep_types::TaskState;

pub(super) fn check(state: &Snapshot, plan: &Plan) -> Verdict {
    for task in state.tasks() {
        if !task.is_live() || task.status.state >= TaskState::Assigned {
            continue;
        }
        if task.status.error.is_empty() {
            return Err(format!(
                "{} {} waits without a reason",
                task.name(),
                task.id
            ));
        }
        let explained = plan
            .explanations
            .iter()
            .any(|(id, reason)| *id == task.id && *reason == task.status.error);
        if !explained {
            return Err(format!("the plan does not explain {}", task.name()));
        }
    }
    Ok(())
}

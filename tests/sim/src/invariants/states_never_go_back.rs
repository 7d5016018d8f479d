//! A task's observed and desired state only ever rise, and a task never
//! moves to another node, slot or template.

use super::Verdict;
use skep_manager_store::Snapshot;

pub(super) fn check(before: &Snapshot, after: &Snapshot) -> Verdict {
    for task in after.tasks() {
        let Some(old) = before.task(task.id) else {
            continue;
        };
        if task.status.state < old.status.state || task.desired < old.desired {
            return Err(format!(
                "{} {} was {} -> {} and is {} -> {}",
                task.name(),
                task.id,
                old.status.state,
                old.desired,
                task.status.state,
                task.desired
            ));
        }
        let moved = old.node.is_some() && old.node != task.node;
        if moved || old.slot != task.slot || old.spec_version != task.spec_version {
            return Err(format!("{} {} moved", task.name(), task.id));
        }
    }
    Ok(())
}

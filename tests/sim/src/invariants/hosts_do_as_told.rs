//! Once nothing fails any more, what runs on the hosts is what the managers say
//! runs there.

use super::{HostSight, Verdict};
use skep_manager_store::Snapshot;
use skep_types::TaskState;

pub(super) fn check(hosts: &[HostSight], state: &Snapshot) -> Verdict {
    for host in hosts {
        let Some(node) = host.node.filter(|node| state.node(*node).is_some()) else {
            continue;
        };
        for (id, container) in &host.containers {
            let wanted = state
                .task(*id)
                .is_some_and(|task| task.node == Some(node) && task.desired == TaskState::Running);
            if container.running && !wanted {
                return Err(format!("task {id} runs on {} unasked", host.name));
            }
        }
        for task in state.tasks_on(node) {
            let runs = host.containers.get(&task.id).is_some_and(|c| c.running);
            if task.status.state == TaskState::Running && task.is_live() && !runs {
                return Err(format!("{} does not run on {}", task.name(), host.name));
            }
        }
    }
    Ok(())
}

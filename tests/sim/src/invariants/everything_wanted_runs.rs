//! Once nothing fails any more, every task that can run runs, what is not
//! wanted is gone, and neither an update, a rebalance nor a run of a job is left hanging.

use super::Verdict;
use skep_manager_store::Snapshot;
use skep_types::constraint::Constraint;
use skep_types::{
    Availability, Node, NodeState, RestartCondition, Service, ServiceMode, Slot, TaskState,
    UpdateState,
};
use std::collections::BTreeSet;

pub(super) fn check(state: &Snapshot) -> Verdict {
    for node in state.nodes() {
        let name = &node.description.hostname;
        // One whose join was cut short never came, and is forgotten after an hour.
        let has_come = !node.description.engine_version.is_empty();
        if has_come && node.status.state != NodeState::Ready {
            return Err(format!("{name} is not ready"));
        }
        if node.spec.availability != Availability::Active {
            return Err(format!("{name} is not active"));
        }
    }
    for task in state.tasks() {
        let (now, desired) = (task.status.state, task.desired);
        // `waiting_is_needed` has seen that no node could take it.
        let waits = now == TaskState::Pending;
        if task.is_live() && now != TaskState::Running && !waits {
            return Err(format!("{} is still {now} -> {desired}", task.name()));
        }
        if desired > TaskState::Running && !now.is_terminal() {
            return Err(format!("{} is still {now}, though unwanted", task.name()));
        }
        if state.service(task.service).is_none() {
            return Err(format!("{} is left of a removed service", task.name()));
        }
    }
    for service in state.services() {
        let name = &service.spec.name;
        // Slots that a policy left empty stay so.
        let policy = &service.spec.task.restart;
        let may_be_empty = policy.condition != RestartCondition::Any || policy.max_attempts != 0;
        if let ServiceMode::Replicated { replicas } = service.spec.mode
            && !may_be_empty
        {
            let slots: BTreeSet<Slot> = state
                .tasks_of(service.id)
                .filter(|task| task.is_live())
                .map(|task| task.slot)
                .collect();
            if slots.len() != replicas as usize {
                return Err(format!("{name} has {} of {replicas} slots", slots.len()));
            }
        }
        if service.spec.mode == ServiceMode::Global && !may_be_empty {
            // Of those that have come, all are ready by now.
            let ready = state.nodes().filter(|n| n.status.state == NodeState::Ready);
            let mut without = ready.filter(|node| is_allowed(service, node));
            let served = |id| {
                let mut tasks = state.tasks_of(service.id);
                tasks.any(|task| task.is_live() && task.node == Some(id))
            };
            if let Some(node) = without.find(|node| !served(node.id)) {
                let node = &node.description.hostname;
                return Err(format!("{name} has no task on {node}"));
            }
        }
        let waits = state
            .tasks_of(service.id)
            .any(|task| task.is_live() && task.status.state == TaskState::Pending);
        let hangs = service.update_status.as_ref().is_some_and(|status| {
            matches!(
                status.state,
                UpdateState::Updating | UpdateState::RollbackStarted
            )
        });
        // Where a policy has no further try follow a failed one, an update that starts
        // first waits until its progress deadline, which is longer than a run.
        if hangs && !waits && !may_be_empty {
            return Err(format!("{name} is still being updated"));
        }
        let rolls = service.update_status.as_ref().is_some_and(|status| {
            !matches!(
                status.state,
                UpdateState::Completed | UpdateState::RollbackCompleted
            )
        });
        if service.rebalance_since.is_some() && !rolls && !waits && !may_be_empty {
            return Err(format!("{name} is still being rebalanced"));
        }
        let has_place = match service.spec.mode {
            ServiceMode::GlobalJob => state.nodes().any(|node| is_allowed(service, node)),
            _ => true,
        };
        if let Some(run) = service.job.open().next()
            && has_place
            && !waits
        {
            return Err(format!("run {} of {name} is still open", run.number));
        }
    }
    Ok(())
}

fn is_allowed(service: &Service, node: &Node) -> bool {
    let placement = &service.spec.task.placement;
    let mut texts = placement.constraints.iter();
    texts.all(|text| Constraint::parse(text).is_ok_and(|constraint| constraint.holds(node)))
        && placement.runs_on(&node.description.platform)
}

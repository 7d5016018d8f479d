//! A task waits only while no node could take it: judged here anew, from the
//! state alone.

use super::Verdict;
use skep_manager_store::{Snapshot, may_run};
use skep_types::constraint::Constraint;
use skep_types::{
    Availability, Node, NodeState, Protocol, PublishMode, Service, Task, TaskState, UpdateOrder,
    UpdateState,
};
use std::sync::Arc;

pub(super) fn check(state: &Snapshot) -> Verdict {
    for task in state.tasks() {
        if !task.is_live() || task.status.state >= TaskState::Assigned {
            continue;
        }
        let Some(service) = state.service(task.service) else {
            continue;
        };
        let suits = state
            .nodes()
            .filter(|node| task.node.is_none_or(|id| id == node.id))
            .find(|node| could_take(state, node, service, task));
        if let Some(node) = suits {
            return Err(format!(
                "{} {} waits ({}), though {} could take it",
                task.name(),
                task.id,
                task.status.error,
                node.description.hostname
            ));
        }
    }
    Ok(())
}

fn could_take(state: &Snapshot, node: &Node, service: &Service, task: &Task) -> bool {
    let there: Vec<&Arc<Task>> = state
        .tasks_on(node.id)
        .filter(|task| may_run(task))
        .collect();
    let reserved = |tasks: &[&Arc<Task>]| -> u64 {
        let cpus = tasks.iter().map(|t| t.spec.resources.cpu_reservation.0);
        cpus.sum()
    };
    let room = reserved(&there) + task.spec.resources.cpu_reservation.0
        <= node.description.for_tasks().0.0;
    // Where it may go is what the service says now, unless it runs something else.
    let runs_like = |other: &Task| other.spec.runs_like(&service.spec.task);
    let placement = match runs_like(task) {
        true => &service.spec.task.placement,
        false => &task.spec.placement,
    };
    let of_group = |other: &Task| match runs_like(task) {
        true => runs_like(other),
        false => other.spec_version == task.spec_version,
    };
    let allowed = placement
        .constraints
        .iter()
        .all(|text| Constraint::parse(text).is_ok_and(|constraint| constraint.holds(node)))
        && placement.runs_on(&node.description.platform);
    let wanted = host_ports(service);
    let ports_free = there
        .iter()
        .filter_map(|other| state.service(other.service))
        .all(|other| host_ports(other).iter().all(|port| !wanted.contains(port)));
    // Next to an old task that it replaces, a new one may pass the limit.
    let surges = order(service) == UpdateOrder::StartFirst;
    let limit = placement.max_replicas_per_node as usize;
    let of_service = there
        .iter()
        .filter(|other| other.service == task.service && other.is_live())
        .filter(|other| !surges || of_group(other))
        .count();
    node.status.state == NodeState::Ready
        && node.spec.availability == Availability::Active
        && room
        && allowed
        && ports_free
        && (limit == 0 || of_service < limit)
}

/// A rollback has an order of its own.
fn order(service: &Service) -> UpdateOrder {
    match service.update_status.as_ref().map(|status| status.state) {
        Some(UpdateState::RollbackStarted | UpdateState::RollbackPaused) => {
            service.spec.rollback.order
        }
        _ => service.spec.update.order,
    }
}

fn host_ports(service: &Service) -> Vec<(Protocol, u16)> {
    let ports = service.spec.endpoint.ports.iter();
    ports
        .filter(|port| port.mode == PublishMode::Host && port.published != 0)
        .map(|port| (port.protocol, port.published))
        .collect()
}

//! Of a slot (of a global service: of a node) one container runs at a time.
//!
//! Judged twice. When the managers release a task to run, everything else in
//! its slot must have ended, as far as they can know, unless
//! - the service starts new tasks before it stops old ones, and the new one comes by an
//!   update, or from a node that is to be left;
//! - the other's node does not answer and was given up: it may be cut off, and
//!   goes on with what it runs until it hears again;
//! - the other had its time to stop, and its node has not said that it did.
//!
//! And at every moment on the hosts: two containers of a slot may run together
//! only if the older was excused so when the newer was released. So what a node
//! says has ended has ended, and nothing starts again behind the managers' back.
//! A container whose task or node the store has forgotten is not counted: how
//! long it may last is `removed_services_stop` and `hosts_do_as_told`.

use super::{HostSight, Verdict};
use skep_manager_store::{Snapshot, may_run};
use skep_types::{
    Cause, NodeId, NodeState, PublishMode, Service, ServiceId, Slot, Task, TaskId, TaskState,
    UpdateOrder, UpdateState,
};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Time to stop, unless the task's grace period is longer.
const STOP_WAIT: Duration = Duration::from_secs(60);

/// A slot, or a global service's place on a node.
type Place = (ServiceId, Slot, Option<NodeId>);

/// Who may run beside whom.
#[derive(Default)]
pub(super) struct Slots {
    /// A task that was released, and one that was excused then.
    excused: BTreeSet<(TaskId, TaskId)>,
}

impl Slots {
    /// Judges the tasks that were released between two states.
    pub(super) fn release(&mut self, before: &Snapshot, after: &Snapshot) -> Verdict {
        for task in after.tasks().filter(|task| is_released(task)) {
            if before.task(task.id).is_some_and(|known| is_released(known)) {
                continue;
            }
            let Some(service) = after.service(task.service) else {
                continue;
            };
            let others = after
                .tasks_in(task.service, task.slot)
                .map(|other| &**other)
                .filter(|other| other.id != task.id)
                .filter(|other| task.slot != Slot(0) || other.node == task.node);
            for other in others {
                // It serves until the new one does, or makes room for it.
                let serves = other.is_live() || task.status.state < TaskState::Assigned;
                let moves = matches!(
                    task.cause,
                    Cause::Drained | Cause::Constraint | Cause::Rebalanced
                );
                let is_replaced = serves && (moves || other.spec_version != task.spec_version);
                let excused = (is_replaced && starts_first(service))
                    || other.node.is_none_or(|node| is_down(before, after, node))
                    || had_its_time(before, task, other);
                if excused {
                    self.excused.insert((task.id, other.id));
                } else if may_run(other) {
                    return Err(format!(
                        "{} {} may run, and {} is still {} -> {}",
                        task.name(),
                        task.id,
                        other.id,
                        other.status.state,
                        other.desired
                    ));
                }
            }
        }
        Ok(())
    }

    /// Judges the containers that run now.
    pub(super) fn run(&self, state: &Snapshot, hosts: &[HostSight]) -> Verdict {
        let mut running: BTreeMap<Place, Vec<(TaskId, &str)>> = BTreeMap::new();
        for host in hosts {
            let here = host.node.filter(|node| state.node(*node).is_some());
            let Some(node) = here else { continue };
            for (id, container) in &host.containers {
                // What is not known to be released yet is judged when it is.
                let task = state
                    .task(*id)
                    .filter(|task| task.desired >= TaskState::Running);
                if let Some(task) = task.filter(|_| container.running) {
                    let place = (task.slot == Slot(0)).then_some(node);
                    let there = running.entry((task.service, task.slot, place)).or_default();
                    there.push((*id, &host.name));
                }
            }
        }
        for there in running.values() {
            for (index, (one, here)) in there.iter().enumerate() {
                for (other, there) in &there[index + 1..] {
                    let pairs = [(*one, *other), (*other, *one)];
                    if !pairs.iter().any(|pair| self.excused.contains(pair)) {
                        return Err(format!(
                            "{one} runs on {here} and {other} on {there}, both of one slot"
                        ));
                    }
                }
            }
        }
        Ok(())
    }
}

fn is_released(task: &Task) -> bool {
    task.is_live() && task.desired == TaskState::Running
}

/// The order in force: the rollback's own while one is under way, or paused. Old and
/// new cannot share a port of a node.
fn starts_first(service: &Service) -> bool {
    let state = service.update_status.as_ref().map(|status| status.state);
    let config = match state {
        Some(UpdateState::RollbackStarted | UpdateState::RollbackPaused) => &service.spec.rollback,
        _ => &service.spec.update,
    };
    let mut ports = service.spec.endpoint.ports.iter();
    config.order == UpdateOrder::StartFirst
        && !ports.any(|port| port.mode == PublishMode::Host && port.published != 0)
}

/// The managers gave the node up, or had done so when this was planned.
fn is_down(before: &Snapshot, after: &Snapshot, node: NodeId) -> bool {
    [before, after].iter().any(|state| {
        let node = state.node(node);
        node.is_none_or(|node| node.status.state != NodeState::Ready)
    })
}

/// By the swarm's clock, which says when the one was released.
fn had_its_time(before: &Snapshot, released: &Task, other: &Task) -> bool {
    let grace = other.spec.container.stop_grace_period.unwrap_or_default();
    before.task(other.id).is_some_and(|known| {
        let until = known.meta.updated_at + STOP_WAIT.max(grace);
        known.desired >= TaskState::Shutdown && until <= released.meta.updated_at
    })
}

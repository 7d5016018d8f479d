//! Which node runs a task.
//!
//! Tasks that wait are grouped by service and template. A group is filtered
//! once over the nodes; the best node is then taken from a heap, ordered by
//! recent failures, tasks of this service, reserved share and total tasks.

mod balance;
mod candidates;
mod filter;
mod fleet;
mod room;
mod skew;
mod verdicts;
mod words;

pub(crate) use verdicts::verdicts;

use crate::allocator::Allocator;
use crate::current::Current;
use crate::draft::{Draft, Work};
pub(crate) use balance::Balance;
use candidates::Candidates;
use filter::Filters;
use fleet::Fleet;
use skep_manager_store::Snapshot;
use skep_types::{Cause, NetworkId, NodeId, Service, ServiceId, TaskState, Timestamp, Version};
use std::collections::BTreeMap;
use std::time::Duration;

/// Failures of a version of a service on a node that put the node last.
pub(crate) const FAILURES_MAX: u32 = 5;
/// A task that its node rejects after so long was tried there again and again.
const TRIED_LONG: Duration = Duration::from_secs(60);
/// The time over which they are counted.
pub(crate) const FAILURES_WINDOW: Duration = Duration::from_secs(5 * 60);

/// Gives nodes, with addresses, to all tasks that wait for one.
pub(crate) fn schedule<'a>(draft: &mut Draft<'a>, allocator: &mut Allocator<'a>) {
    let now = draft.now;
    let waiting: Vec<ServiceId> = draft
        .services
        .values()
        .filter(|work| work.tasks.iter().any(|task| task.waits_for_node(now)))
        .map(|work| work.id)
        .collect();
    if waiting.is_empty() {
        return;
    }
    let mut fleet = Fleet::new(draft);
    for id in waiting {
        let Some(work) = draft.services.get_mut(&id) else {
            continue;
        };
        let Some(service) = work.service else {
            continue;
        };
        let current = Current::new(&draft.nodes, service, &work.tasks);
        let mut groups: BTreeMap<Version, Vec<usize>> = BTreeMap::new();
        for (index, task) in work.tasks.iter().enumerate() {
            if task.waits_for_node(now) {
                let version = current.version_of(task);
                groups.entry(version).or_default().push(index);
            }
        }
        for (version, waiting) in groups {
            let group = Group::new(service, &work.tasks[waiting[0]], &current, allocator);
            let of_group = |task: &Work<'_>| current.version_of(task) == version;
            fleet.begin_group(work, of_group, &group.filters, now);
            group.place(
                &mut work.tasks,
                &waiting,
                draft.snapshot,
                allocator,
                &mut fleet,
            );
            room::make(work, &waiting, &group.filters, &fleet, &current, now);
            fleet.end_group();
        }
    }
}

/// What the waiting tasks of one template have in common.
struct Group {
    filters: Filters,
    networks: Vec<NetworkId>,
}

impl Group {
    fn new(
        service: &Service,
        task: &Work<'_>,
        current: &Current<'_>,
        allocator: &Allocator<'_>,
    ) -> Group {
        let placement = current.placement_of(task);
        Group {
            filters: Filters::new(service, task.spec, placement),
            networks: allocator.networks_of(service, task.spec),
        }
    }

    fn place(
        &self,
        tasks: &mut [Work<'_>],
        waiting: &[usize],
        snapshot: &Snapshot,
        allocator: &mut Allocator<'_>,
        fleet: &mut Fleet,
    ) {
        // Tasks of global services come with their node.
        let (given, open): (Vec<usize>, Vec<usize>) = waiting
            .iter()
            .copied()
            .partition(|index| tasks[*index].node.is_some());
        for index in given {
            self.confirm(&mut tasks[index], snapshot, allocator, fleet);
        }
        if open.is_empty() {
            return;
        }
        let mut candidates = Candidates::new(fleet, &self.filters, open.len());
        let mut refused: Option<String> = None;
        for index in open {
            let task = &mut tasks[index];
            if refused.is_none() {
                refused = self
                    .find(task, &mut candidates, snapshot, allocator, fleet)
                    .err();
            }
            if let Some(reason) = &refused {
                task.error = Some(reason.clone());
            }
        }
    }

    fn confirm(
        &self,
        task: &mut Work<'_>,
        snapshot: &Snapshot,
        allocator: &mut Allocator<'_>,
        fleet: &mut Fleet,
    ) {
        let Some(node) = task.node else { return };
        let Some(at) = fleet.index_of(node) else {
            task.error = Some("no suitable node (the node is gone)".to_owned());
            return;
        };
        let checked = match task.cause {
            Cause::Restarted | Cause::NodeLost => self.filters.check_again(fleet.node(at)),
            _ => self.filters.check(fleet.node(at)),
        };
        if let Err(refusal) = checked {
            task.error = Some(filter::explain(&[(refusal, 1)]));
            return;
        }
        match allocator.attach(snapshot, node, &self.networks) {
            Ok(attachments) => {
                task.attachments = attachments;
                task.granted = fleet.add(at, &self.filters);
                assign(task, node);
            }
            Err(exhausted) => task.error = Some(exhausted.message().to_owned()),
        }
    }

    fn find(
        &self,
        task: &mut Work<'_>,
        candidates: &mut Candidates,
        snapshot: &Snapshot,
        allocator: &mut Allocator<'_>,
        fleet: &mut Fleet,
    ) -> Result<(), String> {
        while let Some(at) = candidates.best(fleet, &self.filters) {
            let node = fleet.node(at).id;
            match allocator.attach(snapshot, node, &self.networks) {
                Ok(attachments) => {
                    task.attachments = attachments;
                    task.granted = fleet.add(at, &self.filters);
                    assign(task, node);
                    candidates.taken(fleet, &self.filters, at);
                    return Ok(());
                }
                // Another node may have addresses left in its blocks.
                Err(exhausted) => candidates.set_aside(at, exhausted.message()),
            }
        }
        Err(candidates
            .exhausted()
            .unwrap_or_else(|| filter::explain_all(fleet, &self.filters)))
    }
}

fn assign(task: &mut Work<'_>, node: NodeId) {
    task.node = Some(node);
    task.placed = true;
    task.state = TaskState::Assigned;
    task.error = None;
}

/// How many failures its node may be to blame for a task that ended there stands for.
pub(crate) fn failures(task: &Work<'_>, now: Timestamp) -> u32 {
    let ended_at = task.ended_at();
    if now.since(ended_at) >= FAILURES_WINDOW {
        return 0;
    }
    match task.state {
        TaskState::Failed => 1,
        TaskState::Rejected if ended_at.since(task.tried_from()) >= TRIED_LONG => FAILURES_MAX,
        TaskState::Rejected => 1,
        _ => 0,
    }
}

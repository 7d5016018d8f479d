//! Moves tasks of replicated services to nodes that have fewer, on request or by
//! themselves, as tasks are moved off a drained node. Nothing is remembered but the
//! request: what is under way is read from the tasks.

use super::moves::under_way;
use super::satisfying;
use super::update::Pace;
use crate::allocator::Allocator;
use crate::draft::{Draft, ServiceWork, Work};
use crate::scheduler::{Balance, failures};
use skep_manager_store::{Action, ServiceAction};
use skep_types::{
    Cause, NodeId, Rebalance, Service, ServiceId, ServiceMode, Slot, Spread, Timestamp, UpdateState,
};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A node that changed, or came, is not moved to by itself before.
const STEADY: Duration = Duration::from_secs(60);
/// Moves that are begun in one pass; the next follows at once.
const MOST_AT_ONCE: usize = 64;
/// The rate is one of tasks in this time.
const MINUTE: Duration = Duration::from_secs(60);

/// Marks again what has a second task beside it already.
pub(super) fn resume(work: &mut ServiceWork<'_>) {
    let mut marked = Vec::new();
    let mut first = 0;
    for tasks in work.tasks.chunk_by(|one, next| one.slot == next.slot) {
        let live = || tasks.iter().filter(|task| task.is_live());
        let newest = live().max_by_key(|task| (task.created_at, task.cause == Cause::Rebalanced));
        let moved = newest.filter(|task| {
            let comes = task.cause == Cause::Rebalanced && task.leaves.is_none();
            // One that found no room is taken back.
            comes && task.slot != Slot(0) && task.may_run() && live().count() > 1
        });
        if let Some(moved) = moved {
            let old = tasks.iter().enumerate().filter(|(_, task)| {
                task.is_live()
                    && task.id != moved.id
                    && task.leaves.is_none()
                    && task.spec.runs_like(moved.spec)
            });
            marked.extend(old.map(|(index, _)| first + index));
        }
        first += tasks.len();
    }
    for index in marked {
        work.tasks[index].leaves = Some(Cause::Rebalanced);
    }
}

/// Marks what is better moved, as much as may be moved now.
pub(super) fn mark<'a>(draft: &mut Draft<'a>, allocator: &mut Allocator<'a>) {
    let mut services = std::mem::take(&mut draft.services);
    let cluster = draft.snapshot.cluster();
    let by_themselves = cluster.is_some_and(|cluster| cluster.spec.rebalance_per_minute > 0);
    // With whether more was planned for it before.
    let mut asked: Vec<(ServiceId, bool)> = Vec::new();
    for work in services.values_mut() {
        let Some(service) = work.service else {
            continue;
        };
        if !is_wanted(service, by_themselves) {
            continue;
        }
        let acted = work.acted;
        let is_uneven = is_uneven(draft, work, service);
        work.acted |= is_uneven || service.rebalance_since.is_some();
        if is_uneven && !is_changing(service) {
            asked.push((work.id, acted));
        }
    }
    draft.services = services;
    let mut balance: Option<Balance> = None;
    let mut moved = false;
    let mut rate: Option<Rate> = None;
    for (id, acted) in asked {
        let Some(work) = draft.services.get(&id) else {
            continue;
        };
        let Some(service) = work.service else {
            continue;
        };
        let pace = Pace::of(service);
        let room = pace.room(under_way(work, &pace, None, draft.now).len());
        let mut most = room.min(MOST_AT_ONCE);
        let mut wake: Option<Timestamp> = None;
        let by_itself = service.rebalance_since.is_none();
        if by_itself && most > 0 {
            let rate = rate.get_or_insert_with(|| Rate::of(draft));
            most = most.min(rate.left);
            wake = rate.wake_at.filter(|_| rate.left == 0);
        }
        if most == 0 {
            if let (Some(at), Some(work)) = (wake, draft.services.get_mut(&id)) {
                work.wake(at);
            }
            continue;
        }
        let doubled = doubled(work);
        let may_go = |task: &Work<'_>| {
            task.is_live()
                && task.is_ready()
                && task.leaves.is_none()
                && !doubled.contains(&task.slot)
        };
        let steady = |node: NodeId| {
            let node = draft.nodes.get(node)?;
            Some(node.node.meta.updated_at + STEADY)
        };
        let soon = std::cell::Cell::new(None);
        let may_come = |node: NodeId| {
            let at = steady(node).filter(|at| by_itself && *at > draft.now);
            soon.set(soon.get().into_iter().chain(at).min());
            at.is_none()
        };
        let balance = balance.get_or_insert_with(|| Balance::new(draft));
        let chosen = balance.choose(draft, allocator, work, most, may_go, may_come);
        if let Some(rate) = rate.as_mut().filter(|_| by_itself) {
            rate.left -= chosen.len();
        }
        let failed = |task: &Work<'_>| failures(task, draft.now) > 0;
        // What was moved before it has taken room that it may yet not get.
        let is_stuck = by_itself && chosen.is_empty() && !moved && !work.tasks.iter().any(failed);
        moved |= !chosen.is_empty();
        let Some(work) = draft.services.get_mut(&id) else {
            continue;
        };
        if is_stuck {
            // It is looked at again when there is room elsewhere.
            work.acted = acted;
            work.by_room = true;
        }
        if let Some(at) = soon.get() {
            work.wake(at);
        }
        for index in chosen {
            work.tasks[index].leaves = Some(Cause::Rebalanced);
        }
    }
}

/// A request ends once nothing is left to be moved, and what was has settled.
pub(super) fn finish(draft: &mut Draft<'_>, work: &ServiceWork<'_>, service: &Service) {
    if service.rebalance_since.is_none() || work.update_status.is_some() || is_changing(service) {
        return;
    }
    // What this pass changes, by a scale say, may be looked at anew in the next.
    let is_new = |task: &Work<'_>| task.known.is_none_or(|known| known.desired != task.desired);
    if work.tasks.iter().any(is_new) {
        return;
    }
    let pace = Pace::of(service);
    let mut live = work.tasks.iter().filter(|task| task.is_live());
    if live.any(|task| task.leaves.is_some()) || !under_way(work, &pace, None, draft.now).is_empty()
    {
        return;
    }
    draft
        .plan
        .actions
        .push(Action::Service(ServiceAction::Rebalance {
            id: service.id,
            version: service.meta.version,
            begins: false,
        }));
}

fn is_wanted(service: &Service, by_themselves: bool) -> bool {
    let by_itself = by_themselves && service.spec.rebalance == Rebalance::Auto;
    let asked = service.rebalance_since.is_some() || by_itself;
    asked && matches!(service.spec.mode, ServiceMode::Replicated { .. })
}

/// Its update places its tasks anew.
fn is_changing(service: &Service) -> bool {
    let state = service.update_status.as_ref().map(|status| status.state);
    !matches!(
        state,
        None | Some(UpdateState::Completed | UpdateState::RollbackCompleted)
    )
}

/// Of the branches beside each other, or the nodes of one, one has at least two tasks fewer
/// than another: without that nothing can be better elsewhere.
fn is_uneven(draft: &Draft<'_>, work: &ServiceWork<'_>, service: &Service) -> bool {
    let mut here: BTreeMap<NodeId, u32> = BTreeMap::new();
    let stay = |task: &&Work<'_>| task.is_live() && task.leaves.is_none();
    for node in work.tasks.iter().filter(stay).filter_map(|task| task.node) {
        *here.entry(node).or_default() += 1;
    }
    let spread = &service.spec.task.placement.spread;
    let mut branches: BTreeMap<Vec<String>, BTreeMap<String, u32>> = BTreeMap::new();
    let allowed: BTreeSet<NodeId> = satisfying(draft, service)
        .filter(|node| node.takes_tasks())
        .map(|node| node.node.id)
        .collect();
    for (id, node) in draft.nodes.iter() {
        let count = here.get(&id).copied().unwrap_or(0);
        // What is there counts for its branch, wherever it is.
        if count == 0 && !allowed.contains(&id) {
            continue;
        }
        let labels = spread.iter().filter_map(Spread::label);
        let mut path: Vec<String> = labels.map(|label| label.on(node.node).to_owned()).collect();
        path.push(id.to_string());
        while let Some(last) = path.pop() {
            let beside = branches.entry(path.clone()).or_default();
            *beside.entry(last).or_default() += count;
        }
    }
    branches.values().any(|beside| {
        let (least, most) = (beside.values().min(), beside.values().max());
        most.zip(least)
            .is_some_and(|(most, least)| most - least >= 2)
    })
}

/// Slots that have a second task already.
fn doubled(work: &ServiceWork<'_>) -> BTreeSet<Slot> {
    let (mut seen, mut doubled) = (BTreeSet::new(), BTreeSet::new());
    for task in work.tasks.iter().filter(|task| task.is_live()) {
        if !seen.insert(task.slot) {
            doubled.insert(task.slot);
        }
    }
    doubled
}

/// How many may yet be moved by themselves, in the whole swarm.
struct Rate {
    left: usize,
    /// When there is room for one more.
    wake_at: Option<Timestamp>,
}

impl Rate {
    fn of(draft: &Draft<'_>) -> Rate {
        let cluster = draft.snapshot.cluster();
        let most = cluster.map_or(0, |cluster| cluster.spec.rebalance_per_minute) as usize;
        let moved = draft
            .snapshot
            .tasks()
            .filter(|task| task.cause == Cause::Rebalanced);
        let mut until: Vec<Timestamp> = moved
            .map(|task| task.meta.created_at + MINUTE)
            .filter(|at| *at > draft.now)
            .collect();
        until.sort();
        Rate {
            left: most.saturating_sub(until.len()),
            wake_at: (until.len().checked_sub(most))
                .filter(|_| most > 0)
                .and_then(|at| until.get(at).copied()),
        }
    }
}

//! Which shelves of a large service a pass found nothing to do on. They are left out of the
//! next ones, which look at the rest of the service, until something on them changes.
//!
//! Quiet are only slots with one task that has served for a while, and with past ones of
//! which nothing is read any more, of a service of which nothing is under way. So all that is decided by
//! them is decided by their number, and by that on each node.

use crate::draft::{Quiet, ServiceWork, Work};
use crate::orchestrator::Pace;
use crate::scheduler::failures;
use skep_manager_store::{Shelf, Snapshot};
use skep_types::{
    NodeId, Rebalance, Service, ServiceId, ServiceMode, TaskState, Timestamp, UpdateState, Version,
};
use std::collections::{BTreeMap, BTreeSet};

/// What of it can still be left out of a service, if anything.
pub(super) fn still(mut quiet: Quiet, snapshot: &Snapshot, id: ServiceId) -> Option<Quiet> {
    let service = snapshot.service(id)?;
    let ServiceMode::Replicated { replicas } = service.spec.mode else {
        return None;
    };
    if quiet.of != service.meta.version {
        return None;
    }
    let mut loud: BTreeMap<Shelf, Version> = quiet.shelves().collect();
    let mut others = BTreeSet::new();
    for (shelf, changed) in snapshot.shelves_of(id) {
        if loud.get(&shelf) == Some(&changed) {
            loud.remove(&shelf);
            continue;
        }
        let tasks = snapshot.tasks_on_shelf(id, shelf);
        let counts = tasks.filter(|task| task.desired != TaskState::Remove);
        others.extend(counts.map(|task| task.slot));
    }
    for shelf in loud.into_keys() {
        quiet.remove(shelf);
    }
    // Which slots are made, or are too many, is decided by all of them.
    let complete = quiet.slots() + others.len() == replicas as usize;
    (complete && !quiet.is_empty()).then_some(quiet)
}

/// What can be left out from now on, after a pass that looked at the rest.
pub(super) fn after(work: &mut ServiceWork<'_>, snapshot: &Snapshot, now: Timestamp) -> Quiet {
    let mut quiet = std::mem::take(&mut work.quiet);
    let Some(service) = work.service.filter(|service| is_calm(service, work)) else {
        return Quiet::default();
    };
    let changed: BTreeMap<Shelf, Version> = snapshot.shelves_of(work.id).collect();
    // One shelf is looked at as a whole.
    if changed.len() < 2 {
        return Quiet::default();
    }
    let pace = Pace::of(service);
    let stored = work.tasks.partition_point(|task| task.known.is_some());
    let (stored, new) = work.tasks.split_at(stored);
    let mut loud: BTreeSet<Shelf> = new.iter().map(|task| Shelf::of(task.slot)).collect();
    let mut found: BTreeMap<Shelf, Vec<NodeId>> = BTreeMap::new();
    for slot in stored.chunk_by(|one, next| one.slot == next.slot) {
        let shelf = Shelf::of(slot[0].slot);
        match quiet_on(slot, &pace, now) {
            Some(node) => found.entry(shelf).or_default().push(node),
            None => {
                loud.insert(shelf);
            }
        }
    }
    quiet.of = service.meta.version;
    for (shelf, nodes) in found {
        if let Some(changed) = changed.get(&shelf).filter(|_| !loud.contains(&shelf)) {
            quiet.add(shelf, *changed, nodes);
        }
    }
    quiet
}

/// What one task of it does is not decided by the others.
fn is_calm(service: &Service, work: &ServiceWork<'_>) -> bool {
    let state = service.update_status.as_ref().map(|status| status.state);
    let rolls = !matches!(
        state,
        None | Some(UpdateState::Completed | UpdateState::RollbackCompleted)
    );
    let moves = service.spec.rebalance == Rebalance::Auto || service.rebalance_since.is_some();
    let mut spread = service.spec.task.placement.spread.iter();
    matches!(service.spec.mode, ServiceMode::Replicated { .. })
        && !rolls
        && !moves
        && !work.acted
        && work.update_status.is_none()
        && spread.all(|spread| spread.max_skew.is_none())
}

/// The node of the one task of a slot that counts, if nothing will happen there by itself.
fn quiet_on(slot: &[Work<'_>], pace: &Pace, now: Timestamp) -> Option<NodeId> {
    let mut live = slot.iter().filter(|task| task.is_live());
    let serving = live.next().filter(|_| live.next().is_none())?;
    let serves = serving.desired == TaskState::Running
        && pace.settles_at(serving).is_some_and(|at| at <= now);
    let is_past = |task: &Work<'_>| {
        let is_told = task.desired > TaskState::Running;
        task.state.is_terminal() && is_told && failures(task, now) == 0
    };
    let rests = |task: &Work<'_>| task.is_left(now) && (task.id == serving.id || is_past(task));
    serving.node.filter(|_| serves && slot.iter().all(rests))
}

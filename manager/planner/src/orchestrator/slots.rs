//! Which slots a replicated service has.

use crate::draft::{Position, ServiceWork};
use skep_types::{NodeId, Slot, TaskState};
use std::collections::{BTreeMap, BTreeSet};

/// The slots that should be filled. Those that are too many lose their tasks
/// here: first the ones that do not run, then those on nodes with most tasks
/// of the service, then the highest.
pub(super) fn choose(work: &mut ServiceWork<'_>, replicas: u32) -> Vec<Position> {
    let wanted = replicas as usize;
    let mut occupied: Vec<(Slot, bool, Option<NodeId>)> = Vec::new();
    let positions = work.positions();
    for (position, tasks) in &positions {
        let Position::Slot(slot) = position else {
            continue;
        };
        let mut kept = tasks
            .iter()
            .map(|index| &work.tasks[*index])
            .filter(|task| task.desired != TaskState::Remove)
            .peekable();
        if kept.peek().is_none() {
            continue;
        }
        let live: Vec<_> = kept.filter(|task| task.is_live()).collect();
        let running = live.iter().find(|task| task.state == TaskState::Running);
        let node = running.or(live.first()).and_then(|task| task.node);
        occupied.push((*slot, running.is_some(), node));
    }
    let mut slots: Vec<Slot> = occupied.iter().map(|(slot, _, _)| *slot).collect();
    if occupied.len() > wanted {
        let removed = surplus(occupied, wanted);
        for task in &mut work.tasks {
            if removed.contains(&task.slot) {
                task.desire(TaskState::Remove);
            }
        }
        slots.retain(|slot| !removed.contains(slot));
    } else {
        let taken: BTreeSet<Slot> = slots.iter().copied().collect();
        let missing = wanted - slots.len();
        let free = (1..=u32::MAX)
            .map(Slot)
            .filter(|slot| !taken.contains(slot));
        slots.extend(free.take(missing));
    }
    slots.into_iter().map(Position::Slot).collect()
}

fn surplus(mut occupied: Vec<(Slot, bool, Option<NodeId>)>, wanted: usize) -> BTreeSet<Slot> {
    occupied.sort_by_key(|(slot, running, _)| (!running, *slot));
    let mut on_node: BTreeMap<Option<NodeId>, u32> = BTreeMap::new();
    let mut ranked: Vec<(bool, u32, Slot)> = occupied
        .into_iter()
        .map(|(slot, running, node)| {
            let count = on_node.entry(node).or_default();
            *count += 1;
            (!running, *count, slot)
        })
        .collect();
    ranked.sort_unstable();
    ranked[wanted..].iter().map(|(_, _, slot)| *slot).collect()
}

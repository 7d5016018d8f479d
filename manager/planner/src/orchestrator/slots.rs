//! Which slots a replicated service has.

use crate::draft::{Position, ServiceWork};
use skep_types::{Cause, NodeId, Slot, TaskState};
use std::collections::{BTreeMap, BTreeSet};

/// The slots that should have a live task and have none. Those that are too
/// many lose their tasks here: first the ones that do not run or have to leave
/// their node, then those on nodes with most tasks of the service, then the highest.
///
/// `work.tasks` is still sorted by slot: nothing was created yet.
pub(super) fn choose(work: &mut ServiceWork<'_>, replicas: u32) -> Vec<Position> {
    // There is no slot too many, nor one too few, where some of them are quiet.
    let wanted = (replicas as usize).saturating_sub(work.quiet.slots());
    let mut occupied: Vec<Occupied> = Vec::with_capacity(wanted.min(work.tasks.len()));
    for tasks in work.tasks.chunk_by(|one, next| one.slot == next.slot) {
        let mut kept = tasks
            .iter()
            .filter(|task| !task.removed && task.desired != TaskState::Remove)
            .peekable();
        let Some(first) = kept.peek() else { continue };
        let mut slot = Occupied {
            slot: first.slot,
            live: false,
            runs: false,
            node: None,
        };
        for task in kept.filter(|task| task.is_live()) {
            let runs = task.state == TaskState::Running && task.leaves.is_none();
            if !slot.live || (runs && !slot.runs) {
                slot.node = task.node;
            }
            slot.live = true;
            slot.runs |= runs;
        }
        occupied.push(slot);
    }
    if occupied.len() > wanted {
        let removed = surplus(&mut occupied, wanted);
        for task in &mut work.tasks {
            if removed.contains(&task.slot) {
                task.stop(TaskState::Remove, Cause::Scaled);
            }
        }
        occupied.retain(|slot| !removed.contains(&slot.slot));
    }
    let empty = occupied.iter().filter(|slot| !slot.live);
    let mut slots: Vec<Slot> = empty.map(|slot| slot.slot).collect();
    let missing = wanted - occupied.len();
    if missing > 0 {
        let taken: BTreeSet<Slot> = occupied.iter().map(|slot| slot.slot).collect();
        let free = (1..=u32::MAX)
            .map(Slot)
            .filter(|slot| !taken.contains(slot));
        slots.extend(free.take(missing));
    }
    slots.into_iter().map(Position::Slot).collect()
}

/// A slot that has tasks.
struct Occupied {
    slot: Slot,
    live: bool,
    runs: bool,
    /// Node of the task that counts.
    node: Option<NodeId>,
}

fn surplus(occupied: &mut [Occupied], wanted: usize) -> BTreeSet<Slot> {
    occupied.sort_by_key(|slot| (!slot.runs, slot.slot));
    let mut on_node: BTreeMap<Option<NodeId>, u32> = BTreeMap::new();
    let mut ranked: Vec<(bool, u32, Slot)> = occupied
        .iter()
        .map(|slot| {
            let count = on_node.entry(slot.node).or_default();
            *count += 1;
            (!slot.runs, *count, slot.slot)
        })
        .collect();
    ranked.sort_unstable();
    ranked[wanted..].iter().map(|(_, _, slot)| *slot).collect()
}

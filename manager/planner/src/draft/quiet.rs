//! The shelves of a large service that a pass leaves out: only their number and places are
//! read. Which those are is `settled`'s to say.

use skep_manager_store::Shelf;
use skep_types::{NodeId, Version};
use std::collections::BTreeMap;

/// What is left out of a service; nothing by default.
#[derive(Debug, Clone, Default)]
pub(crate) struct Quiet {
    shelves: BTreeMap<Shelf, QuietShelf>,
    slots: usize,
    on_node: BTreeMap<NodeId, u32>,
    /// The version of the service itself that it holds for.
    pub(crate) of: Version,
}

#[derive(Debug, Clone)]
struct QuietShelf {
    changed: Version,
    /// Where the task of each slot is.
    nodes: Vec<NodeId>,
}

impl Quiet {
    pub(crate) fn is_empty(&self) -> bool {
        self.shelves.is_empty()
    }

    pub(crate) fn has(&self, shelf: Shelf) -> bool {
        self.shelves.contains_key(&shelf)
    }

    /// The shelves, each with the version at which it was found to be quiet.
    pub(crate) fn shelves(&self) -> impl Iterator<Item = (Shelf, Version)> + '_ {
        let shelves = self.shelves.iter();
        shelves.map(|(shelf, known)| (*shelf, known.changed))
    }

    /// How many slots are left out. Each has a task that serves.
    pub(crate) fn slots(&self) -> usize {
        self.slots
    }

    /// How many of those tasks are on each node.
    pub(crate) fn on_nodes(&self) -> impl Iterator<Item = (NodeId, u32)> + '_ {
        self.on_node.iter().map(|(node, count)| (*node, *count))
    }

    /// Leaves a shelf out, with one task on each of these nodes.
    pub(crate) fn add(&mut self, shelf: Shelf, changed: Version, nodes: Vec<NodeId>) {
        self.slots += nodes.len();
        for node in &nodes {
            *self.on_node.entry(*node).or_default() += 1;
        }
        self.shelves.insert(shelf, QuietShelf { changed, nodes });
    }

    /// Has a shelf looked at again.
    pub(crate) fn remove(&mut self, shelf: Shelf) {
        let Some(known) = self.shelves.remove(&shelf) else {
            return;
        };
        self.slots -= known.nodes.len();
        for node in known.nodes {
            if let Some(count) = self.on_node.get_mut(&node) {
                *count -= 1;
                if *count == 0 {
                    self.on_node.remove(&node);
                }
            }
        }
    }
}

//! How many more tasks of a service one value of a label may have than another, where
//! its placement bounds that.
//!
//! A place counts once, where its newest task is: one that starts beside its successor
//! is about to go. What has too many already, after a node was lost or a service was
//! scaled down, stays.

use super::filter::Filters;
use super::fleet::{At, FleetNode};
use crate::draft::{Position, Work};
use skep_types::{NodeId, Timestamp};
use std::collections::BTreeMap;

/// The tasks of the present group by label. Knows nothing where nothing is bounded.
#[derive(Default)]
pub(super) struct Skew {
    /// Most that a branch may have above the emptiest beside it, by level.
    bounds: Vec<Option<u32>>,
    /// Branch 0 is the root.
    branches: Vec<Branch>,
    /// Each node's branches, by its place in the fleet.
    paths: Vec<Vec<usize>>,
}

#[derive(Default)]
struct Branch {
    parent: usize,
    /// Without the label.
    unlabelled: bool,
    /// The emptiest counts only where a task could go if there was room.
    eligible: bool,
    tasks: u32,
    children: BTreeMap<String, usize>,
}

/// Why a node may not be given one more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Broken {
    /// It has no value to count for, at this level.
    Unlabelled(usize),
    /// At this level its value has `has` tasks and some other only `least`.
    Bound { level: usize, has: u32, least: u32 },
}

impl Skew {
    pub(super) fn new(
        nodes: &[FleetNode],
        by_id: &BTreeMap<NodeId, At>,
        tasks: &[Work<'_>],
        filters: &Filters,
    ) -> Skew {
        let mut skew = Skew {
            bounds: filters.spread.iter().map(|s| s.max_skew).collect(),
            ..Skew::default()
        };
        if !skew.is_bounded() {
            return Skew::default();
        }
        skew.branches.push(Branch::default());
        for node in nodes {
            let eligible = filters.suits(node);
            let mut path = vec![0];
            for label in filters.labels() {
                let branch = skew.child(path[path.len() - 1], label.on(&node.node));
                skew.branches[branch].eligible |= eligible;
                path.push(branch);
            }
            skew.paths.push(path);
        }
        for node in newest(tasks).into_values().flatten() {
            if let Some(at) = by_id.get(&node) {
                skew.count(*at);
            }
        }
        skew
    }

    fn child(&mut self, parent: usize, label: &str) -> usize {
        if let Some(child) = self.branches[parent].children.get(label) {
            return *child;
        }
        let child = self.branches.len();
        self.branches.push(Branch {
            parent,
            unlabelled: label.is_empty(),
            ..Branch::default()
        });
        self.branches[parent]
            .children
            .insert(label.to_owned(), child);
        child
    }

    /// Something is bounded.
    pub(super) fn is_bounded(&self) -> bool {
        self.bounds.iter().any(Option::is_some)
    }

    /// One more task is there.
    pub(super) fn count(&mut self, at: At) {
        for branch in self.paths.get(at as usize).into_iter().flatten() {
            self.branches[*branch].tasks += 1;
        }
    }

    /// What is against one more task there, outermost first.
    pub(super) fn broken(&self, at: At) -> Option<Broken> {
        let path = self.paths.get(at as usize)?;
        let levels = self.bounds.iter().zip(&path[1..]).enumerate();
        levels
            .filter_map(|(level, (bound, branch))| {
                Some((level, (*bound)?, &self.branches[*branch]))
            })
            .find_map(|(level, most, branch)| {
                if branch.unlabelled {
                    return Some(Broken::Unlabelled(level));
                }
                let beside = self.branches[branch.parent].children.values();
                let least = beside
                    .map(|branch| &self.branches[*branch])
                    .filter(|branch| branch.eligible && !branch.unlabelled)
                    .map(|branch| branch.tasks)
                    .min()?;
                let has = branch.tasks;
                (has >= least.saturating_add(most)).then_some(Broken::Bound { level, has, least })
            })
    }
}

/// Where the newest live task of each position is.
fn newest(tasks: &[Work<'_>]) -> BTreeMap<Position, Option<NodeId>> {
    let mut newest: BTreeMap<Position, (Timestamp, Option<NodeId>)> = BTreeMap::new();
    for task in tasks.iter().filter(|task| task.is_live()) {
        let this = (task.created_at, task.node);
        let known = newest.entry(task.position()).or_insert(this);
        // Of one moment, the later in the list was made later.
        if this.0 >= known.0 {
            *known = this;
        }
    }
    let nodes = newest.into_iter();
    nodes.map(|(at, (_, node))| (at, node)).collect()
}

//! The nodes that may take a task of a group, best first.
//!
//! A few tasks on a large swarm are served from the fleet's own order; all
//! else from a tree of heaps, one level a spread preference, in which every
//! task goes to the branch with the fewest tasks of the service. Nodes without the
//! label come last: they are a branch for what fits nowhere else.

use super::filter::Filters;
use super::fleet::{At, Fleet, Rank};
use super::skew::Skew;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};

/// Candidates of a group.
pub(super) struct Candidates {
    /// One node a task, where that is enough.
    listed: VecDeque<At>,
    tree: Option<Tree>,
    set_aside: BTreeSet<At>,
    reason: Option<String>,
}

impl Candidates {
    pub(super) fn new(fleet: &Fleet, filters: &Filters, count: usize) -> Candidates {
        let mut candidates = Candidates {
            listed: VecDeque::new(),
            tree: None,
            set_aside: BTreeSet::new(),
            reason: None,
        };
        if filters.spread.is_empty() {
            candidates.listed = fleet
                .least_used()
                .filter(|at| fleet.is_untouched(*at) && filters.check(fleet.node(*at)).is_ok())
                .take(count)
                .collect();
        }
        // Fewer nodes than tasks: some node will get a second one.
        if candidates.listed.len() < count {
            candidates.listed.clear();
            candidates.tree = Some(candidates.grow(fleet, filters));
        }
        candidates
    }

    /// The best node; it is out until `taken` puts it back.
    pub(super) fn best(&mut self, fleet: &Fleet, filters: &Filters) -> Option<At> {
        if self.tree.is_none() {
            if let Some(at) = self.listed.pop_front() {
                return Some(at);
            }
            self.tree = Some(self.grow(fleet, filters));
        }
        self.tree.as_mut()?.pop(&fleet.skew)
    }

    /// A node was used.
    pub(super) fn taken(&mut self, fleet: &Fleet, filters: &Filters, at: At) {
        if let Some(tree) = &mut self.tree {
            tree.count(at);
            if filters.check(fleet.node(at)).is_ok() {
                tree.push(fleet.rank(at));
            }
        }
    }

    /// A node cannot be used, for a reason of its own.
    pub(super) fn set_aside(&mut self, at: At, reason: &str) {
        self.set_aside.insert(at);
        self.reason.get_or_insert_with(|| reason.to_owned());
    }

    /// The reason why a node was set aside, if any was.
    pub(super) fn exhausted(&self) -> Option<String> {
        self.reason.clone()
    }

    fn grow(&self, fleet: &Fleet, filters: &Filters) -> Tree {
        let mut tree = Tree::default();
        for (at, node) in fleet.nodes() {
            let fits = filters.check(node).is_ok() && !self.set_aside.contains(&at);
            // A node that is full still counts for the balance of its branch.
            if !fits && (node.of_service == 0 || filters.spread.is_empty()) {
                continue;
            }
            let leaf = tree.leaf(filters.labels().map(|label| label.on(&node.node)));
            tree.set_leaf(at, leaf);
            tree.each_above(at, |branch| branch.tasks += node.of_service);
            if fits {
                tree.push(fleet.rank(at));
            }
        }
        tree
    }
}

/// Branches by label, leaves with heaps. Branch 0 is the root.
struct Tree {
    branches: Vec<Branch>,
    /// The leaf of each node that is in the tree, by its place in the fleet.
    leaves: Vec<Option<u32>>,
}

#[derive(Default)]
struct Branch {
    /// The one it grows from; of none the root.
    parent: Option<usize>,
    /// Tasks of the service in it.
    tasks: u32,
    /// Nodes to be had in it.
    open: u32,
    children: BTreeMap<String, usize>,
    heap: BinaryHeap<Reverse<Rank>>,
}

impl Default for Tree {
    fn default() -> Tree {
        Tree {
            branches: vec![Branch::default()],
            leaves: Vec::new(),
        }
    }
}

impl Tree {
    /// The leaf with these labels, outermost first.
    fn leaf<'n>(&mut self, labels: impl Iterator<Item = &'n str>) -> usize {
        let mut branch = 0;
        for label in labels {
            branch = match self.branches[branch].children.get(label) {
                Some(child) => *child,
                None => {
                    let child = self.branches.len();
                    self.branches.push(Branch {
                        parent: Some(branch),
                        ..Branch::default()
                    });
                    let children = &mut self.branches[branch].children;
                    children.insert(label.to_owned(), child);
                    child
                }
            };
        }
        branch
    }

    fn set_leaf(&mut self, at: At, leaf: usize) {
        let place = at as usize;
        if self.leaves.len() <= place {
            self.leaves.resize(place + 1, None);
        }
        self.leaves[place] = u32::try_from(leaf).ok();
    }

    fn leaf_of(&self, at: At) -> Option<usize> {
        let leaf = self.leaves.get(at as usize)?;
        leaf.map(|leaf| leaf as usize)
    }

    /// Does something with the branches that a node is in.
    fn each_above(&mut self, at: At, mut on: impl FnMut(&mut Branch)) {
        let mut next = self.leaf_of(at);
        while let Some(branch) = next {
            let branch = &mut self.branches[branch];
            on(branch);
            next = branch.parent;
        }
    }

    fn push(&mut self, rank: Rank) {
        self.each_above(rank.4, |branch| branch.open += 1);
        if let Some(leaf) = self.leaf_of(rank.4) {
            self.branches[leaf].heap.push(Reverse(rank));
        }
    }

    fn pop(&mut self, skew: &Skew) -> Option<At> {
        let leaf = self.seek(0, skew)?;
        let Reverse(rank) = self.branches[leaf].heap.pop()?;
        self.each_above(rank.4, |branch| branch.open -= 1);
        Some(rank.4)
    }

    /// The leaf below a branch that gets the next task.
    fn seek(&self, branch: usize, skew: &Skew) -> Option<usize> {
        let here = &self.branches[branch];
        if let Some(Reverse(rank)) = here.heap.peek() {
            // The labels of all nodes of a leaf are the same.
            return skew.broken(rank.4).is_none().then_some(branch);
        }
        let open = || {
            here.children
                .iter()
                .filter(|(_, at)| self.branches[**at].open > 0)
        };
        let order = |(label, at): &(&String, &usize)| (label.is_empty(), self.branches[**at].tasks);
        // In order of their labels, so that the first of equals is fixed.
        let best = open().min_by_key(order)?;
        self.seek(*best.1, skew).or_else(|| {
            let mut others: Vec<_> = open().filter(|other| *other != best).collect();
            others.sort_by_key(order);
            others.into_iter().find_map(|(_, at)| self.seek(*at, skew))
        })
    }

    fn count(&mut self, at: At) {
        self.each_above(at, |branch| branch.tasks += 1);
    }
}

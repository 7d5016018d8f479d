//! The nodes that may take a task of a group, best first.
//!
//! A few tasks on a large swarm are served from the fleet's own order; all
//! else from a tree of heaps, one level a spread preference, in which every
//! task goes to the branch with the fewest tasks of the service.

use super::filter::Filters;
use super::fleet::{At, Fleet, FleetNode, Rank};
use skep_types::constraint::{ENGINE_LABEL, NODE_LABEL};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};

/// Candidates of a group.
pub(super) struct Candidates {
    levels: Vec<Level>,
    /// One node a task, where that is enough.
    listed: VecDeque<At>,
    tree: Option<Tree>,
    set_aside: BTreeSet<At>,
    reason: Option<String>,
}

/// A label to spread over.
enum Level {
    Node(String),
    Engine(String),
}

impl Level {
    /// Descriptors other than labels are ignored, as Swarm does.
    fn parse(text: &str) -> Option<Level> {
        let lower = text.to_ascii_lowercase();
        if lower.starts_with(NODE_LABEL) {
            Some(Level::Node(text[NODE_LABEL.len()..].to_owned()))
        } else if lower.starts_with(ENGINE_LABEL) {
            Some(Level::Engine(text[ENGINE_LABEL.len()..].to_owned()))
        } else {
            None
        }
    }

    fn value<'n>(&self, node: &'n FleetNode) -> &'n str {
        let label = match self {
            Level::Node(label) => node.node.spec.labels.get(label),
            Level::Engine(label) => node.node.description.engine_labels.get(label),
        };
        label.map_or("", String::as_str)
    }
}

impl Candidates {
    pub(super) fn new(
        fleet: &Fleet,
        filters: &Filters,
        spread: &[String],
        count: usize,
    ) -> Candidates {
        let mut candidates = Candidates {
            levels: spread
                .iter()
                .filter_map(|text| Level::parse(text))
                .collect(),
            listed: VecDeque::new(),
            tree: None,
            set_aside: BTreeSet::new(),
            reason: None,
        };
        if candidates.levels.is_empty() {
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
        self.tree.as_mut().and_then(Tree::pop)
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
            if !fits && (node.of_service == 0 || self.levels.is_empty()) {
                continue;
            }
            let path = tree.path(self.levels.iter().map(|level| level.value(node)));
            for branch in &path {
                tree.branches[*branch].tasks += node.of_service;
            }
            tree.set_path(at, path);
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
    /// The branches of each node, by its place in the fleet; empty for those
    /// that are not in the tree.
    paths: Vec<Vec<usize>>,
}

#[derive(Default)]
struct Branch {
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
            paths: Vec::new(),
        }
    }
}

impl Tree {
    /// The branches down to the leaf with these labels, root first.
    fn path<'n>(&mut self, labels: impl Iterator<Item = &'n str>) -> Vec<usize> {
        let mut path = vec![0];
        let mut branch = 0;
        for label in labels {
            branch = match self.branches[branch].children.get(label) {
                Some(child) => *child,
                None => {
                    self.branches.push(Branch::default());
                    let child = self.branches.len() - 1;
                    self.branches[branch]
                        .children
                        .insert(label.to_owned(), child);
                    child
                }
            };
            path.push(branch);
        }
        path
    }

    fn set_path(&mut self, at: At, path: Vec<usize>) {
        let place = at as usize;
        if self.paths.len() <= place {
            self.paths.resize(place + 1, Vec::new());
        }
        self.paths[place] = path;
    }

    fn push(&mut self, rank: Rank) {
        let Some(path) = self.paths.get(rank.4 as usize) else {
            return;
        };
        for branch in path {
            self.branches[*branch].open += 1;
        }
        if let Some(leaf) = path.last() {
            self.branches[*leaf].heap.push(Reverse(rank));
        }
    }

    fn pop(&mut self) -> Option<At> {
        if self.branches[0].open == 0 {
            return None;
        }
        let mut branch = 0;
        loop {
            self.branches[branch].open -= 1;
            if let Some(Reverse(rank)) = self.branches[branch].heap.pop() {
                return Some(rank.4);
            }
            // In order of their labels, so that the first of equals is fixed.
            branch = self.branches[branch]
                .children
                .values()
                .copied()
                .filter(|child| self.branches[*child].open > 0)
                .min_by_key(|child| self.branches[*child].tasks)?;
        }
    }

    fn count(&mut self, at: At) {
        for branch in self.paths.get(at as usize).into_iter().flatten() {
            self.branches[*branch].tasks += 1;
        }
    }
}

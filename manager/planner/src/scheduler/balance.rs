//! Which tasks of a service would be better placed elsewhere: on nodes that have at
//! least two fewer, by the very order in which the scheduler takes nodes.
//!
//! Each such move lowers the sum of the squares of what branches and nodes have, and
//! so there is a last one. That they are moved, and when, is `orchestrator`'s.

use super::candidates::Candidates;
use super::filter::Filters;
use super::fleet::{At, Fleet, FleetNode};
use crate::allocator::Allocator;
use crate::current::Current;
use crate::draft::{Draft, ServiceWork, Work};
use skep_types::NodeId;
use std::collections::BTreeMap;

/// Nodes that are asked for a task to lose, the fullest of the fullest branches first. Each
/// costs a look at all nodes; of more branches the others are even enough.
const ASKED_MAX: usize = 32;

/// The nodes, with what this pass has chosen to move already.
pub(crate) struct Balance {
    fleet: Fleet,
}

impl Balance {
    /// The services have to be in the draft, and what leaves its node be marked.
    pub(crate) fn new(draft: &Draft<'_>) -> Balance {
        Balance {
            fleet: Fleet::new(draft),
        }
    }

    /// Up to so many tasks that are better moved, of those that may be, as indexes. Where the
    /// best node for one is not to be used yet, none is.
    pub(crate) fn choose<'a>(
        &mut self,
        draft: &Draft<'a>,
        allocator: &mut Allocator<'a>,
        work: &ServiceWork<'a>,
        most: usize,
        may_go: impl Fn(&Work<'_>) -> bool,
        may_come: impl Fn(NodeId) -> bool,
    ) -> Vec<usize> {
        let Some(service) = work.service else {
            return Vec::new();
        };
        let spec = &service.spec.task;
        let filters = Filters::new(service, spec, &spec.placement);
        let current = Current::new(&draft.nodes, service, &work.tasks);
        let of_group = |task: &Work<'_>| !current.runs_other(task);
        let fleet = &mut self.fleet;
        fleet.begin_group(work, of_group, &filters, draft.now);
        let networks = allocator.networks_of(service, spec);
        let mut best_for = |fleet: &Fleet| -> Option<At> {
            let mut candidates = Candidates::new(fleet, &filters, 1);
            while let Some(at) = candidates.best(fleet, &filters) {
                let node = fleet.node(at).id;
                match allocator.try_attach(draft, node, &networks) {
                    Ok(()) => return Some(at).filter(|_| may_come(node)),
                    Err(exhausted) => candidates.set_aside(at, exhausted.message()),
                }
            }
            None
        };
        let mut movable: BTreeMap<At, Vec<usize>> = BTreeMap::new();
        for (index, task) in work.tasks.iter().enumerate() {
            let at = task.node.and_then(|node| fleet.index_of(node));
            if let Some(at) = at.filter(|at| fleet.node(*at).takes_tasks && may_go(task)) {
                movable.entry(at).or_default().push(index);
            }
        }
        for tasks in movable.values_mut() {
            // The newest last: it goes first, having served for the least time.
            tasks.sort_by_key(|index| (work.tasks[*index].created_at, work.tasks[*index].slot));
        }
        let mut chosen = Vec::new();
        while chosen.len() < most {
            let tree = Shape::of(fleet, &filters);
            let mut found = None;
            for from in tree.fullest(fleet, |at| movable.get(&at).is_some_and(|t| !t.is_empty())) {
                fleet.take_away(from);
                let to = best_for(fleet).filter(|to| tree.is_better(fleet, from, *to));
                if let Some(to) = to {
                    fleet.add(to, &filters);
                    found = movable.get_mut(&from).and_then(Vec::pop);
                    break;
                }
                fleet.give_back(from);
            }
            match found {
                Some(index) => chosen.push(index),
                None => break,
            }
        }
        fleet.end_group();
        chosen
    }
}

/// Where the tasks of a service are, by branch.
struct Shape<'f> {
    filters: &'f Filters,
    /// The branches of each node, by their labels.
    paths: BTreeMap<At, Vec<String>>,
    /// Tasks in each branch; the root is left out.
    tasks: BTreeMap<Vec<String>, u32>,
}

/// The branches that a node is in.
fn path(filters: &Filters, node: &FleetNode) -> Vec<String> {
    let labels = filters.labels();
    labels
        .map(|label| label.on(&node.node).to_owned())
        .collect()
}

impl<'f> Shape<'f> {
    fn of(fleet: &Fleet, filters: &'f Filters) -> Shape<'f> {
        let mut shape = Shape {
            filters,
            paths: BTreeMap::new(),
            tasks: BTreeMap::new(),
        };
        for (at, node) in fleet.nodes().filter(|(_, node)| node.of_service > 0) {
            let path = path(filters, node);
            for length in 1..=path.len() {
                *shape.tasks.entry(path[..length].to_vec()).or_default() += node.of_service;
            }
            shape.paths.insert(at, path);
        }
        shape
    }

    /// Of each branch the node with most tasks, of those that may lose one.
    fn fullest(&self, fleet: &Fleet, may_lose: impl Fn(At) -> bool) -> Vec<At> {
        let mut of_branch: BTreeMap<&[String], At> = BTreeMap::new();
        for (at, path) in self.paths.iter().filter(|(at, _)| may_lose(**at)) {
            let most = of_branch.entry(path).or_insert(*at);
            if fleet.node(*at).of_service > fleet.node(*most).of_service {
                *most = *at;
            }
        }
        let mut fullest: Vec<At> = of_branch.into_values().collect();
        fullest.sort_by_cached_key(|at| {
            let path = self.paths.get(at).map_or(&[][..], Vec::as_slice);
            let branches = (1..=path.len()).filter_map(|length| self.tasks.get(&path[..length]));
            let counts = branches.copied().chain([fleet.node(*at).of_service]);
            (std::cmp::Reverse(counts.collect::<Vec<_>>()), *at)
        });
        fullest.truncate(ASKED_MAX);
        fullest
    }

    /// The first branches in which they differ, or else the nodes, are evener afterwards; one
    /// task has been taken from `from` already.
    fn is_better(&self, fleet: &Fleet, from: At, to: At) -> bool {
        if fleet.node(to).blamed().is_some() {
            return false;
        }
        let there = path(self.filters, fleet.node(to));
        let here = self.paths.get(&from).map_or(&[][..], Vec::as_slice);
        let differ = (0..here.len().min(there.len())).find(|level| here[*level] != there[*level]);
        match differ {
            // Where the label is missing is for what fits nowhere else.
            Some(level) if there[level].is_empty() => false,
            Some(level) => {
                let count = |path: &[String]| self.tasks.get(&path[..=level]).copied();
                count(here).unwrap_or(0) >= count(&there).unwrap_or(0) + 2
            }
            None => fleet.node(from).of_service > fleet.node(to).of_service && from != to,
        }
    }
}

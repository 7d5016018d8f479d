//! The nodes as the scheduler sees them: what each has left.

use super::filter::{Filters, Refusal};
use super::skew::Skew;
use super::{FAILURES_MAX, failures};
use crate::draft::{Draft, ServiceWork, Work};
use crate::explained::NodeUse;
use skep_manager_store::{Given, HostPort, NodeUsage, host_ports};
use skep_types::{ByteCount, Generics, NanoCpus, Node, NodeId, Resources, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Place of a node in the fleet.
pub(super) type At = u32;

/// All nodes.
pub(super) struct Fleet {
    nodes: Vec<FleetNode>,
    by_id: BTreeMap<NodeId, At>,
    /// Nodes that take tasks, least used first: the order between nodes that
    /// run no task of a service. Brought up to date after each group.
    order: BTreeSet<(u32, u32, At)>,
    /// Nodes with marks of the present group.
    marked: Vec<At>,
    /// Others have marks too: of what is quiet of the service.
    others_marked: bool,
    /// Of the present group: how evenly it must be spread.
    pub(super) skew: Skew,
}

/// One node.
#[derive(Clone)]
pub(super) struct FleetNode {
    pub(super) id: NodeId,
    pub(super) node: Arc<Node>,
    pub(super) takes_tasks: bool,
    /// What was there may be there again.
    pub(super) keeps_tasks: bool,
    cpu_reserved: u64,
    memory_reserved: u64,
    /// Generic resources and host-mode ports in use.
    given: Given,
    /// Live tasks.
    tasks: u32,
    /// Of the present group: live tasks of the service.
    pub(super) of_service: u32,
    /// Of the present group: those that count for the limit per node.
    pub(super) of_limit: u32,
    /// Of the present group: recent failures.
    failures: u32,
    /// Its place in the order: share and tasks when it was put there.
    ordered: (u32, u32),
}

/// Rank of a node: the smallest is taken first.
pub(super) type Rank = (u32, u32, u32, u32, At);

impl FleetNode {
    pub(super) fn has_room(&self, resources: &Resources) -> bool {
        let NanoCpus(cpu) = resources.cpu_reservation;
        let ByteCount(memory) = resources.memory_reservation;
        let (NanoCpus(free_cpu), ByteCount(free_memory)) = self.free();
        let generic = resources.generic.iter();
        cpu <= free_cpu
            && memory <= free_memory
            && generic
                .into_iter()
                .all(|(kind, wanted)| *wanted <= self.left_of(kind))
    }

    /// How many of a generic resource are left.
    pub(super) fn left_of(&self, kind: &str) -> u64 {
        self.given.left(&self.node.description.generic, kind)
    }

    /// Whether a task has this host-mode port.
    pub(super) fn has_port(&self, port: HostPort) -> bool {
        self.given.has_port(port)
    }

    /// Share of what the node has that is reserved, in thousandths.
    fn share(&self) -> u32 {
        let share = |reserved: u64, total: u64| {
            let thousandths = u128::from(reserved) * 1000 / u128::from(total.max(1));
            u32::try_from(thousandths).unwrap_or(u32::MAX)
        };
        let (NanoCpus(cpus), ByteCount(memory)) = self.node.description.for_tasks();
        share(self.cpu_reserved, cpus).max(share(self.memory_reserved, memory))
    }

    /// Puts a task there; returns what it is given of the node's generic resources.
    pub(super) fn take_in(&mut self, resources: &Resources) -> Generics {
        let has = &self.node.description.generic;
        let generic = self.given.choose(has, &resources.generic);
        self.reserve(resources, &generic);
        generic
    }

    fn reserve(&mut self, resources: &Resources, generic: &Generics) {
        self.given.add(generic);
        self.cpu_reserved = self
            .cpu_reserved
            .saturating_add(resources.cpu_reservation.0);
        self.memory_reserved = self
            .memory_reserved
            .saturating_add(resources.memory_reservation.0);
    }

    /// As if a task that is there had ended.
    pub(super) fn release(&mut self, task: &Work<'_>) {
        self.given.remove(task.generic());
        self.free_up(&task.spec.resources);
    }

    fn free_up(&mut self, resources: &Resources) {
        self.cpu_reserved = self
            .cpu_reserved
            .saturating_sub(resources.cpu_reservation.0);
        self.memory_reserved = self
            .memory_reserved
            .saturating_sub(resources.memory_reservation.0);
    }

    fn unmark(&mut self) {
        self.of_service = 0;
        self.of_limit = 0;
        self.failures = 0;
    }

    fn avoided(&self) -> u32 {
        self.blamed().unwrap_or(0)
    }

    /// So many failures of the present group that it is tried last.
    pub(super) fn blamed(&self) -> Option<u32> {
        (self.failures >= FAILURES_MAX).then_some(self.failures)
    }

    /// What can still be reserved.
    pub(super) fn free(&self) -> (NanoCpus, ByteCount) {
        let (NanoCpus(cpus), ByteCount(memory)) = self.node.description.for_tasks();
        (
            NanoCpus(cpus.saturating_sub(self.cpu_reserved)),
            ByteCount(memory.saturating_sub(self.memory_reserved)),
        )
    }

    /// What is given away.
    pub(super) fn in_use(&self) -> NodeUse {
        NodeUse {
            node: self.id,
            cpu_reserved: NanoCpus(self.cpu_reserved),
            memory_reserved: ByteCount(self.memory_reserved),
            tasks: self.tasks,
            ports: self.given.ports().collect(),
            generic: self.given.amounts(),
        }
    }
}

impl Fleet {
    pub(super) fn new(draft: &Draft<'_>) -> Fleet {
        let mut nodes: Vec<FleetNode> = draft
            .nodes
            .iter()
            .map(|(id, work)| {
                let used = draft.snapshot.used(id);
                FleetNode {
                    id,
                    node: Arc::clone(work.node),
                    takes_tasks: work.takes_tasks(),
                    keeps_tasks: work.keeps_tasks(),
                    cpu_reserved: used.cpus.0,
                    memory_reserved: used.memory.0,
                    given: draft.snapshot.given(id).cloned().unwrap_or_default(),
                    tasks: used.live,
                    of_service: 0,
                    of_limit: 0,
                    failures: 0,
                    ordered: (0, 0),
                }
            })
            .collect();
        let by_id: BTreeMap<NodeId, At> =
            (0..).zip(&nodes).map(|(at, node)| (node.id, at)).collect();
        for work in draft.services.values() {
            let ports = work.service.map(|s| host_ports(s)).unwrap_or_default();
            for task in &work.tasks {
                let Some(at) = task.node.and_then(|id| by_id.get(&id)) else {
                    continue;
                };
                let node = &mut nodes[*at as usize];
                // What this pass decided already.
                let known = task.known.and_then(|known| NodeUsage::of(known));
                if let Some((_, known)) = known {
                    node.tasks = node.tasks.saturating_sub(known.live);
                }
                if task.may_run() {
                    node.tasks += u32::from(task.is_live());
                } else if known.is_some() {
                    node.release(task);
                    node.given.close(&ports);
                }
            }
        }
        for node in &mut nodes {
            node.ordered = (node.share(), node.tasks);
        }
        let take = (0..).zip(&nodes).filter(|(_, node)| node.takes_tasks);
        let order = take.map(|(at, node)| (node.ordered.0, node.ordered.1, at));
        let order = order.collect();
        Fleet {
            nodes,
            by_id,
            order,
            marked: Vec::new(),
            others_marked: false,
            skew: Skew::default(),
        }
    }

    pub(super) fn index_of(&self, id: NodeId) -> Option<At> {
        self.by_id.get(&id).copied()
    }

    pub(super) fn node(&self, at: At) -> &FleetNode {
        &self.nodes[at as usize]
    }

    pub(super) fn nodes(&self) -> impl Iterator<Item = (At, &FleetNode)> {
        (0..).zip(&self.nodes)
    }

    /// All that is against one more task of the present group on a node, the reason that
    /// counts first.
    pub(super) fn refusals(&self, at: At, filters: &Filters) -> impl Iterator<Item = Refusal> {
        let skewed = self.skew.broken(at).map(|_| Refusal::Skew);
        filters.refusals(self.node(at)).chain(skewed)
    }

    /// Nodes that take tasks, least used first.
    pub(super) fn least_used(&self) -> impl Iterator<Item = At> + '_ {
        self.order.iter().map(|(_, _, at)| *at)
    }

    pub(super) fn rank(&self, at: At) -> Rank {
        let node = self.node(at);
        (
            node.avoided(),
            node.of_service,
            node.share(),
            node.tasks,
            at,
        )
    }

    /// A node that runs nothing of the service and has nothing against it.
    pub(super) fn is_untouched(&self, at: At) -> bool {
        let node = self.node(at);
        node.of_service == 0 && node.avoided() == 0
    }

    /// Marks the nodes with what they have of a service.
    pub(super) fn begin_group(
        &mut self,
        work: &ServiceWork<'_>,
        of_group: impl Fn(&Work<'_>) -> bool,
        filters: &Filters,
        now: Timestamp,
    ) {
        self.mark_quiet(work.quiet.on_nodes());
        self.skew = Skew::new(&self.nodes, &self.by_id, &work.tasks, filters);
        for task in &work.tasks {
            let Some(at) = task.node.and_then(|id| self.index_of(id)) else {
                continue;
            };
            let node = &mut self.nodes[at as usize];
            if task.is_live() && task.may_run() {
                // What leaves its node is not there for long.
                node.of_service += u32::from(task.leaves.is_none());
                // A surge of an update that starts first may pass the limit;
                // otherwise old and new would block each other for ever.
                node.of_limit += u32::from(!filters.surges || of_group(task));
            } else if of_group(task) {
                match failures(task, now) {
                    0 => continue,
                    count => node.failures += count,
                }
            } else {
                continue;
            }
            self.marked.push(at);
        }
    }

    /// Both are in the order of their ids.
    fn mark_quiet(&mut self, counts: impl Iterator<Item = (NodeId, u32)>) {
        let mut nodes = self.nodes.iter_mut().peekable();
        for (id, count) in counts {
            self.others_marked = true;
            while nodes.next_if(|node| node.id < id).is_some() {}
            if let Some(node) = nodes.next_if(|node| node.id == id) {
                node.of_service += count;
                node.of_limit += count;
            }
        }
    }

    pub(super) fn end_group(&mut self) {
        self.skew = Skew::default();
        if std::mem::take(&mut self.others_marked) {
            self.nodes.iter_mut().for_each(FleetNode::unmark);
        }
        for at in std::mem::take(&mut self.marked) {
            let node = &mut self.nodes[at as usize];
            node.unmark();
            let (old, new) = (node.ordered, (node.share(), node.tasks));
            if old != new {
                node.ordered = new;
                if self.order.remove(&(old.0, old.1, at)) {
                    self.order.insert((new.0, new.1, at));
                }
            }
        }
    }

    /// One task of the present group on a node is as good as gone; what it takes up is not.
    pub(super) fn take_away(&mut self, at: At) {
        let node = &mut self.nodes[at as usize];
        node.of_service = node.of_service.saturating_sub(1);
        node.of_limit = node.of_limit.saturating_sub(1);
        self.marked.push(at);
    }

    /// It stays after all.
    pub(super) fn give_back(&mut self, at: At) {
        let node = &mut self.nodes[at as usize];
        node.of_service += 1;
        node.of_limit += 1;
    }

    /// Puts one more task of the present group on a node; returns what it is given of the
    /// node's generic resources.
    pub(super) fn add(&mut self, at: At, filters: &Filters) -> Generics {
        let node = &mut self.nodes[at as usize];
        let generic = node.take_in(&filters.resources);
        node.given.open(&filters.ports);
        node.tasks += 1;
        node.of_service += 1;
        node.of_limit += 1;
        self.skew.count(at);
        self.marked.push(at);
        generic
    }
}

//! What is told of why tasks are where they are.

use skep_types::{ByteCount, NanoCpus, NodeId, Protocol, ServiceId, Slot};
use std::collections::BTreeMap;

/// What is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// One service, on every node.
    Service(ServiceId),
    /// One node, for every service.
    Node(NodeId),
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Explained {
    /// What the nodes in question have and have given away.
    pub nodes: Vec<NodeUse>,
    /// Of a service: the node that gets the next task first, then the others in the order
    /// in which they would be taken, then those that take none.
    pub verdicts: Vec<Verdict>,
    /// Places of the service that have no task and will get none.
    pub vacancies: Vec<Vacancy>,
}

/// What a node has given away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeUse {
    /// The node.
    pub node: NodeId,
    /// Reserved by tasks that may run.
    pub cpu_reserved: NanoCpus,
    /// The same of memory.
    pub memory_reserved: ByteCount,
    /// Live tasks of all services.
    pub tasks: u32,
    /// Host-mode ports that are taken.
    pub ports: Vec<(Protocol, u16)>,
    /// How many of each generic resource are given away.
    pub generic: BTreeMap<String, u64>,
}

/// Whether a node would take one more task of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The service.
    pub service: ServiceId,
    /// The node.
    pub node: NodeId,
    /// Whether.
    pub fit: Fit,
    /// Live tasks of the service there.
    pub tasks: u32,
    /// Everything that is against it, the scheduler's own reason first; of one that
    /// takes tasks, why it comes last.
    pub why: Vec<String>,
}

/// Whether a node would take one more task of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fit {
    /// It is the one that gets the next; none of a job of which nothing runs.
    Next,
    /// It could.
    Fits,
    /// It has the one that a global service puts there.
    Serves,
    /// It does not.
    Unfit,
}

/// A place that stays empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vacancy {
    /// The slot; `None` of a global service.
    pub slot: Option<Slot>,
    /// The node of a global service's place.
    pub node: Option<NodeId>,
    /// Why.
    pub why: String,
}

//! When nodes were last heard of: memory of the leader, never replicated.

use skep_types::{NodeId, Timestamp};
use std::collections::BTreeMap;
use std::time::Duration;

/// What the leader heard since it leads.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Liveness {
    /// Since when this manager leads.
    pub leader_since: Timestamp,
    /// Last sign of life of each node since then.
    pub heard: BTreeMap<NodeId, Heard>,
    /// The manager that led before, and when it was last heard, as a manager. Its
    /// silence began before this one led.
    pub former: Option<(NodeId, Timestamp)>,
}

/// A sign of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    /// When it came.
    pub at: Timestamp,
    /// Heartbeat period the node was told then: it may be silent that long,
    /// whatever the cluster's period has become since.
    pub period: Duration,
}

impl Liveness {
    /// A new leader's: nothing heard yet.
    pub fn new(leader_since: Timestamp) -> Liveness {
        Liveness {
            leader_since,
            heard: BTreeMap::new(),
            former: None,
        }
    }

    /// Takes note of a sign of life, answered with the period until the next.
    /// Returns the one before.
    pub fn hear(&mut self, node: NodeId, at: Timestamp, period: Duration) -> Option<Heard> {
        self.heard.insert(node, Heard { at, period })
    }
}

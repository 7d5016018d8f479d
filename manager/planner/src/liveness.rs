//! When nodes were last heard of: memory of the leader, never replicated.

use skep_types::{NodeId, Timestamp};
use std::collections::BTreeMap;

/// What the leader heard since it leads.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Liveness {
    /// Since when this manager leads.
    pub leader_since: Timestamp,
    /// Last sign of life of each node since then.
    pub heard: BTreeMap<NodeId, Timestamp>,
}

impl Liveness {
    /// A new leader's: nothing heard yet.
    pub fn new(leader_since: Timestamp) -> Liveness {
        Liveness {
            leader_since,
            heard: BTreeMap::new(),
        }
    }

    /// A sign of life.
    pub fn hear(&mut self, node: NodeId, at: Timestamp) {
        let last = self.heard.entry(node).or_insert(at);
        *last = at.max(*last);
    }
}

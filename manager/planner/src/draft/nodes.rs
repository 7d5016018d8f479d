//! The nodes of a pass. A pass goes over all of them many times, so they lie side by side.

use skep_types::{Availability, Node, NodeId, NodeState};
use std::sync::Arc;

/// A node in this pass.
pub(crate) struct NodeWork<'a> {
    pub(crate) node: &'a Arc<Node>,
    /// Its state, as this pass leaves it.
    pub(crate) state: NodeState,
}

impl NodeWork<'_> {
    /// New tasks may go there.
    pub(crate) fn takes_tasks(&self) -> bool {
        self.state == NodeState::Ready && self.node.spec.availability == Availability::Active
    }

    /// What is there stays, though no new task may come.
    pub(crate) fn keeps_tasks(&self) -> bool {
        self.state == NodeState::Ready && self.node.spec.availability == Availability::Pause
    }

    /// It is silent, and that is agreed on: nothing follows from what the store may yet
    /// refuse.
    pub(crate) fn is_down(&self) -> bool {
        self.state == NodeState::Down && self.node.status.state == NodeState::Down
    }
}

/// All nodes, by id. None comes or goes during a pass.
pub(crate) struct Nodes<'a>(Vec<(NodeId, NodeWork<'a>)>);

impl<'a> Nodes<'a> {
    /// Of nodes in the order of their ids, as stored.
    pub(crate) fn new(nodes: impl Iterator<Item = &'a Arc<Node>>) -> Nodes<'a> {
        let work = |node: &'a Arc<Node>| {
            let state = node.status.state;
            (node.id, NodeWork { node, state })
        };
        let nodes: Vec<_> = nodes.map(work).collect();
        debug_assert!(nodes.is_sorted_by(|one, next| one.0 < next.0));
        Nodes(nodes)
    }

    pub(crate) fn get(&self, id: NodeId) -> Option<&NodeWork<'a>> {
        let at = self.0.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        Some(&self.0[at].1)
    }

    /// In the order of their ids.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (NodeId, &NodeWork<'a>)> {
        self.0.iter().map(|(id, work)| (*id, work))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (NodeId, &mut NodeWork<'a>)> {
        self.0.iter_mut().map(|(id, work)| (*id, work))
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &NodeWork<'a>> {
        self.0.iter().map(|(_, work)| work)
    }
}

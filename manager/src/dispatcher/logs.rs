//! Log requests under way: lines come from agents and go to whoever asked.

use skep_proto::pb;
use skep_types::NodeId;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use tokio::sync::mpsc;

/// Requests by number.
#[derive(Default)]
pub(crate) struct LogRequests {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    waiting: HashMap<u64, (NodeId, mpsc::Sender<pb::PublishLogsRequest>)>,
}

impl LogRequests {
    /// A new request to one node; `lines` gets what its agent sends for it.
    pub(crate) fn begin(&self, node: NodeId, lines: mpsc::Sender<pb::PublishLogsRequest>) -> u64 {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        // Agents may still answer those of an earlier leader.
        let number = rand::random();
        inner.waiting.insert(number, (node, lines));
        number
    }

    /// Forgets a request.
    pub(crate) fn end(&self, number: u64) {
        self.inner
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .waiting
            .remove(&number);
    }

    /// Where lines of this request go; `None` when nobody waits any more, or not
    /// for this node.
    pub(crate) fn get(
        &self,
        number: u64,
        from: NodeId,
    ) -> Option<mpsc::Sender<pb::PublishLogsRequest>> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let (node, lines) = inner.waiting.get(&number)?;
        (*node == from).then(|| lines.clone())
    }
}

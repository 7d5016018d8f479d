//! Log requests under way: lines come from agents and go to whoever asked.

use skep_proto::pb;
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
    next: u64,
    waiting: HashMap<u64, mpsc::Sender<pb::PublishLogsRequest>>,
}

impl LogRequests {
    /// A new request; `lines` gets what agents send for it.
    pub(crate) fn begin(&self, lines: mpsc::Sender<pb::PublishLogsRequest>) -> u64 {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.next += 1;
        let number = inner.next;
        inner.waiting.insert(number, lines);
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

    /// Where lines of this request go; `None` when nobody waits any more.
    pub(crate) fn get(&self, number: u64) -> Option<mpsc::Sender<pb::PublishLogsRequest>> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.waiting.get(&number).cloned()
    }
}

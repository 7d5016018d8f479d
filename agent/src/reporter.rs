//! Says where tasks are: only the newest word of each, until it was taken.

use skep_types::{TaskId, TaskStatus};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Statuses on their way to the managers. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Reporter {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    pending: Mutex<BTreeMap<TaskId, TaskStatus>>,
    arrived: Notify,
}

impl Reporter {
    fn pending(&self) -> MutexGuard<'_, BTreeMap<TaskId, TaskStatus>> {
        self.inner
            .pending
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// A task is somewhere new.
    pub(crate) fn report(&self, task: TaskId, status: TaskStatus) {
        self.pending().insert(task, status);
        self.inner.arrived.notify_one();
    }

    /// A task is of no interest to anybody any more.
    pub(crate) fn forget(&self, task: TaskId) {
        self.pending().remove(&task);
    }

    /// Waits for something to say and returns all of it.
    pub(crate) async fn next(&self) -> Vec<(TaskId, TaskStatus)> {
        loop {
            let batch: Vec<_> = self
                .pending()
                .iter()
                .map(|(id, status)| (*id, status.clone()))
                .collect();
            if !batch.is_empty() {
                return batch;
            }
            self.inner.arrived.notified().await;
        }
    }

    /// The managers took these; what is newer stays.
    pub(crate) fn taken(&self, batch: &[(TaskId, TaskStatus)]) {
        let mut pending = self.pending();
        for (id, status) in batch {
            if pending.get(id) == Some(status) {
                pending.remove(id);
            }
        }
    }
}

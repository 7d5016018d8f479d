//! Says where tasks are: only the newest word of each, until it was taken.

use skep_types::{TaskId, TaskStatus};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Statuses on their way to the managers. Cheap to clone.
#[derive(Clone, Default)]
pub struct Reporter {
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
    pub fn report(&self, task: TaskId, status: TaskStatus) {
        self.pending().insert(task, status);
        self.inner.arrived.notify_one();
    }

    /// A task is of no interest to anybody any more.
    pub fn forget(&self, task: TaskId) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use skep_types::TaskState;

    fn status(state: TaskState) -> TaskStatus {
        TaskStatus {
            state,
            ..TaskStatus::default()
        }
    }

    #[tokio::test]
    async fn only_the_newest_word_of_a_task_is_said_and_none_is_lost() {
        let (reporter, task) = (Reporter::default(), TaskId::from_bits(1));
        reporter.report(task, status(TaskState::Starting));
        reporter.report(task, status(TaskState::Running));
        let batch = reporter.next().await;
        assert_eq!(batch, [(task, status(TaskState::Running))]);
        // What comes while a batch is on its way is not taken with it.
        reporter.report(task, status(TaskState::Failed));
        reporter.taken(&batch);
        assert_eq!(reporter.next().await, [(task, status(TaskState::Failed))]);
        reporter.taken(&[(task, status(TaskState::Failed))]);
        assert!(reporter.pending().is_empty());
    }

    #[tokio::test]
    async fn a_batch_that_was_not_taken_is_said_again() {
        let (reporter, task) = (Reporter::default(), TaskId::from_bits(1));
        reporter.report(task, status(TaskState::Running));
        assert_eq!(reporter.next().await, reporter.next().await);
        reporter.forget(task);
        assert!(reporter.pending().is_empty());
    }
}

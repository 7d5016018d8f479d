//! Says where tasks are: only the newest word of each, until it was taken.

use crate::contact::Contact;
use skep_types::{TaskId, TaskStatus};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Longest text of a status, in bytes. Managers keep no more, and take no message
/// that is much larger than a batch.
const TEXT_MAX: usize = 1024;
/// Size of a batch, and what a status takes beside its texts, in bytes.
const BATCH_BYTES: usize = 128 << 10;
const STATUS_BYTES: usize = 96;

/// Statuses on their way to the managers. Cheap to clone.
#[derive(Clone, Default)]
pub struct Reporter {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    pending: Mutex<BTreeMap<TaskId, TaskStatus>>,
    arrived: Notify,
    contact: Contact,
}

impl Reporter {
    fn pending(&self) -> MutexGuard<'_, BTreeMap<TaskId, TaskStatus>> {
        self.inner
            .pending
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// A task is somewhere new.
    pub fn report(&self, task: TaskId, mut status: TaskStatus) {
        for text in [
            &mut status.message,
            &mut status.error,
            &mut status.container,
        ] {
            text.truncate(text.floor_char_boundary(TEXT_MAX));
        }
        self.pending().insert(task, status);
        self.inner.arrived.notify_one();
    }

    /// A task is of no interest to anybody any more.
    pub fn forget(&self, task: TaskId) {
        self.pending().remove(&task);
    }

    /// Whether a manager hears any of it.
    pub fn contact(&self) -> &Contact {
        &self.inner.contact
    }

    /// Waits for something to say and returns as much of it as goes into one message.
    pub(crate) async fn next(&self) -> Vec<(TaskId, TaskStatus)> {
        loop {
            let mut bytes = 0;
            let batch: Vec<_> = self
                .pending()
                .iter()
                .take_while(|(_, status)| {
                    bytes += size(status);
                    bytes <= BATCH_BYTES
                })
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

fn size(status: &TaskStatus) -> usize {
    let texts = [&status.message, &status.error, &status.container];
    STATUS_BYTES + texts.iter().map(|text| text.len()).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message;
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

    #[tokio::test]
    async fn much_that_is_said_at_once_goes_in_several_batches() {
        let reporter = Reporter::default();
        let status = TaskStatus {
            error: "e".repeat(2 * BATCH_BYTES),
            ..TaskStatus::default()
        };
        (0..1000).for_each(|task| reporter.report(TaskId::from_bits(task), status.clone()));
        let (mut said, mut batches) = (0, 0);
        while said < 1000 {
            let batch = reporter.next().await;
            let request = skep_proto::pb::UpdateTaskStatusRequest {
                session: vec![0; 8].into(),
                updates: batch
                    .iter()
                    .map(|(task, status)| skep_proto::pb::TaskStatusUpdate {
                        task: skep_proto::id_bytes(*task),
                        status: Some(status.into()),
                    })
                    .collect(),
            };
            assert!(request.encoded_len() <= BATCH_BYTES);
            reporter.taken(&batch);
            said += batch.len();
            batches += 1;
        }
        assert!(batches > 1);
        assert!(reporter.pending().is_empty());
    }
}

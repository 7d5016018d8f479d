//! Observations of agents on their way into the store, many in one entry.
//!
//! Batched by arrival: while one entry is being agreed on, all that arrives
//! waits and becomes the next. No clock is involved. A manager that does not
//! lead passes its batch on.

use super::door;
use crate::error::ProposeError;
use crate::shared::{Lead, Shared};
use skep_manager_store::{Action, TaskAction};
use skep_proto::{id_bytes, pb};
use skep_types::{TaskId, TaskStatus};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tonic::{Code, Status};

/// Longest text of a status, in bytes: it is read by people, and kept by every
/// manager.
const TEXT_MAX: usize = 1024;

/// Cuts what is too long to keep.
pub(crate) fn shorten(status: &mut TaskStatus) {
    for text in [
        &mut status.message,
        &mut status.error,
        &mut status.container,
    ] {
        text.truncate(text.floor_char_boundary(TEXT_MAX));
    }
}

/// Reports taken together at most.
const BATCH: usize = 10_000;

/// Pause before a leader is asked again that could not agree.
const AGAIN: Duration = Duration::from_millis(100);

type Answer = Result<(), String>;

/// Takes reports. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Statuses {
    reports: mpsc::Sender<Report>,
}

struct Report {
    updates: Vec<(TaskId, TaskStatus)>,
    done: oneshot::Sender<Answer>,
}

impl Statuses {
    /// Starts the batching; it ends when all clones are dropped.
    pub(crate) fn start(shared: Shared) -> Statuses {
        let (reports, mut queue) = mpsc::channel::<Report>(1024);
        tokio::spawn(async move {
            while let Some(first) = queue.recv().await {
                let mut count = first.updates.len();
                let mut batch = vec![first];
                while count < BATCH {
                    let Ok(report) = queue.try_recv() else { break };
                    count += report.updates.len();
                    batch.push(report);
                }
                let (updates, mut waiting): (Vec<_>, Vec<_>) = batch
                    .into_iter()
                    .map(|report| (report.updates, report.done))
                    .unzip();
                let updates = updates.concat();
                let answer = tokio::select! {
                    answer = deliver(&shared, &updates) => answer,
                    // Agents that have gone ask again elsewhere.
                    () = all_gone(&mut waiting) => continue,
                };
                for done in waiting {
                    // The agent has gone away when this fails; it will ask again.
                    let _ = done.send(answer.clone());
                }
            }
        });
        Statuses { reports }
    }

    /// Returns once the observations are agreed on.
    pub(crate) async fn report(&self, updates: Vec<(TaskId, TaskStatus)>) -> Answer {
        let (done, answer) = oneshot::channel();
        let stopped = || "this manager is stopping".to_owned();
        self.reports
            .send(Report { updates, done })
            .await
            .map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }
}

async fn all_gone(waiting: &mut [oneshot::Sender<Answer>]) {
    for done in waiting {
        done.closed().await;
    }
}

/// Has the leader agree on these, whoever that is or becomes. To say a thing
/// twice is harmless.
async fn deliver(shared: &Shared, updates: &[(TaskId, TaskStatus)]) -> Answer {
    let mut leadership = shared.raft.leadership();
    loop {
        leadership.borrow_and_update();
        let error = match shared.lead() {
            Lead::Here => match agree(shared, updates.to_vec()).await {
                Ok(()) => return Ok(()),
                Err(error) if !error.passes() => return Err(error.to_string()),
                Err(error) => error.to_string(),
            },
            Lead::At(address) => {
                let passed = tokio::select! {
                    passed = pass_on(shared, &address, updates) => passed,
                    Ok(()) = leadership.changed() => continue,
                };
                match passed {
                    Ok(()) => return Ok(()),
                    // A connection that breaks has many codes.
                    Err(status) if is_final(status.code()) => {
                        return Err(status.message().to_owned());
                    }
                    Err(status) => status.message().to_owned(),
                }
            }
            Lead::Nowhere => "there is no leader".to_owned(),
        };
        tracing::debug!(%error, "observations are not agreed on yet");
        tokio::select! {
            changed = leadership.changed() => if changed.is_err() {
                return Err("this manager is stopping".to_owned());
            },
            () = tokio::time::sleep(AGAIN) => {}
        }
    }
}

/// Whether it would be refused again.
fn is_final(code: Code) -> bool {
    matches!(
        code,
        Code::InvalidArgument
            | Code::PermissionDenied
            | Code::Unauthenticated
            | Code::ResourceExhausted
            | Code::FailedPrecondition
            | Code::Unimplemented
    )
}

/// Makes them an entry. Run by the leader only.
pub(crate) async fn agree(
    shared: &Shared,
    updates: Vec<(TaskId, TaskStatus)>,
) -> Result<(), ProposeError> {
    let action = TaskAction::UpdateStatus { updates };
    shared.propose_all(&[Action::Task(action)]).await.map(drop)
}

async fn pass_on(
    shared: &Shared,
    address: &str,
    updates: &[(TaskId, TaskStatus)],
) -> Result<(), Status> {
    let update = |(task, status): &(TaskId, TaskStatus)| pb::TaskStatusUpdate {
        task: id_bytes(*task),
        status: Some(status.into()),
    };
    let request = pb::ReportRequest {
        updates: updates.iter().map(update).collect(),
    };
    let mut leader = door::leader(shared, address)?;
    leader.report(request).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_two_characters() {
        let mut status = TaskStatus {
            message: "starting".to_owned(),
            error: format!("e{}", "ü".repeat(TEXT_MAX)),
            ..TaskStatus::default()
        };
        shorten(&mut status);
        assert_eq!(status.message, "starting");
        assert_eq!(status.error, format!("e{}", "ü".repeat(511)));
    }
}

//! Observations of agents on their way into the store, many in one entry.
//!
//! Batched by arrival: while one entry is being agreed on, all that arrives
//! waits and becomes the next. No clock is involved.

use crate::error::ProposeError;
use crate::shared::Shared;
use skep_manager_store::{Action, TaskAction};
use skep_types::{TaskId, TaskStatus};
use tokio::sync::{mpsc, oneshot};

/// Reports taken together at most.
const BATCH: usize = 10_000;

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
                let (updates, waiting): (Vec<_>, Vec<_>) = batch
                    .into_iter()
                    .map(|report| (report.updates, report.done))
                    .unzip();
                let action = TaskAction::UpdateStatus {
                    updates: updates.concat(),
                };
                let answer = answer(shared.propose_all(&[Action::Task(action)]).await);
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

fn answer(result: Result<usize, ProposeError>) -> Answer {
    result.map(drop).map_err(|error| error.to_string())
}

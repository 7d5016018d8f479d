//! Finding the containers that an earlier daemon left.

use crate::runtime::read_record;
use crate::shim::{self, NoAnswer};
use crate::{Error, Result, Runtime, alive};
use skep_agent_shim_api::{ControlRequest, ControlResponse, ExitRecord};
use skep_types::TaskId;
use std::fs;
use std::io;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// How long a shim is waited for: for its answer, and for the end of the making
/// of its container.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// How often a shim that is making its container is asked.
const INTERVAL: Duration = Duration::from_millis(20);

/// A container that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adopted {
    /// The task it belongs to.
    pub task: TaskId,
    /// How it is.
    pub state: AdoptedState,
}

/// How a container was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdoptedState {
    /// It waits for its start.
    Created {
        /// Process 1 of the container.
        pid: i32,
    },
    /// It runs.
    Running {
        /// Process 1 of the container.
        pid: i32,
    },
    /// It has ended.
    Exited(ExitRecord),
    /// It was lost together with its shim, or was never complete. What was left
    /// of it is killed; its log is there until it is removed.
    Lost,
}

impl Runtime {
    /// Finds all containers: a socket that answers means running, an exit record
    /// finished, neither lost. One whose shim lives but does not answer is taken
    /// for running. Call it once, before anything else.
    ///
    /// # Errors
    /// The directory of the containers cannot be read.
    pub async fn adopt(&self) -> Result<Vec<Adopted>> {
        let dir = self.tasks_dir();
        let mut found = Vec::new();
        for entry in fs::read_dir(&dir).map_err(Error::file("read", &dir))? {
            let entry = entry.map_err(Error::file("read", &dir))?;
            // Whatever else lies there is not ours.
            let Some(task) = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok())
            else {
                continue;
            };
            // One that cannot be looked at must not make the others lost; whether
            // it runs is found out by whoever waits for it.
            let state = self.look_at(&task).await.unwrap_or_else(|error| {
                tracing::error!(%task, error = %error.chain(), "container taken for running");
                AdoptedState::Running { pid: 0 }
            });
            found.push(Adopted { task, state });
        }
        found.sort_by_key(|adopted| adopted.task);
        Ok(found)
    }

    async fn look_at(&self, task: &TaskId) -> Result<AdoptedState> {
        let bundle = self.bundle(task);
        let end = Instant::now() + ANSWER_LIMIT;
        loop {
            let answer = timeout(ANSWER_LIMIT, shim::ask(&bundle, &ControlRequest::State)).await;
            match answer {
                Ok(Ok(ControlResponse::State(status))) if status.started => {
                    return Ok(AdoptedState::Running { pid: status.pid });
                }
                Ok(Ok(ControlResponse::State(status))) => {
                    return Ok(AdoptedState::Created { pid: status.pid });
                }
                Ok(Ok(ControlResponse::Exited(record))) => {
                    return Ok(AdoptedState::Exited(record));
                }
                Ok(Err(NoAnswer::Gone)) => {}
                Ok(other) => return Err(crate::runtime::unexpected(task, other)),
                // Slow is not dead: a busy machine must not cost a container.
                Err(_) => {
                    let source = NoAnswer::Broken(io::ErrorKind::TimedOut.into());
                    return Err(crate::runtime::unexpected(task, Err(source)));
                }
            }
            // In this order: one that has ended has written its record before.
            let lives = alive::has_shim(&bundle)?;
            if let Some(record) = read_record(&bundle)? {
                return Ok(AdoptedState::Exited(record));
            }
            if !lives || Instant::now() >= end {
                break;
            }
            // It listens as soon as its container is made.
            sleep(INTERVAL).await;
        }
        self.record_or_lost(task).await?;
        Ok(AdoptedState::Lost)
    }
}

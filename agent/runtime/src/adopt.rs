//! Finding the containers that an earlier daemon left.

use crate::runtime::read_record;
use crate::shim::{self, NoAnswer};
use crate::{Error, Result, Runtime, mounts};
use skep_agent_shim_api::{ControlRequest, ControlResponse, ExitRecord};
use skep_types::TaskId;
use std::fs;
use std::time::Duration;
use tokio::time::timeout;

/// A shim that does not answer within this hangs.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

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
    /// of it is killed and unmounted; its log is there until it is removed.
    Lost,
}

impl Runtime {
    /// Finds all containers: a socket that answers means running, an exit record
    /// finished, neither lost. Call it once, before anything else.
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
        let answer = timeout(ANSWER_LIMIT, shim::ask(&bundle, &ControlRequest::State)).await;
        match answer {
            Ok(Ok(ControlResponse::State(status))) if status.started => {
                return Ok(AdoptedState::Running { pid: status.pid });
            }
            Ok(Ok(ControlResponse::State(status))) => {
                return Ok(AdoptedState::Created { pid: status.pid });
            }
            Ok(Ok(ControlResponse::Exited(record))) => return Ok(AdoptedState::Exited(record)),
            Ok(Err(NoAnswer::Gone)) => {}
            Ok(other) => return Err(crate::runtime::unexpected(task, other)),
            Err(_) => tracing::warn!(%task, "the shim hangs; its container is given up"),
        }
        if let Some(record) = read_record(&bundle)? {
            return Ok(AdoptedState::Exited(record));
        }
        self.record_or_lost(task).await?;
        let dir = bundle.dir().to_owned();
        let task = *task;
        self.blocking(move |_| {
            mounts::unmount_below(&dir).map_err(|source| Error::Remove {
                task,
                what: "a mount".to_owned(),
                source,
            })
        })
        .await?;
        Ok(AdoptedState::Lost)
    }
}

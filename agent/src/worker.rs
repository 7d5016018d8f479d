//! The tasks of this node: starts a manager for each that is assigned, and
//! takes away what is no longer.

use crate::agent::AgentError;
use crate::executor::Executor;
use crate::ledger::Ledger;
use crate::reporter::Reporter;
use crate::task_manager::TaskManager;
use skep_agent_runtime::AdoptedState;
use skep_types::assignment::AssignmentSet;
use skep_types::{Task, TaskId, TaskState};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// Pause after a container could not be removed.
const REMOVE_RETRY: Duration = Duration::from_secs(1);

struct Running {
    assigned: watch::Sender<Arc<Task>>,
    manager: JoinHandle<()>,
}

/// The tasks of this node.
pub(crate) struct Worker {
    executor: Executor,
    ledger: Ledger,
    reporter: Reporter,
    tasks: BTreeMap<TaskId, Running>,
    /// Removals under way.
    removing: JoinSet<()>,
}

impl Worker {
    /// Takes up what was here before: tasks in the ledger, containers in the
    /// runtime. A container without a task is removed.
    pub(crate) async fn open(
        executor: Executor,
        ledger: Ledger,
        reporter: Reporter,
    ) -> Result<Worker, AgentError> {
        let mut worker = Worker {
            executor,
            ledger,
            reporter,
            tasks: BTreeMap::new(),
            removing: JoinSet::new(),
        };
        let known = worker.ledger.load()?;
        let found = worker.executor.runtime.adopt().await?;
        let mut found: BTreeMap<TaskId, AdoptedState> = found
            .into_iter()
            .map(|adopted| (adopted.task, adopted.state))
            .collect();
        for task in known {
            let state = found.remove(&task.id);
            worker.take_up(task, state);
        }
        for task in found.into_keys() {
            tracing::warn!(task.id = %task, "container without a task removed");
            worker.remove(task).await;
        }
        Ok(worker)
    }

    /// Goes on with a task where it was. One that was being made starts over;
    /// one whose container is gone without a word has failed.
    fn take_up(&mut self, mut task: Task, found: Option<AdoptedState>) {
        let had_container = task.status.state > TaskState::Preparing;
        let ended = task.status.state.is_terminal();
        if found.is_some() && had_container && !ended {
            // A container keeps its network until it is removed.
            self.executor.network.adopt(Arc::new(task.clone()));
        }
        match found {
            _ if ended => {}
            Some(AdoptedState::Running { .. }) if had_container => {}
            // The task manager's wait tells how it ended.
            Some(AdoptedState::Exited(_)) if had_container => {
                task.status.state = TaskState::Running;
            }
            Some(AdoptedState::Created { .. }) if had_container => {
                task.status.state = TaskState::Ready
            }
            _ if had_container => {
                task.status.state = TaskState::Failed;
                task.status.error =
                    "task: container was lost, e.g. by a restart of the node".to_owned();
            }
            _ => task.status.state = TaskState::Accepted,
        }
        // The managers may have missed the last word.
        self.reporter.report(task.id, task.status.clone());
        self.manage(Arc::new(task), true);
    }

    /// The managers said this is all this node is to do.
    pub(crate) async fn assign(&mut self, set: &AssignmentSet) {
        for (id, task) in &set.tasks {
            match self.tasks.get(id) {
                Some(running) => {
                    // What it is now is known better here than there.
                    running.assigned.send_if_modified(|known| {
                        let changed = known.desired != task.desired;
                        *known = task.clone();
                        changed
                    });
                }
                None if task.status.state.is_terminal() => {}
                None => self.manage(task.clone(), false),
            }
        }
        while self.removing.try_join_next().is_some() {}
        let gone: Vec<TaskId> = self
            .tasks
            .keys()
            .filter(|id| !set.tasks.contains_key(id))
            .copied()
            .collect();
        for id in gone {
            let Some(running) = self.tasks.remove(&id) else {
                continue;
            };
            let task = running.assigned.borrow().clone();
            drop(running.assigned);
            let (executor, ledger, reporter) = (
                self.executor.clone(),
                self.ledger.clone(),
                self.reporter.clone(),
            );
            // Stopping may take its time; other tasks must not wait for it.
            self.removing.spawn(async move {
                if let Err(error) = running.manager.await {
                    tracing::error!(task.id = %id, %error, "task manager ended badly");
                }
                if let Err(error) = executor.stop(&task).await {
                    tracing::debug!(task.id = %id, %error, "container not stopped");
                }
                forget(&executor, &ledger, &reporter, id).await;
            });
        }
    }

    fn manage(&mut self, task: Arc<Task>, adopted: bool) {
        let id = task.id;
        let status = task.status.clone();
        let (assigned, receiver) = watch::channel(task);
        let manager = TaskManager {
            executor: self.executor.clone(),
            ledger: self.ledger.clone(),
            reporter: self.reporter.clone(),
            assigned: receiver,
            status,
            adopted,
        };
        let manager = tokio::spawn(manager.run());
        self.tasks.insert(id, Running { assigned, manager });
    }

    async fn remove(&self, task: TaskId) {
        forget(&self.executor, &self.ledger, &self.reporter, task).await;
    }

    /// Stops and removes everything: the node leaves its swarm.
    pub(crate) async fn clear(&mut self) {
        self.assign(&AssignmentSet::default()).await;
        while self.removing.join_next().await.is_some() {}
    }
}

async fn forget(executor: &Executor, ledger: &Ledger, reporter: &Reporter, task: TaskId) {
    // What is forgotten too early is found by nobody.
    while let Err(error) = executor.remove(task).await {
        tracing::warn!(task.id = %task, %error, "container not removed, trying again");
        tokio::time::sleep(REMOVE_RETRY).await;
    }
    reporter.forget(task);
    if let Err(error) = ledger.remove(task) {
        tracing::warn!(task.id = %task, %error, "task file not removed");
    }
}

//! The tasks of this node: starts a manager for each that is assigned, and
//! takes away what is no longer.

use crate::agent::AgentError;
use crate::executor::Executor;
use crate::ledger::Ledger;
use crate::reporter::Reporter;
use crate::task_manager::{TaskManager, is_unsaid, now, unsaid};
use skep_agent_planner::restart::{self, Ended};
use skep_agent_runtime::AdoptedState;
use skep_types::assignment::AssignmentSet;
use skep_types::{Task, TaskId, TaskState, TaskStatus, Timestamp};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot::{self, error::TryRecvError};
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
    /// The tasks that they are of; a receiver ends with its removal.
    leaving: BTreeMap<TaskId, oneshot::Receiver<()>>,
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
            leaving: BTreeMap::new(),
        };
        let known = worker.ledger.load()?;
        let same_boot = worker.ledger.mark_boot()?;
        let found = worker.executor.runtime.adopt().await?;
        let mut found: BTreeMap<TaskId, AdoptedState> = found
            .into_iter()
            .map(|adopted| (adopted.task, adopted.state))
            .collect();
        for task in known {
            let state = found.remove(&task.id);
            worker.take_up(task, state, same_boot).await;
        }
        for task in found.into_keys() {
            tracing::warn!(task.id = %task, "removing a container without a task");
            // One that cannot be removed must not keep the agent from starting.
            worker.remove(task, async {});
        }
        Ok(worker)
    }

    /// Goes on with a task where it was. The container counts for more than what was
    /// written of it: a disk may have been full.
    async fn take_up(&mut self, mut task: Task, found: Option<AdoptedState>, same_boot: bool) {
        let ended = task.status.state.is_terminal();
        let has_container = matches!(
            found,
            Some(
                AdoptedState::Running { .. }
                    | AdoptedState::Created { .. }
                    | AdoptedState::Exited(_)
            )
        );
        if has_container && (!ended || is_unsaid(&task.status)) {
            // It keeps its network until it is removed.
            self.executor.network.adopt(Arc::new(task.clone()));
        }
        if !ended {
            bring_up_to(&self.ledger, &mut task, found.as_ref(), same_boot).await;
        }
        if !is_unsaid(&task.status) {
            // The managers may have missed the last word.
            self.reporter.report(task.id, restart::said(&task.status));
        }
        self.manage(Arc::new(task), true);
    }

    /// The managers said this is all this node is to do.
    pub(crate) async fn assign(&mut self, set: &AssignmentSet) {
        for (id, task) in &set.tasks {
            match self.tasks.get(id) {
                Some(running) => {
                    if running.assigned.borrow().attachments != task.attachments {
                        self.executor.network.update(task);
                    }
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
        self.leaving
            .retain(|_, left| matches!(left.try_recv(), Err(TryRecvError::Empty)));
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
            let executor = self.executor.clone();
            // Stopping may take its time; other tasks must not wait for it.
            self.remove(id, async move {
                if let Err(error) = running.manager.await {
                    tracing::error!(task.id = %id, %error, "task manager ended badly");
                }
                if let Err(error) = executor.stop(&task).await {
                    tracing::debug!(task.id = %id, %error, "container not stopped");
                }
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
            last: None,
        };
        let left = self.leaving.remove(&id);
        let manager = tokio::spawn(async move {
            if let Some(left) = left {
                // It never says a word: it ends.
                let _ = left.await;
            }
            manager.run().await;
        });
        self.tasks.insert(id, Running { assigned, manager });
    }

    /// Removes every container there is, without asking it to stop.
    pub(crate) async fn remove_all(&mut self) {
        self.removing.shutdown().await;
        match self.executor.runtime.adopt().await {
            Ok(found) => {
                for adopted in found {
                    self.remove(adopted.task, async {});
                }
                while self.removing.join_next().await.is_some() {}
            }
            Err(error) => tracing::error!(error = %error.chain(), "containers not looked for"),
        }
    }

    /// Removes a container beside everything else, once `before` is done. A task
    /// of that id that is assigned anew waits for it.
    fn remove(&mut self, task: TaskId, before: impl Future<Output = ()> + Send + 'static) {
        let (executor, ledger, reporter) = (
            self.executor.clone(),
            self.ledger.clone(),
            self.reporter.clone(),
        );
        let (removed, left) = oneshot::channel::<()>();
        self.leaving.insert(task, left);
        self.removing.spawn(async move {
            before.await;
            forget(&executor, &ledger, &reporter, task).await;
            drop(removed);
        });
    }

    /// Stops and removes everything: the node leaves its swarm.
    pub(crate) async fn clear(&mut self) {
        self.assign(&AssignmentSet::default()).await;
        while self.removing.join_next().await.is_some() {}
    }
}

/// Brings a task to what was found of its container. That it was lost is written
/// down, so that the next daemon knows the same of it; whether it is said, or starts
/// again, is the task manager's.
async fn bring_up_to(
    ledger: &Ledger,
    task: &mut Task,
    found: Option<&AdoptedState>,
    same_boot: bool,
) {
    task.status.state = taken_up(task.status.state, found, same_boot);
    if !task.status.state.is_terminal() {
        return;
    }
    is_lost(&mut task.status, now());
    task.status = unsaid(
        &task.status,
        Ended {
            state: task.status.state,
            at: task.status.at,
        },
    );
    if let Err(error) = ledger.put(task.clone()).await {
        // It is found lost by the next daemon, too.
        tracing::error!(task.id = %task.id, %error, "task not recorded");
    }
}

/// What is said of a task that was found lost now. When it ended nobody knows; when it
/// began to run would be wrong by all the time that it ran.
fn is_lost(status: &mut TaskStatus, now: Timestamp) {
    let (message, error) = match status.state {
        TaskState::Orphaned => ("lost", "task: lost when its node was restarted"),
        _ => ("failed", "task: container was lost"),
    };
    status.at = now;
    status.pid = 0;
    message.clone_into(&mut status.message);
    error.clone_into(&mut status.error);
}

/// Where a task is that was last known at `state`, by what was found of its
/// container. One that was being made starts over, unless the machine was started
/// anew since: then `state` may lag behind what the managers were told, and what is
/// gone went with the machine, by no fault of the task.
fn taken_up(state: TaskState, found: Option<&AdoptedState>, same_boot: bool) -> TaskState {
    match found {
        // Starting is idempotent, and looks at the health again.
        Some(AdoptedState::Running { .. }) => state.max(TaskState::Starting),
        // The task manager's wait tells how it ended.
        Some(AdoptedState::Exited(_)) => TaskState::Running,
        Some(AdoptedState::Created { .. }) => TaskState::Ready,
        None if state < TaskState::Preparing => TaskState::Accepted,
        Some(AdoptedState::Lost) | None if state <= TaskState::Preparing && same_boot => {
            TaskState::Accepted
        }
        Some(AdoptedState::Lost) | None if same_boot => TaskState::Failed,
        Some(AdoptedState::Lost) | None => TaskState::Orphaned,
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

#[cfg(test)]
mod tests {
    use super::*;
    use skep_agent_runtime::ExitRecord;

    #[test]
    fn what_is_found_of_a_container_counts_for_more_than_what_was_written() {
        use TaskState::{Accepted, Failed, Orphaned, Preparing, Ready, Running, Starting};
        let running = Some(AdoptedState::Running { pid: 7 });
        let created = Some(AdoptedState::Created { pid: 7 });
        let exited = Some(AdoptedState::Exited(ExitRecord {
            code: 0,
            signal: None,
            oom: false,
            at_unix_nanos: 0,
            error: None,
        }));
        let lost = Some(AdoptedState::Lost);
        for (state, found, same_boot, expected) in [
            (Running, &running, true, Running),
            // The disk was full.
            (Preparing, &running, true, Starting),
            (Preparing, &created, true, Ready),
            (Starting, &created, true, Ready),
            (Preparing, &exited, true, Running),
            // Killed while the container was made.
            (Preparing, &lost, true, Accepted),
            (Preparing, &None, true, Accepted),
            (Accepted, &None, false, Accepted),
            // It may have run before the power went.
            (Preparing, &lost, false, Orphaned),
            (Preparing, &None, false, Orphaned),
            (Running, &lost, false, Orphaned),
            (Running, &exited, false, Running),
            (Starting, &lost, true, Failed),
            (Running, &None, true, Failed),
        ] {
            let found = found.as_ref();
            assert_eq!(
                taken_up(state, found, same_boot),
                expected,
                "{state} {found:?} {same_boot}"
            );
        }
    }

    #[tokio::test]
    async fn a_lost_task_ends_when_that_is_found_and_the_next_daemon_knows_it() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(dir.path().to_owned()).unwrap();
        for (same_boot, state) in [(true, TaskState::Failed), (false, TaskState::Orphaned)] {
            let mut task = running();
            let began = now();
            let lost = Some(&AdoptedState::Lost);
            bring_up_to(&ledger, &mut task, lost, same_boot).await;
            let status = &task.status;
            assert_eq!((status.state, status.pid), (state, 0));
            assert!(is_unsaid(status));
            // It began to run in 1970, and did not end then.
            assert!(status.at >= began, "{:?}", status.at);
            assert!(status.message != "started" && !status.error.is_empty());
            assert_eq!(ledger.load().unwrap(), [task]);
        }
    }

    fn running() -> Task {
        Task {
            id: TaskId::from_bits(1),
            meta: Default::default(),
            service: skep_types::ServiceId::from_bits(9),
            service_name: "web".into(),
            slot: skep_types::Slot(1),
            node: None,
            spec: Arc::default(),
            spec_version: skep_types::Version(1),
            desired: TaskState::Running,
            status: TaskStatus {
                state: TaskState::Running,
                at: Timestamp(1),
                message: "started".to_owned(),
                pid: 7,
                ..TaskStatus::default()
            },
            attachments: Vec::new(),
            cause: Default::default(),
            stop_cause: None,
            restarts: Default::default(),
            start_at: None,
            run: 0,
            generic: Default::default(),
        }
    }
}

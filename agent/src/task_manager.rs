//! Drives one task through its life: asks the planner what is next, has it
//! done, says where the task is. One of these runs for every task of the node.
//! What follows an end is `again`'s.

mod again;

pub(crate) use again::{is_unsaid, unsaid};

use crate::executor::{Executor, Failure};
use crate::health::{Health, Readiness, Verdict};
use crate::ledger::{Ledger, LedgerError};
use crate::reporter::Reporter;
use skep_agent_planner::patience::Patience;
use skep_agent_planner::restart::{self, Ended};
use skep_agent_planner::task::{Step, after_exit, after_failure, step};
use skep_agent_runtime::ExitRecord;
use skep_types::{SHUTDOWN_DELAY, Task, TaskState, TaskStatus, Timestamp, chain};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;

/// First and longest pause between attempts at something that failed for now.
const RETRY_MIN: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(10);

/// What drives a task.
pub(crate) struct TaskManager {
    pub(crate) executor: Executor,
    pub(crate) ledger: Ledger,
    pub(crate) reporter: Reporter,
    /// The task as assigned; its status is this manager's own.
    pub(crate) assigned: watch::Receiver<Arc<Task>>,
    /// Where the task is.
    pub(crate) status: TaskStatus,
    /// The container ran before the daemon started.
    pub(crate) adopted: bool,
    /// The end after which this daemon started it again last.
    pub(crate) last: Option<TaskStatus>,
}

impl TaskManager {
    /// Works until the task has ended and nothing more is wanted of it, or
    /// the assignment is gone.
    pub(crate) async fn run(mut self) {
        if is_unsaid(&self.status) {
            let task = self.assigned.borrow().clone();
            let (state, at) = (self.status.state, self.status.at);
            self.status.state = TaskState::Running;
            self.ends(&task, Ended { state, at }).await;
        }
        loop {
            let task = self.assigned.borrow_and_update().clone();
            match step(self.status.state, task.desired) {
                Step::Accept => self.to(&task, TaskState::Accepted, "accepted").await,
                Step::Prepare => self.prepare(&task).await,
                Step::Start => self.start(&task).await,
                Step::Wait => self.watch(&task).await,
                Step::Shutdown => self.shutdown(&task).await,
                Step::Idle => {
                    if self.assigned.changed().await.is_err() {
                        return;
                    }
                }
            }
            if self.assigned.has_changed().is_err() {
                return;
            }
        }
    }

    /// The task is somewhere new: on disk first, then said.
    async fn to(&mut self, task: &Task, state: TaskState, message: &str) {
        self.at(task, state, message, now()).await;
    }

    async fn at(&mut self, task: &Task, state: TaskState, message: &str, at: Timestamp) {
        self.status.not_ready &= state == TaskState::Running;
        if state.is_terminal() {
            // What is lost with its machine has no network any more.
            if self.status.state >= TaskState::Starting && state != TaskState::Orphaned {
                self.executor.network.sent(task.id).await;
            }
            // Its addresses may be given to another task from now on.
            self.executor.network.detach(task.id);
        }
        self.status.state = state;
        self.status.at = at;
        message.clone_into(&mut self.status.message);
        tracing::info!(task.id = %task.id, service = %task.service_name, %state,
            error = %self.status.error, "task");
        // The others are written before the container is made, or can be told from it.
        if state >= TaskState::Starting
            && let Err(error) = self.record(task).await
        {
            // The container is what counts; it will be found again by itself.
            tracing::error!(task.id = %task.id, %error, "task not recorded");
        }
        self.reporter.report(task.id, restart::said(&self.status));
    }

    /// Writes down where the task is.
    async fn record(&self, task: &Task) -> Result<(), LedgerError> {
        let status = self.status.clone();
        self.ledger
            .put(Task {
                status,
                ..task.clone()
            })
            .await
    }

    async fn fail(&mut self, task: &Task, error: String) {
        if self.status.state >= TaskState::Ready {
            // A task that is said to have ended is replaced: nothing of it may run.
            self.stop(task).await;
        }
        self.status.pid = 0;
        self.status.error = error;
        let state = after_failure(self.status.state);
        self.ends(task, Ended { state, at: now() }).await;
    }

    /// The assignment is gone, or wants the task stopped.
    async fn unwanted(assigned: &mut watch::Receiver<Arc<Task>>) {
        // An error means that it is gone.
        let _ = assigned
            .wait_for(|task| task.desired >= TaskState::Shutdown)
            .await;
    }

    async fn prepare(&mut self, task: &Arc<Task>) {
        if self.status.state == TaskState::Accepted {
            self.status.container = container_id();
            self.to(task, TaskState::Preparing, "preparing").await;
        }
        let mut pause = RETRY_MIN;
        let mut patience = Patience::default();
        loop {
            let container = self.status.container.clone();
            // A container nobody knows of would not be taken up again.
            let recorded = self.record(task).await;
            let prepare = async {
                recorded.map_err(|error| Failure::Temporary(chain(&error)))?;
                self.executor.prepare(task, &container).await
            };
            // A task that its node starts again is the managers' as soon as one hears it.
            let contact = self.reporter.contact().clone();
            let again = self.status.local.count > 0;
            let prepared = tokio::select! {
                prepared = prepare => prepared,
                () = Self::unwanted(&mut self.assigned) => return,
                () = contact.heard(), if again => return self.gives_way(task).await,
            };
            match prepared {
                Ok(()) => {
                    self.status.error.clear();
                    return self.to(task, TaskState::Ready, "prepared").await;
                }
                Err(Failure::Fatal(error)) => return self.fail(task, error).await,
                Err(Failure::Temporary(error)) => {
                    if patience.is_over(Instant::now(), contact.is_heard()) {
                        return self.fail(task, error).await;
                    }
                    if self.status.error != error {
                        // Somebody looking at the task should see why it waits.
                        self.status.error = error;
                        self.to(task, TaskState::Preparing, "preparing").await;
                    }
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        () = Self::unwanted(&mut self.assigned) => return,
                        () = contact.heard(), if again => return self.gives_way(task).await,
                    }
                    pause = (pause * 2).min(RETRY_MAX);
                }
            }
        }
    }

    async fn start(&mut self, task: &Arc<Task>) {
        if self.status.state == TaskState::Ready {
            self.to(task, TaskState::Starting, "starting").await;
        }
        let started = tokio::select! {
            started = self.executor.start(task.id) => started,
            () = Self::unwanted(&mut self.assigned) => return,
        };
        match started {
            Ok(pid) => self.status.pid = pid,
            Err(Failure::Fatal(error) | Failure::Temporary(error)) => {
                return self.fail(task, error).await;
            }
        }
        let Some(check) = self.executor.health_check(task) else {
            return self.runs(task).await;
        };
        // With a check, RUNNING means healthy.
        let mut health = Health::new(task.id, check);
        let executor = self.executor.clone();
        tokio::select! {
            exit = executor.wait(task.id) => self.exited(task, exit).await,
            verdict = health.verdict(&executor) => match verdict {
                Verdict::Healthy => {
                    self.runs(task).await;
                    self.watch_with(task, Some(health)).await;
                }
                Verdict::Unhealthy(reason) => self.unhealthy(task, &reason).await,
            },
            () = Self::unwanted(&mut self.assigned) => {}
        }
    }

    async fn watch(&mut self, task: &Arc<Task>) {
        let check = self.executor.health_check(task).filter(|_| self.adopted);
        self.watch_with(task, check.map(|check| Health::adopted(task.id, check)))
            .await;
    }

    async fn watch_with(&mut self, task: &Arc<Task>, mut health: Option<Health>) {
        let executor = self.executor.clone();
        let mut readiness = self.readiness(task);
        let mut exit = pin!(executor.wait(task.id));
        let mut sick = pin!(async {
            loop {
                match &mut health {
                    None => std::future::pending().await,
                    Some(health) => {
                        if let Verdict::Unhealthy(reason) = health.verdict(&executor).await {
                            return reason;
                        }
                    }
                }
            }
        });
        loop {
            let change = async {
                match &mut readiness {
                    None => std::future::pending().await,
                    Some(readiness) => readiness.change(&executor).await,
                }
            };
            tokio::select! {
                exit = &mut exit => return self.exited(task, exit).await,
                reason = &mut sick => return self.unhealthy(task, &reason).await,
                () = Self::unwanted(&mut self.assigned) => return,
                change = change => {
                    let change = change.map_err(|reason| format!("not ready: {reason}"));
                    self.turns(task, change).await;
                }
            }
        }
    }

    /// What tells whether the container takes traffic, where something does.
    fn readiness(&self, task: &Task) -> Option<Readiness> {
        let check = task.spec.container.readiness.clone()?;
        Some(Readiness::new(task.id, check, self.status.is_ready()))
    }

    /// It takes traffic from now on, or does not, and why.
    async fn turns(&mut self, task: &Task, change: Result<(), String>) {
        self.status.not_ready = change.is_err();
        self.status.error = change.err().unwrap_or_default();
        self.serves(task).await;
    }

    /// The container runs; whether it takes traffic is asked from now on.
    async fn runs(&mut self, task: &Task) {
        self.status.not_ready = task.spec.container.readiness.is_some();
        self.serves(task).await;
    }

    async fn serves(&mut self, task: &Task) {
        if !self.status.not_ready && self.status.ready_at.is_none() {
            let now = now();
            self.status.ready_at = Some(now);
            if self.status.local.count > 0 {
                self.status.local.at = now;
            }
        }
        let message = self.started();
        self.to(task, TaskState::Running, &message).await;
    }

    async fn exited(&mut self, task: &Task, exit: Result<ExitRecord, String>) {
        let exit = match exit {
            Ok(exit) => exit,
            Err(error) => return self.fail(task, error).await,
        };
        let code = exit.code;
        self.status.exit_code = Some(code);
        self.status.oom_killed = exit.oom;
        self.status.pid = 0;
        let state = after_exit(code);
        self.status.error = if state == TaskState::Complete {
            String::new()
        } else if let Some(error) = exit.error {
            error
        } else if exit.oom {
            format!("task: out of memory: killed (exit {code})")
        } else {
            format!("task: non-zero exit ({code})")
        };
        self.ends(task, Ended { state, at: now() }).await;
    }

    async fn unhealthy(&mut self, task: &Task, reason: &str) {
        let error = format!("task: unhealthy container: {reason}");
        if self.status.is_ready() {
            // It may take its time to stop: nothing more is sent to it meanwhile.
            self.turns(task, Err(error.clone())).await;
        }
        self.fail(task, error).await;
    }

    async fn shutdown(&mut self, task: &Task) {
        if self.status.state < TaskState::Starting {
            // Nothing ran, so there is nothing to keep.
            self.discard(task).await;
        } else {
            // Without managers it would be started again by the next daemon.
            if let Err(error) = self.record(task).await {
                tracing::error!(task.id = %task.id, %error, "task not recorded");
            }
            self.retire(task).await;
            self.stop(task).await;
            if let Ok(exit) = self.executor.wait(task.id).await {
                self.status.exit_code = Some(exit.code);
            }
        }
        self.status.pid = 0;
        self.status.error.clear();
        self.to(task, TaskState::Shutdown, "shutdown").await;
    }
}

impl TaskManager {
    /// Leaves the others time to send nothing more here: what reaches the container
    /// meanwhile is still served. Over as soon as nobody can be sent here.
    async fn retire(&mut self, task: &Task) {
        if !self.status.is_ready() {
            return;
        }
        let delay = task.spec.container.shutdown_delay;
        let executor = self.executor.clone();
        let gone = async { while self.assigned.changed().await.is_ok() {} };
        tokio::select! {
            () = tokio::time::sleep(delay.unwrap_or(SHUTDOWN_DELAY)) => {}
            () = executor.unreached(task) => {}
            () = gone => {}
            _ = executor.wait(task.id) => {}
        }
    }

    /// Stops the container, however long it takes.
    async fn stop(&self, task: &Task) {
        let mut pause = RETRY_MIN;
        while let Err(error) = self.executor.stop(task).await {
            tracing::warn!(task.id = %task.id, %error, "container not stopped, trying again");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RETRY_MAX);
        }
    }
}

/// Now, by the clock of this node.
pub(crate) fn now() -> Timestamp {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}

/// A new container id: 64 hexadecimal digits, as tools that look for
/// containers expect.
fn container_id() -> String {
    let bits: [u128; 2] = rand::random();
    format!("{:032x}{:032x}", bits[0], bits[1])
}

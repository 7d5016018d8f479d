//! The containers of a host, and the worker that drives them.
//!
//! They outlive the daemon, as with a real shim, and die with the machine, or are ended
//! from outside. What a task does next is `agent/planner`'s to say, as in a real agent.

use ipnet::Ipv4Net;
use skep_agent::{Reporter, Work};
use skep_agent_planner::restart::{self, Ended};
use skep_agent_planner::task::{Step, after_failure, step};
use skep_proto::pb;
use skep_proto::pb::dispatcher_client::DispatcherClient;
use skep_types::assignment::AssignmentSet;
use skep_types::{SecretId, ServiceId, Task, TaskId, TaskState, TaskStatus, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tonic::transport::Channel;

/// How a host treats its containers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Temper {
    /// Longest time a step takes.
    pub(crate) slowness: Duration,
    /// Of a hundred containers, how many fail within a few seconds.
    pub(crate) failures: u64,
}

/// What there is of a task on a host.
#[derive(Debug, Clone)]
pub(crate) struct Container {
    pub(crate) service: ServiceId,
    pub(crate) running: bool,
}

/// Everything of a host that its daemon finds again.
pub(crate) struct Shelf {
    /// What the daemon wrote down of each task it has taken on.
    ledger: BTreeMap<TaskId, Task>,
    pub(crate) containers: BTreeMap<TaskId, Container>,
    /// The secrets in the memory of the host.
    pub(crate) secrets: BTreeSet<SecretId>,
    /// The daemon has not run since the machine lost its power.
    booted: bool,
    pub(crate) temper: Temper,
    /// A change ends some of the containers.
    ends: watch::Sender<()>,
}

impl Default for Shelf {
    fn default() -> Shelf {
        Shelf {
            ledger: BTreeMap::new(),
            containers: BTreeMap::new(),
            secrets: BTreeSet::new(),
            booted: false,
            temper: Temper {
                slowness: Duration::from_millis(300),
                failures: 0,
            },
            ends: watch::Sender::default(),
        }
    }
}

impl Shelf {
    /// Somebody kills containers, about half of them.
    pub(crate) fn end_some(&self) {
        self.ends.send_replace(());
    }

    /// The machine loses its power: nothing runs, and memory is empty.
    pub(crate) fn power_lost(&mut self) {
        self.secrets.clear();
        self.booted = true;
        for container in self.containers.values_mut() {
            container.running = false;
        }
    }
}

/// The shelf of a host, shared by it and its daemon.
#[derive(Clone, Default)]
pub(crate) struct Containers(Arc<Mutex<Shelf>>);

impl Containers {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Shelf> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Driven {
    assigned: watch::Sender<Arc<Task>>,
    driver: JoinHandle<()>,
}

/// Drives the tasks of a host while its daemon runs.
pub(crate) struct Worker {
    containers: Containers,
    reporter: Reporter,
    driven: Mutex<BTreeMap<TaskId, Driven>>,
}

impl Worker {
    /// Takes up what the ledger has.
    pub(crate) fn open(containers: Containers, reporter: Reporter) -> Worker {
        let worker = Worker {
            containers,
            reporter,
            driven: Mutex::default(),
        };
        let booted = std::mem::take(&mut worker.containers.lock().booted);
        let known: Vec<Task> = worker.containers.lock().ledger.values().cloned().collect();
        for mut task in known {
            let running = {
                let shelf = worker.containers.lock();
                let container = shelf.containers.get(&task.id);
                container.is_some_and(|container| container.running)
            };
            let state = task.status.state;
            if !running && state >= TaskState::Starting && !state.is_terminal() {
                let state = match booted {
                    true => TaskState::Orphaned,
                    false => TaskState::Failed,
                };
                task.status = unsaid(&task.status, Ended { state, at: now() });
                let mut shelf = worker.containers.lock();
                shelf.ledger.insert(task.id, task.clone());
            }
            if !is_unsaid(&task.status) {
                worker.reporter.report(task.id, restart::said(&task.status));
            }
            worker.drive(Arc::new(task));
        }
        worker
    }

    fn drive(&self, task: Arc<Task>) {
        let id = task.id;
        let (assigned, wanted) = watch::channel(task.clone());
        let driver = Driver {
            containers: self.containers.clone(),
            reporter: self.reporter.clone(),
            task: Arc::unwrap_or_clone(task),
            wanted,
            last: None,
        };
        let driver = tokio::spawn(driver.drive());
        let driven = Driven { assigned, driver };
        self.driven().insert(id, driven);
    }

    fn driven(&self) -> MutexGuard<'_, BTreeMap<TaskId, Driven>> {
        self.driven.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait::async_trait]
impl Work for Worker {
    async fn assign(&self, set: Arc<AssignmentSet>, _: Ipv4Net) {
        let mut fresh = Vec::new();
        {
            let mut driven = self.driven();
            for (id, task) in &set.tasks {
                match driven.get(id) {
                    Some(known) => {
                        known.assigned.send_if_modified(|known| {
                            let changed = known.desired != task.desired;
                            *known = task.clone();
                            changed
                        });
                    }
                    None if task.status.state.is_terminal() => {}
                    None => fresh.push(task.clone()),
                }
            }
            driven.retain(|id, known| {
                let stays = set.tasks.contains_key(id);
                if !stays {
                    known.driver.abort();
                    self.reporter.forget(*id);
                }
                stays
            });
            let mut shelf = self.containers.lock();
            shelf.ledger.retain(|id, _| set.tasks.contains_key(id));
            shelf.containers.retain(|id, _| set.tasks.contains_key(id));
            shelf.secrets = set.secrets.keys().copied().collect();
        }
        for task in fresh {
            self.drive(task);
        }
    }

    fn logs(
        &self,
        _: DispatcherClient<Channel>,
        _: pb::LogRequest,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        // Containers here say nothing.
        Box::pin(std::future::ready(()))
    }
}

fn now() -> Timestamp {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    Timestamp(now.map_or(0, |now| now.as_millis() as u64))
}

/// An end that no manager was told of, as a real agent's ledger has it.
fn unsaid(status: &TaskStatus, ended: Ended) -> TaskStatus {
    TaskStatus {
        state: ended.state,
        at: ended.at,
        not_ready: true,
        ..status.clone()
    }
}

fn is_unsaid(status: &TaskStatus) -> bool {
    status.state.is_terminal() && status.not_ready
}

fn chance(percent: u64) -> bool {
    rand::random_range(0..100) < percent
}

/// Leads one task through its life.
struct Driver {
    containers: Containers,
    reporter: Reporter,
    wanted: watch::Receiver<Arc<Task>>,
    /// The task as it is here.
    task: Task,
    /// The end after which it is started again.
    last: Option<Ended>,
}

impl Driver {
    async fn drive(mut self) {
        if is_unsaid(&self.task.status) {
            let ended = Ended {
                state: self.task.status.state,
                at: self.task.status.at,
            };
            self.task.status.state = TaskState::Running;
            self.ends(ended).await;
        }
        loop {
            let desired = self.wanted.borrow_and_update().desired;
            self.task.desired = desired;
            let current = self.task.status.state;
            let Temper { slowness, failures } = self.containers.lock().temper;
            let takes = slowness.mul_f64(rand::random_range(0.0..1.0));
            match step(current, desired) {
                Step::Accept => self.to(TaskState::Accepted, now()),
                Step::Prepare => self.prepare(takes).await,
                Step::Start => {
                    tokio::time::sleep(takes).await;
                    if chance(failures / 2) {
                        let state = after_failure(current.max(TaskState::Starting));
                        self.task.status.state = TaskState::Starting;
                        self.ends(Ended { state, at: now() }).await;
                    } else {
                        self.task.status.ready_at.get_or_insert_with(now);
                        self.to(TaskState::Running, now());
                    }
                }
                Step::Wait => {
                    let wanted = &mut self.wanted;
                    let state = tokio::select! {
                        state = end(&self.containers, &self.task, failures) => state,
                        changed = wanted.changed() => match changed {
                            Ok(()) => continue,
                            Err(_) => return,
                        },
                    };
                    self.ends(Ended { state, at: now() }).await;
                }
                Step::Shutdown => {
                    tokio::time::sleep(takes).await;
                    self.to(TaskState::Shutdown, now());
                }
                Step::Idle => match self.wanted.changed().await {
                    Ok(()) => {}
                    Err(_) => return,
                },
            }
        }
    }

    /// Makes the container. One that is started again is the managers' as soon as one
    /// hears this node, and waits for that if its secrets are not here.
    async fn prepare(&mut self, takes: Duration) {
        let again = self.task.status.local.count > 0;
        let mut secrets = self.task.spec.container.secrets.iter();
        let shelf_has = |id| self.containers.lock().secrets.contains(&id);
        let lacks = again && secrets.any(|secret| !shelf_has(secret.id));
        let contact = self.reporter.contact().clone();
        let made = async {
            match lacks {
                true => std::future::pending().await,
                false => tokio::time::sleep(takes).await,
            }
        };
        tokio::select! {
            biased;
            () = contact.heard(), if again => {
                let ended = self.last.take().unwrap_or_else(|| Ended {
                    state: TaskState::Orphaned,
                    at: now(),
                });
                self.ends(ended).await;
            }
            () = made => self.to(TaskState::Ready, now()),
        }
    }

    /// The container has ended by itself; while no manager hears of it, it is started
    /// again.
    async fn ends(&mut self, ended: Ended) {
        let contact = self.reporter.contact().clone();
        let again = restart::again(&self.task, &self.task.status, ended);
        if let Some(again) = again.filter(|_| !contact.is_heard()) {
            self.put(unsaid(&self.task.status, ended));
            let alone = tokio::select! {
                biased;
                () = contact.heard() => false,
                _ = self.wanted.changed() => false,
                () = contact.silent(Instant::now() + again.delay) => true,
            };
            if alone {
                restart::begin(&mut self.task.status, again, now());
                let (task, count) = (self.task.id, self.task.status.local.count);
                tracing::info!(task.id = %task, count, "task starts again");
                self.last = Some(ended);
                return;
            }
        }
        self.to(ended.state, ended.at);
    }

    /// It is somewhere new: written down, then said.
    fn to(&mut self, state: TaskState, at: Timestamp) {
        self.task.status = TaskStatus {
            state,
            at,
            message: state.to_string(),
            ready_at: self.task.status.ready_at,
            local: self.task.status.local,
            ..TaskStatus::default()
        };
        self.put(self.task.status.clone());
        self.reporter
            .report(self.task.id, restart::said(&self.task.status));
    }

    fn put(&self, status: TaskStatus) {
        let mut shelf = self.containers.lock();
        let container = Container {
            service: self.task.service,
            running: status.state == TaskState::Running,
        };
        let task = Task {
            status,
            ..self.task.clone()
        };
        shelf.containers.insert(task.id, container);
        shelf.ledger.insert(task.id, task);
    }
}

/// Waits for a container to end by itself.
async fn end(containers: &Containers, task: &Task, failures: u64) -> TaskState {
    let mut ends = containers.lock().ends.subscribe();
    let killed = async {
        // Its sender is as long-lived as the host.
        while ends.changed().await.is_ok() && chance(50) {}
    };
    let fails = async {
        if !chance(failures) {
            std::future::pending::<()>().await;
        }
        let lives = rand::random_range(100..5000);
        tokio::time::sleep(Duration::from_millis(lives)).await;
    };
    // Only jobs are done by themselves.
    let completes = async {
        if task.run == 0 {
            std::future::pending::<()>().await;
        }
        let lives = rand::random_range(500..20_000);
        tokio::time::sleep(Duration::from_millis(lives)).await;
    };
    tokio::select! {
        () = fails => TaskState::Failed,
        () = killed => TaskState::Failed,
        () = completes => TaskState::Complete,
    }
}

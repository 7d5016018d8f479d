//! The containers of a host, and the worker that drives them.
//!
//! They outlive the daemon, as with a real shim, and die with the machine.
//! What a task does next is `agent/planner`'s to say, as in a real agent.

use ipnet::Ipv4Net;
use skep_agent::{Reporter, Work};
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
        }
    }
}

impl Shelf {
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
                task.status = status(match booted {
                    true => TaskState::Orphaned,
                    false => TaskState::Failed,
                });
            }
            worker.reporter.report(task.id, task.status.clone());
            worker.drive(Arc::new(task));
        }
        worker
    }

    fn drive(&self, task: Arc<Task>) {
        let id = task.id;
        let (assigned, wanted) = watch::channel(task);
        let driver = tokio::spawn(drive(
            self.containers.clone(),
            self.reporter.clone(),
            wanted,
        ));
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

fn status(state: TaskState) -> TaskStatus {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    TaskStatus {
        state,
        at: Timestamp(now.map_or(0, |now| now.as_millis() as u64)),
        message: state.to_string(),
        ..TaskStatus::default()
    }
}

fn chance(percent: u64) -> bool {
    rand::random_range(0..100) < percent
}

/// Leads one task through its life.
async fn drive(containers: Containers, reporter: Reporter, mut wanted: watch::Receiver<Arc<Task>>) {
    let mut task = wanted.borrow_and_update().as_ref().clone();
    loop {
        let desired = wanted.borrow_and_update().desired;
        let current = task.status.state;
        let Temper { slowness, failures } = containers.lock().temper;
        let takes = slowness.mul_f64(rand::random_range(0.0..1.0));
        let next = match step(current, desired) {
            Step::Accept => TaskState::Accepted,
            Step::Prepare => {
                tokio::time::sleep(takes).await;
                TaskState::Ready
            }
            Step::Start => {
                tokio::time::sleep(takes).await;
                if chance(failures / 2) {
                    after_failure(current.max(TaskState::Starting))
                } else {
                    TaskState::Running
                }
            }
            Step::Wait => {
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
                    () = completes => TaskState::Complete,
                    changed = wanted.changed() => match changed {
                        Ok(()) => continue,
                        Err(_) => return,
                    },
                }
            }
            Step::Shutdown => {
                tokio::time::sleep(takes).await;
                TaskState::Shutdown
            }
            Step::Idle => match wanted.changed().await {
                Ok(()) => continue,
                Err(_) => return,
            },
        };
        task.status = status(next);
        {
            let mut shelf = containers.lock();
            let container = Container {
                service: task.service,
                running: next == TaskState::Running,
            };
            shelf.containers.insert(task.id, container);
            shelf.ledger.insert(task.id, task.clone());
        }
        reporter.report(task.id, task.status.clone());
    }
}

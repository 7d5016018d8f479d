//! Keeps the node's network at what the managers said and the tasks here need.
//!
//! One loop: whenever something changed, work out the whole desired network
//! and have the data plane apply the difference. Steps are idempotent, so a
//! failed pass is simply made again.

use ipnet::Ipv4Net;
use skep_agent_dataplane::{Dataplane, Error};
use skep_agent_planner::network::{Desired, desired};
use skep_types::assignment::AssignmentSet;
use skep_types::{NodeId, Task, TaskId, chain};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpSocket;
use tokio::sync::watch;

/// A failed pass is made again after this long.
const RETRY: Duration = Duration::from_secs(1);
/// While change follows change, passes take no more than about half of the time,
/// or begin this long after each other: what arrives in between is one pass.
const PAUSE_MAX: Duration = Duration::from_millis(20);
/// How long the last answers of a container may take: those who asked may be gone, too.
const SENT_TIMEOUT: Duration = Duration::from_secs(1);

/// What the network is worked out from.
#[derive(Clone, Default)]
struct Inputs {
    /// Raised at every change.
    generation: u64,
    /// `None` until the managers said something, or it is recalled: until then all is
    /// left as found.
    told: Option<(Arc<AssignmentSet>, Ipv4Net)>,
    /// Tasks that have a container or are about to get one, each with the generation
    /// it came with.
    tasks: BTreeMap<TaskId, (u64, Arc<Task>)>,
}

impl Inputs {
    fn add(&mut self, task: Arc<Task>) {
        self.generation += 1;
        let came = self
            .tasks
            .get(&task.id)
            .map_or(self.generation, |old| old.0);
        self.tasks.insert(task.id, (came, task));
    }

    /// The tasks, in the order in which they came: none takes the address of one
    /// that was here before.
    fn in_order(&self) -> impl Iterator<Item = &Task> {
        let mut tasks: Vec<&(u64, Arc<Task>)> = self.tasks.values().collect();
        tasks.sort_by_key(|(came, _)| *came);
        tasks.into_iter().map(|(_, task)| task.as_ref())
    }
}

/// What became of it.
#[derive(Clone, Default)]
struct Outcome {
    /// Generation of the inputs it was made from.
    generation: u64,
    /// Why all of it failed.
    error: Option<String>,
    /// Tasks whose network could not be made, and why.
    failed: BTreeMap<TaskId, String>,
}

/// The node's network. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Network {
    dataplane: Arc<Dataplane>,
    inputs: Arc<watch::Sender<Inputs>>,
    outcome: watch::Receiver<Outcome>,
}

impl Network {
    /// Starts the loop; it ends when all clones are dropped, or with the data plane.
    pub(crate) fn start(node: NodeId, dataplane: Arc<Dataplane>) -> Network {
        let (inputs, receiver) = watch::channel(Inputs::default());
        let (sender, outcome) = watch::channel(Outcome::default());
        tokio::spawn(converge(node, dataplane.clone(), receiver, sender));
        Network {
            dataplane,
            inputs: Arc::new(inputs),
            outcome,
        }
    }

    /// The managers said this.
    pub(crate) fn told(&self, set: Arc<AssignmentSet>, mesh_subnet: Ipv4Net) {
        self.inputs.send_modify(|inputs| {
            inputs.generation += 1;
            inputs.told = Some((set, mesh_subnet));
        });
    }

    /// They said this before the daemon started. Whether it counts: not if they have said
    /// something since.
    pub(crate) fn recall(&self, set: Arc<AssignmentSet>, mesh_subnet: Ipv4Net) -> bool {
        self.inputs.send_if_modified(|inputs| {
            let counts = inputs.told.is_none();
            if counts {
                inputs.generation += 1;
                inputs.told = Some((set, mesh_subnet));
            }
            counts
        })
    }

    /// Waits until the managers have said something.
    pub(crate) async fn is_told(&self) {
        let mut inputs = self.inputs.subscribe();
        // The sender is as long-lived as this.
        let _ = inputs.wait_for(|inputs| inputs.told.is_some()).await;
    }

    /// These tasks were here before the daemon started; nothing is applied
    /// for them until the managers have spoken.
    pub(crate) fn adopt(&self, task: Arc<Task>) {
        self.inputs.send_modify(|inputs| inputs.add(task));
    }

    /// Makes the network of a task and returns the path of its namespace.
    ///
    /// # Errors
    /// Why it cannot be made now; trying again may help.
    pub(crate) async fn attach(&self, mut task: Arc<Task>) -> Result<PathBuf, String> {
        let id = task.id;
        let mut wanted = 0;
        self.inputs.send_modify(|inputs| {
            // It may have got further addresses while its image was pulled.
            let told = inputs.told.as_ref().and_then(|(set, _)| set.tasks.get(&id));
            if let Some(told) = told.filter(|told| told.attachments != task.attachments) {
                Arc::make_mut(&mut task).attachments = told.attachments.clone();
            }
            inputs.add(task);
            wanted = inputs.generation;
        });
        let mut outcome = self.outcome.clone();
        let reached = outcome
            .wait_for(|outcome| outcome.generation >= wanted)
            .await
            .map_err(|_| "the network loop has ended".to_owned())?;
        match (&reached.error, reached.failed.get(&id)) {
            (Some(error), _) | (None, Some(error)) => Err(error.clone()),
            (None, None) => Ok(self.dataplane.netns_path(&id)),
        }
    }

    /// A task got further addresses. One that has no network yet gets them with it.
    pub(crate) fn update(&self, task: &Arc<Task>) {
        self.inputs.send_if_modified(|inputs| {
            let has = inputs.tasks.contains_key(&task.id);
            if has {
                inputs.add(task.clone());
            }
            has
        });
    }

    /// A socket within a container's network.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) async fn socket(&self, task: &TaskId) -> Result<TcpSocket, String> {
        let socket = self.dataplane.socket(task).await;
        socket.map_err(|error| chain(&error))
    }

    /// What a container that has ended still had to say reaches who asked; an
    /// answer would be cut off with the network.
    pub(crate) async fn sent(&self, task: TaskId) {
        if let Err(error) = self.dataplane.sent(&task, SENT_TIMEOUT).await {
            tracing::warn!(task.id = %task, error = %chain(&error), "last answers may be lost");
        }
    }

    /// A task has no container any more.
    pub(crate) fn detach(&self, task: TaskId) {
        self.inputs.send_if_modified(|inputs| {
            let had = inputs.tasks.remove(&task).is_some();
            inputs.generation += u64::from(had);
            had
        });
    }
}

async fn converge(
    node: NodeId,
    dataplane: Arc<Dataplane>,
    mut inputs: watch::Receiver<Inputs>,
    outcome: watch::Sender<Outcome>,
) {
    // As last applied without a failure; what others break, the data plane mends.
    let mut settled = None;
    loop {
        let current = inputs.borrow_and_update().clone();
        let begun = Instant::now();
        if let Some((set, mesh)) = &current.told {
            let tasks = current.in_order();
            let result = pass(node, &dataplane, *mesh, set, tasks, &mut settled).await;
            let Some(result) = result else { return };
            outcome.send_replace(Outcome {
                generation: current.generation,
                ..result
            });
        }
        tokio::time::sleep(begun.elapsed().min(PAUSE_MAX)).await;
        let retry = async {
            if settled.is_none() && current.told.is_some() {
                tokio::time::sleep(RETRY).await;
            } else {
                std::future::pending().await
            }
        };
        tokio::select! {
            changed = inputs.changed() => if changed.is_err() { return },
            () = retry => {}
        }
    }
}

/// One pass; none when the data plane was ended.
async fn pass(
    node: NodeId,
    dataplane: &Dataplane,
    mesh: Ipv4Net,
    set: &AssignmentSet,
    tasks: impl Iterator<Item = &Task>,
    settled: &mut Option<Desired>,
) -> Option<Outcome> {
    let before = settled.take();
    let wanted = match desired(node, mesh, set, tasks) {
        Ok(wanted) => wanted,
        Err(error) => {
            return Some(Outcome {
                error: Some(error.to_string()),
                ..Outcome::default()
            });
        }
    };
    if before.as_ref() == Some(&wanted) {
        *settled = before;
        return Some(Outcome::default());
    }
    match dataplane.apply(&wanted).await {
        Ok(applied) => {
            if applied.failed.is_empty() {
                *settled = Some(wanted);
            }
            if applied.steps > 0 {
                tracing::debug!(steps = applied.steps, "network applied");
            }
            let failed = applied
                .failed
                .into_iter()
                .map(|(id, error)| (id, chain(&error)));
            Some(Outcome {
                failed: failed.collect(),
                ..Outcome::default()
            })
        }
        Err(Error::Ended) => None,
        Err(error) => {
            let error = chain(&error);
            tracing::warn!(%error, "network could not be applied");
            Some(Outcome {
                error: Some(error),
                ..Outcome::default()
            })
        }
    }
}

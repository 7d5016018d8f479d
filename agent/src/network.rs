//! Keeps the node's network at what the managers said and the tasks here need.
//!
//! One loop: whenever something changed, work out the whole desired network
//! and have the data plane apply the difference. Steps are idempotent, so a
//! failed pass is simply made again.

use ipnet::Ipv4Net;
use skep_agent_dataplane::Dataplane;
use skep_agent_planner::network::desired;
use skep_types::assignment::AssignmentSet;
use skep_types::{NodeId, Task, TaskId};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// A failed pass is made again after this long.
const RETRY: Duration = Duration::from_secs(1);

/// What the network is worked out from.
#[derive(Clone, Default)]
struct Inputs {
    /// Raised at every change.
    generation: u64,
    /// `None` until the managers said something: then all is left as found.
    told: Option<(Arc<AssignmentSet>, Ipv4Net)>,
    /// Tasks that have a container or are about to get one.
    tasks: BTreeMap<TaskId, Arc<Task>>,
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
    /// Starts the loop; it ends when all clones are dropped.
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

    /// These tasks were here before the daemon started; nothing is applied
    /// for them until the managers have spoken.
    pub(crate) fn adopt(&self, task: Arc<Task>) {
        self.inputs.send_modify(|inputs| {
            inputs.generation += 1;
            inputs.tasks.insert(task.id, task);
        });
    }

    /// Makes the network of a task and returns the path of its namespace.
    ///
    /// # Errors
    /// Why it cannot be made now; trying again may help.
    pub(crate) async fn attach(&self, task: Arc<Task>) -> Result<PathBuf, String> {
        let id = task.id;
        let mut wanted = 0;
        self.inputs.send_modify(|inputs| {
            inputs.generation += 1;
            wanted = inputs.generation;
            inputs.tasks.insert(id, task);
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
    loop {
        let current = inputs.borrow_and_update().clone();
        let again = match &current.told {
            None => false,
            Some((set, mesh)) => {
                let result = pass(node, &dataplane, *mesh, set, &current.tasks).await;
                let failed = result.error.is_some() || !result.failed.is_empty();
                outcome.send_replace(Outcome {
                    generation: current.generation,
                    ..result
                });
                failed
            }
        };
        let retry = async {
            if again {
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

async fn pass(
    node: NodeId,
    dataplane: &Dataplane,
    mesh: Ipv4Net,
    set: &AssignmentSet,
    tasks: &BTreeMap<TaskId, Arc<Task>>,
) -> Outcome {
    let wanted = match desired(node, mesh, set, tasks.values().map(AsRef::as_ref)) {
        Ok(wanted) => wanted,
        Err(error) => {
            return Outcome {
                error: Some(error.to_string()),
                ..Outcome::default()
            };
        }
    };
    match dataplane.apply(&wanted).await {
        Ok(applied) => {
            if applied.steps > 0 {
                tracing::debug!(steps = applied.steps, "network applied");
            }
            let failed = applied
                .failed
                .into_iter()
                .map(|(id, error)| (id, chain(&error)));
            Outcome {
                failed: failed.collect(),
                ..Outcome::default()
            }
        }
        Err(error) => {
            let error = chain(&error);
            tracing::warn!(%error, "network could not be applied");
            Outcome {
                error: Some(error),
                ..Outcome::default()
            }
        }
    }
}

/// An error with all its causes.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

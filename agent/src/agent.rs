//! Builds the agent out of its parts and keeps it in touch with a manager.

use crate::executor::Executor;
use crate::ledger::{Ledger, LedgerError};
use crate::network::Network;
use crate::reporter::Reporter;
use crate::session;
use crate::worker::Worker;
use ipnet::Ipv4Net;
use rustls::ClientConfig;
use skep_agent_dataplane::Dataplane;
use skep_agent_images::ImageStore;
use skep_agent_runtime::Runtime;
use skep_transport::Channels;
use skep_types::assignment::AssignmentSet;
use skep_types::{Node, NodeDescription, NodeId};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// First and longest pause between attempts to reach a manager.
const RETRY_MIN: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(2);
/// How long a node that leaves waits for its containers to stop.
const CLEAR_TIMEOUT: Duration = Duration::from_secs(60);

/// What an agent is made of.
pub struct AgentConfig {
    /// This node.
    pub node: NodeId,
    /// Where it keeps what it has taken on.
    pub ledger_dir: PathBuf,
    /// What it says of itself.
    pub description: NodeDescription,
    /// Managers it knows of.
    pub managers: Vec<String>,
    /// Proves the node to managers and checks them.
    pub tls: Arc<ClientConfig>,
    /// Its images.
    pub images: ImageStore,
    /// Its containers.
    pub runtime: Runtime,
    /// Its network.
    pub dataplane: Arc<Dataplane>,
}

/// An agent that could not start.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// What it had taken on cannot be read.
    #[error("cannot take up the tasks of this node")]
    Ledger(#[from] LedgerError),
    /// Its containers cannot be looked for.
    #[error("cannot look for the containers of this node")]
    Runtime(#[from] skep_agent_runtime::Error),
}

/// What the managers said of this node last.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// The node as they know it; its role may have changed.
    pub node: Node,
    /// Where managers are.
    pub managers: Vec<String>,
    /// The root certificate, PEM.
    pub root_ca: String,
    /// Addresses of the nodes in the mesh.
    pub mesh_subnet: Ipv4Net,
}

/// What the parts of an agent share.
pub(crate) struct Shared {
    pub(crate) executor: Executor,
    pub(crate) reporter: Reporter,
    pub(crate) told: watch::Sender<Option<Told>>,
    set: Mutex<Arc<AssignmentSet>>,
    worker: tokio::sync::Mutex<Worker>,
}

impl Shared {
    /// What the managers said this node is to do, last.
    pub(crate) fn set(&self) -> Arc<AssignmentSet> {
        self.set
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// They say this now.
    pub(crate) async fn assign(&self, set: Arc<AssignmentSet>) {
        *self.set.lock().unwrap_or_else(PoisonError::into_inner) = set.clone();
        self.executor.told(set.clone());
        let mesh = self.told.borrow().as_ref().map(|told| told.mesh_subnet);
        if let Some(mesh) = mesh {
            self.executor.network.told(set.clone(), mesh);
        }
        self.worker.lock().await.assign(&set).await;
    }
}

/// A running agent.
pub struct Agent {
    shared: Arc<Shared>,
    told: watch::Receiver<Option<Told>>,
    connection: JoinHandle<()>,
}

impl Agent {
    /// Takes up what the node was doing, and looks for a manager.
    ///
    /// # Errors
    /// When what it had taken on cannot be read.
    pub async fn start(config: AgentConfig) -> Result<Agent, AgentError> {
        let AgentConfig {
            node,
            ledger_dir,
            description,
            managers,
            tls,
            images,
            runtime,
            dataplane,
        } = config;
        let network = Network::start(node, dataplane);
        let executor = Executor::new(images, runtime, network);
        let reporter = Reporter::default();
        let ledger = Ledger::open(ledger_dir)?;
        let worker = Worker::open(executor.clone(), ledger, reporter.clone()).await?;
        let (told, receiver) = watch::channel(None);
        let shared = Arc::new(Shared {
            executor,
            reporter,
            told,
            set: Mutex::default(),
            worker: tokio::sync::Mutex::new(worker),
        });
        let connection = tokio::spawn(stay_connected(
            shared.clone(),
            Channels::new(tls),
            managers,
            description,
        ));
        Ok(Agent {
            shared,
            told: receiver,
            connection,
        })
    }

    /// What the managers say of this node, as it changes.
    pub fn told(&self) -> watch::Receiver<Option<Told>> {
        self.told.clone()
    }

    /// Tasks this node has been given and not yet been told to forget.
    pub fn task_count(&self) -> usize {
        self.shared.set().tasks.len()
    }

    /// Images of the tasks of this node.
    pub fn images_in_use(&self) -> BTreeSet<String> {
        let set = self.shared.set();
        let live = set
            .tasks
            .values()
            .filter(|task| !task.status.state.is_terminal());
        live.map(|task| task.spec.container.image.clone()).collect()
    }

    /// Ends the session for good: the managers hear nothing more of this node.
    pub fn disconnect(&self) {
        self.connection.abort();
    }

    /// Ends the session. Containers go on.
    pub async fn stop(self) {
        self.connection.abort();
        // Aborted on purpose: the result says just that.
        let _ = self.connection.await;
    }

    /// Ends the session and removes every container: the node leaves.
    pub async fn clear(self) {
        self.connection.abort();
        let _ = self.connection.await;
        let mut worker = self.shared.worker.lock().await;
        if tokio::time::timeout(CLEAR_TIMEOUT, worker.clear())
            .await
            .is_err()
        {
            tracing::error!("some containers could not be removed; see the messages above");
        }
    }
}

async fn stay_connected(
    shared: Arc<Shared>,
    channels: Channels,
    known: Vec<String>,
    description: NodeDescription,
) {
    let mut pause = RETRY_MIN;
    let mut leader = None;
    let mut turn = 0;
    loop {
        let managers = match shared.told.borrow().as_ref() {
            Some(told) if !told.managers.is_empty() => told.managers.clone(),
            _ => known.clone(),
        };
        let address: Option<String> = match leader.take() {
            Some(address) => Some(address),
            None if managers.is_empty() => None,
            None => Some(managers[turn % managers.len()].clone()),
        };
        turn += 1;
        let Some(address) = address else {
            tracing::error!("no manager is known");
            return;
        };
        let channel = match channels.to(&address) {
            Ok(channel) => channel,
            Err(error) => {
                tracing::warn!(%error, "manager address");
                tokio::time::sleep(RETRY_MAX).await;
                continue;
            }
        };
        let ended = session::run(&shared, channel, &description).await;
        tracing::info!(manager = %address, reason = %ended.reason, "session ended");
        if ended.opened {
            pause = RETRY_MIN;
        }
        // A broken connection is made anew, not waited for.
        channels.forget(&address);
        let redirected = ended.leader.is_some_and(|next| {
            let elsewhere = next != address;
            leader = Some(next);
            elsewhere
        });
        if !redirected || turn % 8 == 0 {
            let jitter = pause.mul_f64(rand::random_range(0.5..1.5));
            tokio::time::sleep(jitter).await;
            pause = (pause * 2).min(RETRY_MAX);
        }
    }
}

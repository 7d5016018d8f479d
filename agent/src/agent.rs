//! Builds the agent out of its parts and keeps it in touch with a manager.

use crate::contact::Contact;
use crate::executor::Executor;
use crate::kept::{Kept, Said};
use crate::ledger::{Ledger, LedgerError};
use crate::line::{Line, Told, Work};
use crate::logs;
use crate::network::Network;
use crate::reporter::Reporter;
use crate::session::Held;
use crate::worker::Worker;
use async_trait::async_trait;
use ipnet::Ipv4Net;
use rustls::ClientConfig;
use skep_agent_dataplane::Dataplane;
use skep_agent_images::ImageStore;
use skep_agent_runtime::Runtime;
use skep_proto::pb;
use skep_proto::pb::dispatcher_client::DispatcherClient;
use skep_transport::Channels;
use skep_types::assignment::AssignmentSet;
use skep_types::{NodeDescription, NodeId};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tonic::transport::Channel;

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

/// What the parts of an agent share.
struct Shared {
    executor: Executor,
    set: Mutex<Arc<AssignmentSet>>,
    /// For who comes after a restart.
    kept: watch::Sender<Option<Said>>,
    worker: tokio::sync::Mutex<Worker>,
}

impl Shared {
    /// What the managers said this node is to do, last.
    fn set(&self) -> Arc<AssignmentSet> {
        self.set
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

#[async_trait]
impl Work for Shared {
    async fn assign(&self, set: Arc<AssignmentSet>, mesh: Ipv4Net) {
        *self.set.lock().unwrap_or_else(PoisonError::into_inner) = set.clone();
        self.executor.told(set.clone());
        self.executor.network.told(set.clone(), mesh);
        self.kept.send_replace(Some((set.clone(), mesh)));
        self.worker.lock().await.assign(&set).await;
    }

    fn logs(
        &self,
        client: DispatcherClient<Channel>,
        request: pb::LogRequest,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let set = self.set();
        let tasks = set.tasks.iter();
        let services = tasks.map(|(id, task)| (*id, task.service)).collect();
        let executor = self.executor.clone();
        Box::pin(logs::publish(executor, client, request, services))
    }
}

/// Has the network of a node that finds no manager made by what was said of it before.
async fn recall(network: Network, kept: Kept, contact: Contact) {
    tokio::select! {
        () = contact.silent(Instant::now()) => {}
        () = network.is_told() => return,
    }
    if let Some((set, mesh)) = kept.load()
        && network.recall(set, mesh)
    {
        tracing::info!("no manager is found: the network is made as it was known last");
    }
}

/// A running agent.
pub struct Agent {
    node: NodeId,
    shared: Arc<Shared>,
    reporter: Reporter,
    told: watch::Sender<Option<Told>>,
    connection: Mutex<Option<JoinHandle<()>>>,
    description: watch::Sender<NodeDescription>,
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
        let told = watch::Sender::new(None);
        let executor = Executor::new(images, runtime, network, told.subscribe());
        let reporter = Reporter::default();
        let kept = Kept::at(ledger_dir.with_extension("network"));
        tokio::spawn(recall(
            executor.network.clone(),
            kept.clone(),
            reporter.contact().clone(),
        ));
        let ledger = Ledger::open(ledger_dir)?;
        let worker = Worker::open(executor.clone(), ledger, reporter.clone()).await?;
        let (said, to_keep) = watch::channel(None);
        // Ends with what is said.
        tokio::spawn(kept.follow(to_keep));
        let shared = Arc::new(Shared {
            executor,
            set: Mutex::default(),
            kept: said,
            worker: tokio::sync::Mutex::new(worker),
        });
        let (description, described) = watch::channel(description);
        let line = Line {
            work: shared.clone(),
            reporter: reporter.clone(),
            told: told.clone(),
            channels: Channels::new(tls).patient(),
            known: managers,
            described,
            held: Held::default(),
        };
        let connection = tokio::spawn(line.hold(node));
        Ok(Agent {
            node,
            shared,
            reporter,
            told,
            connection: Mutex::new(Some(connection)),
            description,
        })
    }

    /// What the managers say of this node, as it changes.
    pub fn told(&self) -> watch::Receiver<Option<Told>> {
        self.told.subscribe()
    }

    /// This node proves itself with another certificate from now on, or trusts
    /// other roots (their SHA-256): the managers are told in a new session.
    pub fn renewed(&self, trusted: [u8; 32]) {
        self.description.send_modify(|description| {
            description.tls.trusted = trusted;
        });
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

    fn connection(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the session for good: the managers hear nothing more of this node.
    pub fn disconnect(&self) {
        if let Some(connection) = self.connection().as_ref() {
            connection.abort();
        }
    }

    /// Looks for a manager at these addresses from now on, and says this of the
    /// node. What was told before counts no more.
    pub fn reconnect(
        &self,
        tls: Arc<ClientConfig>,
        managers: Vec<String>,
        description: NodeDescription,
    ) {
        self.disconnect();
        // Its managers, role and seat may be those of another group.
        self.told.send_replace(None);
        self.description.send_replace(description);
        let line = Line {
            work: self.shared.clone(),
            reporter: self.reporter.clone(),
            told: self.told.clone(),
            channels: Channels::new(tls).patient(),
            known: managers,
            held: Held::default(),
            described: self.description.subscribe(),
        };
        *self.connection() = Some(tokio::spawn(line.hold(self.node)));
    }

    /// Ends the session. Containers go on.
    pub async fn stop(&self) {
        let connection = self.connection().take();
        if let Some(connection) = connection {
            connection.abort();
            // Aborted on purpose: the result says just that.
            let _ = connection.await;
        }
    }

    /// Ends the session and removes every container: the node leaves.
    pub async fn clear(&self) {
        self.stop().await;
        let mut worker = self.shared.worker.lock().await;
        let stopped = tokio::time::timeout(CLEAR_TIMEOUT, worker.clear()).await;
        // Some may have asked for longer; but the node leaves now.
        if stopped.is_err()
            && tokio::time::timeout(CLEAR_TIMEOUT, worker.remove_all())
                .await
                .is_err()
        {
            tracing::error!("some containers could not be removed; see the messages above");
        }
    }
}

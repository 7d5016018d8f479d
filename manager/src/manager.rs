//! Builds a manager out of its parts and takes it down again.

use crate::anew::{self, Backup};
use crate::autolock::{self, KeyKeeper};
use crate::dispatcher::{board, door};
use crate::error::StartError;
use crate::leader;
use crate::machine::State;
use crate::proposer::Proposer;
use crate::rpc::control::Control;
use crate::rpc::{ca, raft};
use crate::seats;
use crate::shared::Shared;
use crate::{address, admission, port};
use skep_manager_ca::Credentials;
use skep_manager_raft::{Raft, RaftConfig, Status, seed};
use skep_manager_store::format::NEWEST;
use skep_manager_store::{Action, ClusterAction, NetworkAction, NodeAction, Snapshot};
use skep_proto::pb;
use skep_transport::{Channels, Network};
use skep_types::{Cluster, ManagerStatus, NetworkId, NetworkSpec, Node};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How long a planned stop waits for leadership to go elsewhere and for calls
/// under way to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);

/// What a manager is made of.
pub struct ManagerConfig {
    /// Its log, its id in the group, and where others reach it.
    pub raft: RaftConfig,
    /// Where it listens.
    pub listen: SocketAddr,
    /// Proves this node to others and checks them.
    pub credentials: Arc<Credentials>,
    /// How it reaches others and is reached: [`skep_transport::Tcp`].
    pub network: Arc<dyn Network>,
    /// Where its keys are kept; `None` where they are on no disk.
    pub keys: Option<Arc<dyn KeyKeeper>>,
    /// How it begins.
    pub start: Start,
}

/// How a manager begins.
pub enum Start {
    /// As the first of a new swarm, with these actions as its first entry.
    Bootstrap(Vec<Action>),
    /// As the only one of a swarm that was backed up.
    Restore {
        /// What the swarm was.
        backup: Backup,
        /// This node, which the backup does not know.
        node: Box<Node>,
    },
    /// As a member that others know already, or as the only one after
    /// [`crate::reform`].
    Member,
}

/// A running manager.
pub struct Manager {
    shared: Shared,
    stop: watch::Sender<bool>,
    /// Ends by itself when told to stop, once the calls under way have.
    server: JoinSet<()>,
    /// End when they are dropped.
    tasks: JoinSet<()>,
}

impl Manager {
    /// Opens the log, listens and takes part.
    ///
    /// # Errors
    /// When the log cannot be used, the port is taken, or the first entry of
    /// a new swarm cannot be written.
    pub async fn start(config: ManagerConfig) -> Result<Manager, StartError> {
        let ManagerConfig {
            raft,
            listen,
            credentials,
            network,
            keys,
            start,
        } = config;
        let server_tls = credentials.server_config()?;
        let channels = Channels::over(network.clone(), credentials.client_config()?);
        // The port first: a manager nobody reaches must not vote.
        let listener = network
            .listen(listen)
            .await
            .map_err(|source| StartError::Listen {
                address: listen,
                source,
            })?;
        let state = State::new();
        let transport = Arc::new(raft::GrpcTransport {
            channels: channels.clone(),
        });
        let (raft_id, advertise) = (raft.raft_id, raft.address.clone());
        let (first, own) = match start {
            Start::Bootstrap(actions) => (Some(actions), None),
            Start::Restore { backup, node } => {
                seed(&raft, backup.version, backup.snapshot)
                    .await
                    .map_err(StartError::Raft)?;
                (None, Some(node))
            }
            Start::Member => (None, None),
        };
        let raft = Raft::open(raft, state.clone(), transport)
            .await
            .map_err(StartError::Raft)?;
        let node = credentials.identity().peer().node;
        let seat = anew::Seat {
            node,
            raft_id,
            address: &advertise,
        };
        let formed = match first {
            Some(actions) => form(&raft, &state, &actions).await,
            None => anew::take_over(&raft, &state, seat, own).await,
        };
        if let Err(error) = formed {
            raft.shutdown().await;
            return Err(error);
        }
        let shared = Shared::new(node, state, raft, channels);
        let (stop, stopping) = watch::channel(false);
        let mut tasks = JoinSet::new();
        tasks.spawn(leader::run(shared.clone()));
        tasks.spawn(seats::run(shared.clone()));
        tasks.spawn(address::announce(shared.clone(), advertise));
        tasks.spawn(board::run(shared.state.clone(), shared.board.clone()));
        tasks.spawn(door::run(shared.clone()));
        tasks.spawn(mourn(shared.raft.clone()));
        if let Some(keeper) = keys {
            let (state, raft) = (shared.state.clone(), shared.raft.clone());
            tasks.spawn(autolock::follow(state, raft, keeper, stopping.clone()));
        }
        let (ask, asked) = watch::channel(());
        let recheck = admission::recheck(shared.state.clone(), &credentials, asked);
        tasks.spawn(admission::follow(shared.state.clone(), credentials, ask));
        let secured = skep_transport::accept(listener, server_tls, Some(recheck));
        let mut server = JoinSet::new();
        server.spawn(port::serve(shared.clone(), secured, stopping));
        Ok(Manager {
            shared,
            stop,
            server,
            tasks,
        })
    }

    /// The control service, for the node's own socket.
    pub fn control(&self) -> Control {
        Control::local(self.shared.clone())
    }

    /// All that this manager knows, as of now.
    pub fn snapshot(&self) -> Snapshot {
        self.shared.state.snapshot()
    }

    /// Where this manager and the others stand in the group, as seen from here.
    pub fn raft_status(&self) -> Status {
        self.shared.raft.status()
    }

    /// Whether this manager leads now.
    pub fn is_leader(&self) -> bool {
        self.shared.raft.leadership().borrow().is_leader
    }

    /// Why this manager takes no part any more, if its log failed while it ran,
    /// and what to do.
    pub fn failure(&self) -> Option<String> {
        self.shared.failure()
    }

    /// Waits until this manager has a vote; false if it stopped before.
    pub fn seated(&self) -> impl Future<Output = bool> + Send + use<> {
        self.shared.raft.seated()
    }

    /// Issues this node a certificate from what this manager knows by itself,
    /// whether or not there is a leader. For a node whose own is of another time:
    /// no manager lets it in, or would be let in by it. Whoever has a manager's
    /// log has the CA's key, so this gives nothing away.
    ///
    /// # Errors
    /// When it does not know the swarm yet, the node is not one of its managers,
    /// or the request is none.
    pub fn issue_own(&self, csr: &str) -> Result<pb::IssueResponse, tonic::Status> {
        ca::issue_own(&self.shared, csr)
    }

    /// Hands leadership on if it has it, and ends.
    pub async fn stop(mut self) {
        if self.is_leader() && self.shared.raft.members().len() > 1 {
            let transfer = self.shared.raft.transfer_leadership();
            match tokio::time::timeout(STOP_TIMEOUT, transfer).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => tracing::warn!(%error, "leadership was not handed on"),
                Err(_) => tracing::warn!("leadership was not handed on in time"),
            }
        }
        self.stop.send_replace(true);
        // Sessions end, so that their streams do.
        self.shared.sessions.stop();
        self.shared.raft.shutdown().await;
        let calls = tokio::time::timeout(STOP_TIMEOUT, self.server.join_next());
        if calls.await.is_err() {
            tracing::warn!("calls under way were cut");
        }
        self.server.shutdown().await;
        self.tasks.shutdown().await;
    }
}

/// Makes a group of this manager alone, and its first entry.
async fn form(raft: &Raft, state: &Arc<State>, actions: &[Action]) -> Result<(), StartError> {
    raft.bootstrap()
        .await
        .map_err(|error| StartError::Form(error.to_string()))?;
    let mut leadership = raft.leadership();
    leadership
        .wait_for(|now| now.is_leader)
        .await
        .map_err(|error| StartError::Form(error.to_string()))?;
    let proposed = Proposer::new(raft.clone(), state.clone())
        .propose(actions)
        .await
        .map_err(StartError::Bootstrap)?;
    let refused = proposed.results.into_iter().find_map(|r| r.refused);
    refused.map_or(Ok(()), |reason| Err(StartError::Form(reason)))
}

/// A member that stops by itself (its disk is full, say) must not do so in
/// silence; the others go on without it.
async fn mourn(raft: Raft) {
    if let Some(reason) = raft.stopped().await {
        tracing::error!(%reason, "this manager takes no part any more; mend it, then restart the daemon");
    }
}

/// The first entry of a new swarm: itself, its first node, and the network
/// behind published ports. It is in the newest format that this build knows.
pub fn first_actions(cluster: Cluster, node: Node) -> Vec<Action> {
    let ingress = NetworkSpec {
        name: "ingress".to_owned(),
        driver: "overlay".to_owned(),
        ingress: true,
        ..NetworkSpec::default()
    };
    let id = node.id;
    let seat = |seat: &ManagerStatus| ManagerStatus {
        format: NEWEST,
        ..seat.clone()
    };
    let manager = node.manager.as_ref().map(seat);
    let cluster = Cluster {
        format: NEWEST,
        ..cluster
    };
    vec![
        Action::Cluster(ClusterAction::Create(Box::new(cluster))),
        Action::Node(NodeAction::Create(Box::new(Node {
            manager: None,
            ..node
        }))),
        Action::Node(NodeAction::SetManager { id, manager }),
        Action::Network(NetworkAction::Create {
            id: NetworkId::from_bits(rand::random()),
            spec: Box::new(ingress),
        }),
    ]
}

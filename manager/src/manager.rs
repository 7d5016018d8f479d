//! Builds a manager out of its parts and takes it down again.

use crate::dispatcher::assignments::SharedViews;
use crate::dispatcher::statuses::Statuses;
use crate::error::StartError;
use crate::leader;
use crate::machine::State;
use crate::proposer::Proposer;
use crate::rpc::control::Control;
use crate::rpc::{ca, dispatcher, raft};
use crate::shared::Shared;
use rustls::{ClientConfig, ServerConfig};
use skep_manager_raft::{Raft, RaftConfig};
use skep_manager_store::{Action, ClusterAction, NetworkAction, NodeAction};
use skep_proto::pb;
use skep_proto::pb::raft_client::RaftClient;
use skep_transport::{Channels, redirected_to};
use skep_types::{Cluster, NetworkId, NetworkSpec, Node, NodeId};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tonic::transport::Server;

/// How long a planned stop waits for leadership to go elsewhere and for calls
/// under way to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);

/// Largest change another manager may forward.
const CHANGE_MAX_BYTES: usize = 64 << 20;

/// What a manager is made of.
pub struct ManagerConfig {
    /// This node.
    pub node: NodeId,
    /// Where the log is.
    pub dir: PathBuf,
    /// Encrypts the log.
    pub data_key: [u8; 32],
    /// Its id in the group.
    pub raft_id: u64,
    /// Where it listens.
    pub listen: SocketAddr,
    /// Where others reach it.
    pub advertise: String,
    /// Proves itself to callers and checks them.
    pub server_tls: Arc<ServerConfig>,
    /// Proves itself to other managers and checks them.
    pub client_tls: Arc<ClientConfig>,
    /// How it begins.
    pub start: Start,
}

/// How a manager begins.
pub enum Start {
    /// As the first of a new swarm, with these actions as its first entry.
    Bootstrap(Vec<Action>),
    /// As a member that others know already.
    Member,
}

/// A running manager.
pub struct Manager {
    shared: Shared,
    stop: watch::Sender<bool>,
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
            node,
            dir,
            data_key,
            raft_id,
            listen,
            advertise,
            server_tls,
            client_tls,
            start,
        } = config;
        // The port first: a manager nobody reaches must not vote.
        let listener = TcpListener::bind(listen)
            .await
            .map_err(|source| StartError::Listen {
                address: listen,
                source,
            })?;
        let state = State::new();
        let channels = Channels::new(client_tls);
        let transport = Arc::new(raft::GrpcTransport {
            channels: channels.clone(),
        });
        let raft = Raft::open(
            RaftConfig::new(dir, raft_id, advertise, data_key),
            state.clone(),
            transport,
        )
        .await
        .map_err(StartError::Raft)?;
        if let Start::Bootstrap(actions) = start {
            raft.bootstrap()
                .await
                .map_err(|error| StartError::Form(error.to_string()))?;
            let mut leadership = raft.leadership();
            leadership
                .wait_for(|now| now.is_leader)
                .await
                .map_err(|error| StartError::Form(error.to_string()))?;
            let proposed = Proposer::new(raft.clone())
                .propose(&actions)
                .await
                .map_err(StartError::Bootstrap)?;
            if let Some(reason) = proposed
                .results
                .into_iter()
                .find_map(|result| result.refused)
            {
                return Err(StartError::Form(reason));
            }
        }
        let shared = Shared::new(node, state, raft, channels);
        let (stop, stopping) = watch::channel(false);
        let mut tasks = JoinSet::new();
        tasks.spawn(leader::run(shared.clone()));
        tasks.spawn(mourn(shared.raft.clone()));
        tasks.spawn(serve(shared.clone(), listener, server_tls, stopping));
        Ok(Manager {
            shared,
            stop,
            tasks,
        })
    }

    /// The control service, for the node's own socket.
    pub fn control(&self) -> Control {
        Control::local(self.shared.clone())
    }

    /// Whether this manager leads now.
    pub fn is_leader(&self) -> bool {
        self.shared.raft.leadership().borrow().is_leader
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
        self.shared.sessions.end_term();
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        self.shared.raft.shutdown().await;
        if tokio::time::timeout(STOP_TIMEOUT, ended).await.is_err() {
            self.tasks.shutdown().await;
        }
    }
}

/// A member that stops by itself (its disk is full, say) must not do so in
/// silence; the others go on without it.
async fn mourn(raft: Raft) {
    if let Some(reason) = raft.stopped().await {
        tracing::error!(%reason, "this manager takes no part any more; mend it, then restart the daemon");
    }
}

async fn serve(
    shared: Shared,
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    mut stopping: watch::Receiver<bool>,
) {
    let dispatcher = dispatcher::DispatcherService {
        shared: shared.clone(),
        views: Arc::new(SharedViews::default()),
        statuses: Statuses::start(shared.clone()),
    };
    let raft = pb::raft_server::RaftServer::new(raft::RaftService {
        shared: shared.clone(),
    })
    .max_decoding_message_size(raft::MESSAGE_MAX_BYTES)
    .max_encoding_message_size(raft::MESSAGE_MAX_BYTES);
    let control = pb::control_server::ControlServer::new(Control::remote(shared.clone()))
        .max_decoding_message_size(CHANGE_MAX_BYTES);
    let server = Server::builder()
        .tcp_nodelay(true)
        .http2_keepalive_interval(Some(Duration::from_secs(5)))
        .http2_keepalive_timeout(Some(Duration::from_secs(5)))
        .add_service(raft)
        .add_service(pb::dispatcher_server::DispatcherServer::new(dispatcher))
        .add_service(pb::ca_server::CaServer::new(ca::CaService { shared }))
        .add_service(control)
        .serve_with_incoming_shutdown(skep_transport::accept(listener, tls), async move {
            // An error means that the manager is gone: the same.
            let _ = stopping.wait_for(|stop| *stop).await;
        });
    if let Err(error) = server.await {
        tracing::error!(%error, "the manager's port is not served any more");
    }
}

/// The first entry of a new swarm: itself, its first node, and the network
/// behind published ports.
pub fn first_actions(cluster: Cluster, node: Node) -> Vec<Action> {
    let ingress = NetworkSpec {
        name: "ingress".to_owned(),
        driver: "overlay".to_owned(),
        ingress: true,
        ..NetworkSpec::default()
    };
    let id = node.id;
    let manager = node.manager.clone();
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

/// Asks the managers to let this node, which has a manager's certificate, be
/// one of them. Returns its id in the group.
///
/// # Errors
/// When none of them, nor the leader they name, does so in time.
pub async fn join_raft(
    client_tls: Arc<ClientConfig>,
    managers: &[String],
    advertise: &str,
) -> Result<u64, StartError> {
    let channels = Channels::new(client_tls);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    let mut last = "no manager is known".to_owned();
    let mut ask = managers.to_vec();
    while tokio::time::Instant::now() < deadline {
        for address in std::mem::replace(&mut ask, managers.to_vec()) {
            let channel = match channels.to(&address) {
                Ok(channel) => channel,
                Err(error) => {
                    last = error.to_string();
                    continue;
                }
            };
            let request = pb::RaftJoinRequest {
                address: advertise.to_owned(),
            };
            match RaftClient::new(channel).join(request).await {
                Ok(answer) => return Ok(answer.into_inner().raft_id),
                Err(status) => {
                    last = format!("{address}: {}", status.message());
                    if let Some(leader) = redirected_to(&status) {
                        ask.insert(0, leader);
                        break;
                    }
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Err(StartError::Join {
        managers: managers.join(", "),
        last,
    })
}

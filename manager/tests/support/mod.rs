//! A swarm of real managers in this process, and agents that talk to them.

#![allow(dead_code, reason = "each test binary uses a part of it")]

pub mod http2;

use skep_manager::{Manager, ManagerConfig, RaftConfig, Start, first_actions, join_raft};
use skep_manager_ca::{Credentials, JoinToken, Request, Root, Subject, joining_config};
use skep_proto::pb;
use skep_proto::pb::ca_client::CaClient;
use skep_proto::pb::change::Change;
use skep_proto::pb::control_server::Control as _;
use skep_proto::pb::dispatcher_client::DispatcherClient;
use skep_proto::pb::raft_client::RaftClient;
use skep_transport::{Channels, connect};
use skep_types::{
    Cluster, ClusterId, ClusterSpec, JoinSecrets, ManagerStatus, Meta, Node, NodeDescription,
    NodeId, NodeSpec, NodeStatus, Role, RootCa,
};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tempfile::TempDir;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

/// How long something may take that is sure to come about.
const PATIENCE: Duration = Duration::from_secs(30);
const CLUSTER: ClusterId = ClusterId::from_bits(7);

/// A swarm of one manager.
pub struct Swarm {
    pub manager: Manager,
    pub root: Root,
    pub secrets: JoinSecrets,
    pub address: String,
    dir: TempDir,
}

impl Swarm {
    pub async fn start() -> Swarm {
        Swarm::with(ClusterSpec::default()).await
    }

    pub async fn with(spec: ClusterSpec) -> Swarm {
        let now = SystemTime::now();
        let root = Root::generate(now).unwrap();
        let node = NodeId::from_bits(1);
        let key = Request::generate().unwrap();
        let subject = Subject {
            node,
            role: Role::Manager,
            cluster: CLUSTER,
        };
        let life = Duration::from_secs(24 * 3600);
        let issued = root.issue(key.pem(), &subject, life, now).unwrap();
        let identity = key.complete(&issued.pem, root.certificate().clone());
        let listen = free_address();
        let address = listen.to_string();
        let secrets = JoinSecrets {
            worker: JoinToken::new_secret().unwrap(),
            manager: JoinToken::new_secret().unwrap(),
        };
        let dir = tempfile::tempdir().unwrap();
        let config = RaftConfig::new(dir.path().join("1"), 1, address.clone(), [7; 32]);
        let credentials = Credentials::new(identity.unwrap()).unwrap();
        let first = first_actions(
            cluster(spec, &root, secrets.clone()),
            first_node(node, &address),
        );
        let manager = start(config, listen, credentials, Start::Bootstrap(first));
        Swarm {
            manager: manager.await,
            root,
            secrets,
            address,
            dir,
        }
    }

    /// One more manager, once it has a vote.
    pub async fn add_manager(&self) -> Member {
        let key = Request::generate().unwrap();
        let answer = self.join(&key, Role::Manager).await.unwrap();
        let credentials = credentials(self, key, &answer);
        let listen = free_address();
        let address = listen.to_string();
        let channels = Channels::new(credentials.client_config().unwrap());
        let managers = [self.address.clone()];
        let id = join_raft(&channels, &managers, &address).await.unwrap();
        let dir = self.dir.path().join(id.to_string());
        let config = RaftConfig::new(dir, id, address.clone(), [7; 32]);
        let manager = start(config, listen, credentials, Start::Member).await;
        assert!(manager.seated().await);
        Member { manager, address }
    }

    /// A new worker's credentials.
    pub async fn add_worker(&self) -> Arc<Credentials> {
        let key = Request::generate().unwrap();
        let answer = self.join(&key, Role::Worker).await.unwrap();
        credentials(self, key, &answer)
    }

    /// What a machine with this key is answered that shows a token of this role.
    pub async fn join(
        &self,
        key: &Request,
        role: Role,
    ) -> Result<pb::IssueResponse, tonic::Status> {
        self.join_with(key, role, pb::IssueRequest::default()).await
    }

    /// The same with more that it says of itself.
    pub async fn join_with(
        &self,
        key: &Request,
        role: Role,
        request: pb::IssueRequest,
    ) -> Result<pb::IssueResponse, tonic::Status> {
        let digest = self.root.certificate().digest();
        let secret = match role {
            Role::Worker => &self.secrets.worker,
            Role::Manager => &self.secrets.manager,
        };
        let token = JoinToken::new(digest, secret).unwrap();
        let tls = joining_config(self.root.certificate()).unwrap();
        let mut client = CaClient::new(connect(&self.address, tls).unwrap());
        let request = pb::IssueRequest {
            csr: key.pem().to_owned(),
            token: token.to_string(),
            ..request
        };
        Ok(client.issue(request).await?.into_inner())
    }

    /// All nodes.
    pub async fn nodes(&self) -> Vec<pb::Node> {
        nodes(&self.manager).await
    }

    pub async fn remove(&self, node: NodeId) {
        let remove = Change::RemoveNode(pb::RemoveNode {
            id: skep_proto::id_bytes(node),
            force: true,
        });
        change(&self.manager, remove).await.unwrap();
    }

    /// Calls the manager over a connection of its own.
    pub async fn leave(&self, credentials: &Arc<Credentials>) -> Result<(), tonic::Status> {
        let channel = connect(&self.address, credentials.client_config().unwrap()).unwrap();
        let request = pb::RaftLeaveRequest {};
        RaftClient::new(channel).leave(request).await.map(drop)
    }
}

/// A further manager.
pub struct Member {
    pub manager: Manager,
    pub address: String,
}

async fn start(
    raft: RaftConfig,
    listen: SocketAddr,
    credentials: Arc<Credentials>,
    start: Start,
) -> Manager {
    let config = ManagerConfig {
        raft,
        listen,
        credentials,
        network: skep_transport::Tcp::network(),
        keys: None,
        start,
    };
    Manager::start(config).await.unwrap()
}

fn free_address() -> SocketAddr {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    free.local_addr().unwrap()
}

/// All nodes that a manager knows. On a busy machine there may be no leader for a moment.
async fn nodes(manager: &Manager) -> Vec<pb::Node> {
    let request = pb::ReadRequest {
        nodes: true,
        ..pb::ReadRequest::default()
    };
    let (control, begun) = (manager.control(), Instant::now());
    let read = loop {
        match control.read(tonic::Request::new(request.clone())).await {
            Ok(read) => break read,
            Err(refused) => assert!(
                refused.code() == Code::Unavailable && begun.elapsed() < PATIENCE,
                "{refused}"
            ),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let views = read.into_inner().nodes;
    views.into_iter().filter_map(|view| view.node).collect()
}

async fn change(manager: &Manager, change: Change) -> Result<(), Status> {
    let request = pb::ChangeRequest {
        changes: vec![pb::Change {
            change: Some(change),
        }],
    };
    let control = manager.control();
    control.change(tonic::Request::new(request)).await.map(drop)
}

/// Has a manager give a node this role.
pub async fn set_role(manager: &Manager, node: NodeId, role: Role) {
    let begun = Instant::now();
    loop {
        let id = skep_proto::id_bytes(node);
        let mut nodes = nodes(manager).await.into_iter();
        let now = nodes.find(|node| node.id == id).unwrap();
        let spec = NodeSpec {
            role,
            ..NodeSpec::default()
        };
        let update = Change::UpdateNode(pb::UpdateNode {
            id,
            version: now.meta.unwrap().version,
            spec: Some((&spec).into()),
        });
        match change(manager, update).await {
            Ok(()) => return,
            // Somebody else changed it meanwhile, or the leader.
            Err(refused) => assert!(begun.elapsed() < PATIENCE, "{refused}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A session of an agent with one manager.
pub struct Session {
    pub client: DispatcherClient<Channel>,
    pub messages: Streaming<pb::SessionMessage>,
    pub welcome: pb::Welcome,
}

impl Session {
    pub async fn open(address: &str, worker: &Arc<Credentials>) -> Result<Session, Status> {
        let channel = connect(address, worker.client_config().unwrap()).unwrap();
        let mut client = DispatcherClient::new(channel);
        let request = pb::SessionRequest {
            description: Some((&NodeDescription::default()).into()),
        };
        let mut messages = client.session(request).await?.into_inner();
        let first = messages.message().await?.and_then(|first| first.message);
        let Some(pb::session_message::Message::Welcome(welcome)) = first else {
            panic!("a session begins with a welcome, not with {first:?}");
        };
        Ok(Session {
            client,
            messages,
            welcome,
        })
    }

    pub async fn beat(&mut self) -> Result<(), Status> {
        let session = self.welcome.session.clone();
        let request = pb::HeartbeatRequest { session };
        self.client.heartbeat(request).await.map(drop)
    }

    /// The stream of assignments, from its beginning.
    pub async fn assignments(&mut self) -> Streaming<pb::AssignmentsMessage> {
        let session = self.welcome.session.clone();
        let request = pb::AssignmentsRequest {
            session,
            ..pb::AssignmentsRequest::default()
        };
        self.client.assignments(request).await.unwrap().into_inner()
    }
}

fn cluster(spec: ClusterSpec, root: &Root, join_secrets: JoinSecrets) -> Cluster {
    Cluster {
        id: CLUSTER,
        meta: Meta::default(),
        spec,
        root_ca: RootCa::new(root.certificate().pem().to_owned(), root.key_pem()),
        join_secrets,
        blocked: Default::default(),
        certificates_until: Default::default(),
        last_raft_id: 0,
        format: Default::default(),
        unlock_key: None,
        clients: Default::default(),
    }
}

fn first_node(id: NodeId, address: &str) -> Node {
    Node {
        id,
        meta: Meta::default(),
        spec: NodeSpec {
            role: Role::Manager,
            ..NodeSpec::default()
        },
        description: NodeDescription::default(),
        status: NodeStatus::default(),
        role: Role::Manager,
        role_since: Default::default(),
        drain_since: None,
        manager: Some(ManagerStatus {
            raft_id: 1,
            address: address.to_owned(),
            format: Default::default(),
        }),
        mesh: None,
    }
}

pub fn credentials(swarm: &Swarm, key: Request, answer: &pb::IssueResponse) -> Arc<Credentials> {
    let identity = key.complete(&answer.certificate, swarm.root.certificate().clone());
    Credentials::new(identity.unwrap()).unwrap()
}

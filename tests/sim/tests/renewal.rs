//! An agent whose certificate is renewed, at managers that only this test moves:
//! it opens a new session and stays where it is, whatever the order in which the
//! old one ends and the new one speaks.

use skep_agent::{Held, Line, Reporter, Told, Work};
use skep_manager_ca::{Credentials, Request, Root, Subject};
use skep_proto::pb;
use skep_proto::pb::dispatcher_client::DispatcherClient;
use skep_proto::pb::dispatcher_server::{Dispatcher, DispatcherServer};
use skep_transport::{Channels, Network, Tcp};
use skep_types::assignment::AssignmentSet;
use skep_types::{ClusterId, Meta, Node, NodeDescription, NodeId, NodeSpec, NodeStatus, Role};
use std::net::TcpListener;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Server};
use tonic::{Response, Status, Streaming};

const SOON: Duration = Duration::from_secs(20);
const NODE: NodeId = NodeId::from_bits(5);

type Messages = mpsc::Sender<Result<pb::SessionMessage, Status>>;
type Answer = oneshot::Sender<Result<(), Status>>;

/// Somebody asks for a session.
struct Asked {
    hostname: String,
    /// What is said in it.
    messages: Messages,
    /// Whether it is opened.
    answer: Answer,
}

impl Asked {
    /// Opens it, with a welcome; `None` when the agent did not wait for that.
    async fn open(self) -> Option<Messages> {
        self.answer.send(Ok(())).ok()?;
        let welcome = pb::session_message::Message::Welcome(welcome());
        let message = pb::SessionMessage {
            message: Some(welcome),
        };
        self.messages.send(Ok(message)).await.ok()?;
        Some(self.messages)
    }

    fn refuse(self, why: &str) {
        // It may not have waited for that.
        let _ = self.answer.send(Err(Status::unavailable(why)));
    }
}

fn welcome() -> pb::Welcome {
    let node = Node {
        id: NODE,
        meta: Meta::default(),
        spec: NodeSpec::default(),
        description: NodeDescription::default(),
        status: NodeStatus::default(),
        role: Role::Worker,
        role_since: Default::default(),
        drain_since: None,
        manager: None,
        mesh: None,
    };
    pb::Welcome {
        session: vec![1].into(),
        node: Some((&node).into()),
        // None is due meanwhile, so none is late.
        heartbeat_ms: 20_000,
        mesh_subnet: "10.0.0.0/8".to_owned(),
        ..pb::Welcome::default()
    }
}

/// A manager that asks the test.
struct Puppet(mpsc::Sender<Asked>);

#[tonic::async_trait]
impl Dispatcher for Puppet {
    type SessionStream = ReceiverStream<Result<pb::SessionMessage, Status>>;
    type AssignmentsStream = ReceiverStream<Result<pb::AssignmentsMessage, Status>>;

    async fn session(
        &self,
        request: tonic::Request<pb::SessionRequest>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let (messages, stream) = mpsc::channel(4);
        let (answer, answered) = oneshot::channel();
        let description = request.into_inner().description.unwrap_or_default();
        let asked = Asked {
            hostname: description.hostname,
            messages,
            answer,
        };
        let gone = |_| Status::unavailable("the test is over");
        self.0.send(asked).await.map_err(|_| gone(()))?;
        answered.await.map_err(|_| gone(()))??;
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn heartbeat(
        &self,
        _: tonic::Request<pb::HeartbeatRequest>,
    ) -> Result<Response<pb::HeartbeatResponse>, Status> {
        Ok(Response::new(pb::HeartbeatResponse {}))
    }

    async fn assignments(
        &self,
        _: tonic::Request<pb::AssignmentsRequest>,
    ) -> Result<Response<Self::AssignmentsStream>, Status> {
        let (says_nothing, stream) = mpsc::channel(1);
        tokio::spawn(async move { says_nothing.closed().await });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn update_task_status(
        &self,
        _: tonic::Request<pb::UpdateTaskStatusRequest>,
    ) -> Result<Response<pb::UpdateTaskStatusResponse>, Status> {
        Ok(Response::new(pb::UpdateTaskStatusResponse {}))
    }

    async fn publish_logs(
        &self,
        _: tonic::Request<Streaming<pb::PublishLogsRequest>>,
    ) -> Result<Response<pb::PublishLogsResponse>, Status> {
        Ok(Response::new(pb::PublishLogsResponse {}))
    }
}

/// Nothing to do.
struct Idle;

#[tonic::async_trait]
impl Work for Idle {
    async fn assign(&self, _: Arc<AssignmentSet>, _: ipnet::Ipv4Net) {}

    fn logs(
        &self,
        _: DispatcherClient<Channel>,
        _: pb::LogRequest,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(std::future::ready(()))
    }
}

fn credentials(root: &Root, node: NodeId, role: Role) -> Arc<Credentials> {
    let key = Request::generate().unwrap();
    let subject = Subject {
        node,
        role,
        cluster: ClusterId::from_bits(7),
    };
    let life = Duration::from_secs(3600);
    let issued = root.issue(key.pem(), &subject, life, SystemTime::now());
    let identity = key.complete(&issued.unwrap().pem, root.certificate().clone());
    Credentials::new(identity.unwrap()).unwrap()
}

/// A manager that is moved by what comes out of the receiver, and its address.
async fn puppet(root: &Root) -> (String, mpsc::Receiver<Asked>) {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let tls = credentials(root, NodeId::from_bits(1), Role::Manager);
    let listener = Tcp.listen(address).await.unwrap();
    let secured = skep_transport::accept(listener, tls.server_config().unwrap(), None);
    let (asked, asks) = mpsc::channel(4);
    let server = Server::builder().add_service(DispatcherServer::new(Puppet(asked)));
    tokio::spawn(server.serve_with_incoming(secured));
    (address.to_string(), asks)
}

/// Two managers and an agent that knows both. It has a session at the first of
/// those returned.
struct Cast {
    here: mpsc::Receiver<Asked>,
    there: mpsc::Receiver<Asked>,
    session: Messages,
    description: watch::Sender<NodeDescription>,
}

impl Cast {
    async fn start() -> Cast {
        let root = Root::generate(SystemTime::now()).unwrap();
        let (first, mut at_first) = puppet(&root).await;
        let (second, mut at_second) = puppet(&root).await;
        let worker = credentials(&root, NODE, Role::Worker);
        let (description, described) = watch::channel(NodeDescription::default());
        let line = Line {
            work: Arc::new(Idle),
            reporter: Reporter::default(),
            told: watch::Sender::new(None::<Told>),
            channels: Channels::new(worker.client_config().unwrap()),
            known: vec![first, second],
            described,
            held: Held::default(),
        };
        tokio::spawn(line.hold(NODE));
        // Which one it prefers is its own affair.
        let (session, here, there) = loop {
            tokio::select! {
                Some(asked) = at_first.recv() => if let Some(session) = asked.open().await {
                    break (session, at_first, at_second);
                },
                Some(asked) = at_second.recv() => if let Some(session) = asked.open().await {
                    break (session, at_second, at_first);
                },
            }
        };
        Cast {
            here,
            there,
            session,
            description,
        }
    }

    fn renew(&self, name: &str) {
        self.description.send_modify(|description| {
            description.hostname = name.to_owned();
        });
    }

    /// The next wish for a session where the first one was; `None` if it is
    /// another manager that is asked.
    async fn asked(&mut self) -> Option<Asked> {
        let asked = tokio::time::timeout(SOON, async {
            tokio::select! {
                asked = self.here.recv() => asked,
                _ = self.there.recv() => None,
            }
        });
        asked.await.expect("it asks for a new session")
    }

    async fn asked_here(&mut self) -> Asked {
        self.asked().await.expect("it goes to another manager")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_old_session_may_end_before_the_new_one_speaks() {
    for _ in 0..20 {
        if the_old_session_ends_first().await {
            return;
        }
    }
    panic!("this machine stands still all the time");
}

/// An attempt; false when the machine stood still: an agent waits for a second.
async fn the_old_session_ends_first() -> bool {
    let mut cast = Cast::start().await;
    for name in ["a", "b"] {
        let begun = Instant::now();
        cast.renew(name);
        let asked = cast.asked().await;
        // As a manager does, which holds one session of a node.
        let (ended, _) = mpsc::channel(1);
        drop(std::mem::replace(&mut cast.session, ended));
        // Time to see that.
        tokio::time::sleep(Duration::from_millis(50)).await;
        let hostname = asked.as_ref().map(|asked| asked.hostname.clone());
        let opened = match asked {
            Some(asked) => asked.open().await,
            None => None,
        };
        if begun.elapsed() > Duration::from_millis(700) {
            return false;
        }
        assert_eq!(hostname.as_deref(), Some(name));
        cast.session = opened.expect("it waits for the new session");
    }
    let left = tokio::time::timeout(Duration::from_secs(2), cast.session.closed()).await;
    assert!(left.is_err(), "the new session has ended");
    assert!(cast.there.try_recv().is_err(), "it went to another manager");
    true
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manager_that_has_no_new_session_to_give_keeps_the_old_one() {
    let mut cast = Cast::start().await;
    cast.renew("a");
    for _ in 0..2 {
        let asked = cast.asked_here().await;
        asked.refuse("this manager lags behind; ask another");
        assert!(!cast.session.is_closed(), "the old session was given up");
    }
    // What is new meanwhile is told with it.
    cast.renew("b");
    let opened = loop {
        let asked = cast.asked_here().await;
        if asked.hostname != "b" {
            asked.refuse("busy");
        } else if let Some(opened) = asked.open().await {
            break opened;
        }
    };
    let ended = tokio::time::timeout(SOON, cast.session.closed()).await;
    ended.expect("the old session ends once the new one is open");
    drop(opened);
}

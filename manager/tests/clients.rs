//! People and tools at the port of real managers: what they may ask, and that it ends when
//! they are removed.

mod support;

use skep_manager_ca::{ClientKey, Request};
use skep_proto::pb;
use skep_proto::pb::ca_client::CaClient;
use skep_proto::pb::change::Change;
use skep_proto::pb::control_client::ControlClient;
use skep_proto::pb::control_server::Control as _;
use skep_proto::pb::dispatcher_client::DispatcherClient;
use skep_proto::pb::raft_client::RaftClient;
use skep_transport::connect;
use skep_types::{ClientRole, NetworkSpec};
use std::time::{Duration, Instant};
use support::Swarm;
use tonic::transport::Channel;
use tonic::{Code, Status};

const SOON: Duration = Duration::from_secs(30);
const LIFE: Duration = Duration::from_secs(86_400);

fn create(name: &str, role: ClientRole, life: Duration, request: &Request) -> Change {
    Change::CreateClient(pb::CreateClient {
        name: name.to_owned(),
        csr: request.pem().to_owned(),
        role: pb::ClientRole::from(role).into(),
        life_ms: life.as_millis().try_into().unwrap(),
    })
}

fn one(change: Change) -> pb::ChangeRequest {
    pb::ChangeRequest {
        changes: vec![pb::Change {
            change: Some(change),
        }],
    }
}

async fn ask(swarm: &Swarm, change: Change) -> Result<pb::ChangeResponse, Status> {
    let asked = tonic::Request::new(one(change));
    Ok(swarm.manager.control().change(asked).await?.into_inner())
}

async fn client(swarm: &Swarm, name: &str, role: ClientRole) -> ClientKey {
    let request = Request::generate().unwrap();
    let told = ask(swarm, create(name, role, LIFE, &request)).await;
    let issued = told.unwrap().client.unwrap();
    let key = request.complete_client(&issued.certificate, &issued.roots);
    key.unwrap()
}

fn dial(address: &str, client: &ClientKey) -> Channel {
    connect(address, client.config().unwrap()).unwrap()
}

fn network(name: &str) -> Change {
    let spec = NetworkSpec {
        name: name.to_owned(),
        driver: "overlay".to_owned(),
        ..NetworkSpec::default()
    };
    Change::CreateNetwork((&spec).into())
}

fn cluster() -> pb::ReadRequest {
    pb::ReadRequest {
        cluster: true,
        ..pb::ReadRequest::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_ask_what_users_may_and_nothing_else() {
    let swarm = Swarm::start().await;
    let alice = client(&swarm, "alice", ClientRole::Admin).await;
    let watcher = client(&swarm, "watcher", ClientRole::ReadOnly).await;

    let channel = dial(&swarm.address, &alice);
    let mut control = ControlClient::new(channel.clone());
    control.change(one(network("front"))).await.unwrap();
    let read = control.read(cluster()).await.unwrap().into_inner();
    assert!(!read.asked.is_empty(), "who was asked");
    let read = read.cluster.unwrap();
    assert!(read.worker_token.starts_with("SWMTKN-1-"));
    let names = |clients: &[pb::Client]| -> Vec<String> {
        clients.iter().map(|client| client.name.clone()).collect()
    };
    assert_eq!(names(&read.clients), ["alice", "watcher"]);
    // What is said among nodes is not for them, whatever they may do.
    let session = pb::SessionRequest::default();
    let refused = DispatcherClient::new(channel.clone())
        .session(session)
        .await;
    let renewed = CaClient::new(channel.clone())
        .issue(pb::IssueRequest::default())
        .await;
    let left = RaftClient::new(channel.clone())
        .leave(pb::RaftLeaveRequest {})
        .await;
    let stepped = RaftClient::new(channel)
        .step(pb::StepRequest::default())
        .await;
    for refused in [
        refused.err().unwrap(),
        renewed.err().unwrap(),
        left.err().unwrap(),
        stepped.err().unwrap(),
    ] {
        assert_eq!(refused.code(), Code::Unauthenticated, "{refused}");
        assert!(refused.message().contains("client"), "{refused}");
    }

    let mut control = ControlClient::new(dial(&swarm.address, &watcher));
    let refused = control.change(one(network("back"))).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    assert!(
        refused.message().contains("client watcher may only look"),
        "{refused}"
    );
    let read = control.read(cluster()).await.unwrap().into_inner();
    let read = read.cluster.unwrap();
    assert_eq!(read.clients.len(), 2);
    assert_eq!(
        read.worker_token + &read.manager_token + &read.unlock_key,
        ""
    );
    swarm.manager.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manager_that_does_not_lead_serves_clients_too() {
    let swarm = Swarm::start().await;
    let second = swarm.add_manager().await;
    let alice = client(&swarm, "alice", ClientRole::Admin).await;
    let mut control = ControlClient::new(dial(&second.address, &alice));
    let begun = Instant::now();
    // It may hear of her a moment later.
    while let Err(refused) = control.change(one(network("front"))).await {
        assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
        assert!(begun.elapsed() < SOON, "{refused}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(
        swarm
            .manager
            .snapshot()
            .networks()
            .any(|n| n.spec.name == "front")
    );
    second.manager.stop().await;
    swarm.manager.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_is_removed_is_cut_off_and_told() {
    let swarm = Swarm::start().await;
    let alice = client(&swarm, "alice", ClientRole::Admin).await;
    let mut control = ControlClient::new(dial(&swarm.address, &alice));
    let watched = control.watch(pb::WatchRequest::default()).await;
    let mut watched = watched.unwrap().into_inner();

    ask(&swarm, Change::RemoveClient("alice".to_owned()))
        .await
        .unwrap();
    let ended = tokio::time::timeout(SOON, async {
        while let Ok(Some(_)) = watched.message().await {}
    });
    ended.await.expect("it watches on");
    // On a new connection, where what is refused can be told.
    let mut control = ControlClient::new(dial(&swarm.address, &alice));
    let refused = control.read(cluster()).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    assert!(
        refused.message().contains("there is no client \"alice\""),
        "{refused}"
    );

    // Another one of that name does not bring the old certificate back.
    let new = client(&swarm, "alice", ClientRole::Admin).await;
    let refused = control.read(cluster()).await.unwrap_err();
    assert!(
        refused.message().contains("has another certificate now"),
        "{refused}"
    );
    let mut control = ControlClient::new(dial(&swarm.address, &new));
    control.read(cluster()).await.unwrap();
    swarm.manager.stop().await;
}

#[tokio::test]
async fn what_cannot_be_issued_is_refused_with_what_to_do() {
    let swarm = Swarm::start().await;
    let request = Request::generate().unwrap();
    let admin = ClientRole::Admin;
    ask(&swarm, create("alice", admin, LIFE, &request))
        .await
        .unwrap();
    let minute = Duration::from_secs(60);
    for (change, code, words) in [
        (
            create("alice", admin, LIFE, &request),
            Code::AlreadyExists,
            "skep swarm client rm alice",
        ),
        (
            create("a b", admin, LIFE, &request),
            Code::InvalidArgument,
            "invalid client name",
        ),
        (
            create("bob", admin, minute, &request),
            Code::InvalidArgument,
            "minimum",
        ),
        (
            Change::RemoveClient("carol".to_owned()),
            Code::NotFound,
            "client carol not found",
        ),
    ] {
        let refused = ask(&swarm, change).await.unwrap_err();
        assert_eq!(refused.code(), code, "{refused}");
        assert!(refused.message().contains(words), "{refused}");
    }
    swarm.manager.stop().await;
}

//! How nodes get into a swarm and are kept out of it, at the port of a real
//! manager.

mod support;

use skep_manager_ca::{Request, joining_config};
use skep_proto::pb;
use skep_proto::pb::ca_client::CaClient;
use skep_proto::pb::raft_client::RaftClient;
use skep_transport::connect;
use skep_types::Role;
use std::time::{Duration, Instant};
use support::{Session, Swarm, credentials};

#[tokio::test]
async fn a_removed_node_is_refused_at_the_door() {
    let swarm = Swarm::start().await;
    let key = Request::generate().unwrap();
    let answer = swarm.join(&key, Role::Worker).await.unwrap();
    let worker = credentials(&swarm, key, &answer);
    swarm.leave(&worker).await.unwrap();

    swarm.remove(worker.identity().peer().node).await;
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let refused = swarm.leave(&worker).await.unwrap_err();
        // Only what TLS refused never came to a service.
        if std::error::Error::source(&refused).is_some() {
            break;
        }
        assert_eq!(refused.code(), tonic::Code::PermissionDenied, "{refused}");
        assert!(Instant::now() < deadline, "only refused by the service");
    }
    swarm.manager.stop().await;
}

#[tokio::test]
async fn a_connection_of_a_removed_node_does_not_outlive_the_removal() {
    let swarm = Swarm::start().await;
    let worker = swarm.add_worker().await;
    let channel = connect(&swarm.address, worker.client_config().unwrap()).unwrap();
    let mut client = RaftClient::new(channel);
    client.leave(pb::RaftLeaveRequest {}).await.unwrap();

    swarm.remove(worker.identity().peer().node).await;
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let call = client.leave(pb::RaftLeaveRequest {});
        let refused = call.await.unwrap_err();
        // On the connection of before a service would answer for ever.
        if std::error::Error::source(&refused).is_some() {
            break;
        }
        assert!(Instant::now() < deadline, "still connected: {refused}");
    }
    swarm.manager.stop().await;
}

#[tokio::test]
async fn a_demoted_manager_cannot_speak_as_one_with_its_old_certificate() {
    let swarm = Swarm::start().await;
    let key = Request::generate().unwrap();
    let answer = swarm.join(&key, Role::Manager).await.unwrap();
    let manager = credentials(&swarm, key, &answer);
    let channel = connect(&swarm.address, manager.client_config().unwrap()).unwrap();
    let mut client = RaftClient::new(channel);
    let step = || pb::StepRequest {
        payload: vec![1].into(),
    };
    let heard = client.step(step()).await.unwrap_err();
    assert_ne!(heard.code(), tonic::Code::PermissionDenied, "{heard}");

    swarm.leave(&manager).await.unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    let refused = loop {
        let refused = client.step(step()).await.unwrap_err();
        if refused.code() == tonic::Code::PermissionDenied {
            break refused;
        }
        assert!(Instant::now() < deadline, "still heard: {refused}");
    };
    assert!(refused.message().contains("not a manager any more"));
    swarm.manager.stop().await;
}

#[tokio::test]
async fn a_machine_that_asks_again_is_the_same_node() {
    let swarm = Swarm::start().await;
    let key = Request::generate().unwrap();
    // Both under way at once, and one long after.
    let (first, second) = tokio::join!(
        swarm.join(&key, Role::Worker),
        swarm.join(&key, Role::Worker)
    );
    let again = swarm.join(&key, Role::Worker).await.unwrap();
    let first = first.unwrap();
    assert_eq!(first.node_id, second.unwrap().node_id);
    assert_eq!(first.node_id, again.node_id);
    assert_eq!(swarm.nodes().await.len(), 2);

    let another = Request::generate().unwrap();
    let another = swarm.join(&another, Role::Worker).await.unwrap();
    assert_ne!(first.node_id, another.node_id);
    assert_eq!(swarm.nodes().await.len(), 3);

    // A token of another role does not give it that role.
    let refused = swarm.join(&key, Role::Manager).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::PermissionDenied);

    // Once it was removed its key does not bring it back.
    let node = skep_proto::id(&first.node_id, "node").unwrap();
    swarm.remove(node).await;
    let refused = swarm.join(&key, Role::Worker).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::PermissionDenied);
    swarm.manager.stop().await;
}

#[tokio::test]
async fn a_manager_that_goes_before_it_has_a_seat_is_down_at_once() {
    let swarm = Swarm::start().await;
    let key = Request::generate().unwrap();
    let answer = swarm.join(&key, Role::Manager).await.unwrap();
    assert_eq!(answer.role(), pb::Role::Manager);
    swarm
        .leave(&credentials(&swarm, key, &answer))
        .await
        .unwrap();
    let nodes = swarm.nodes().await;
    let gone = nodes.iter().find(|n| n.id == answer.node_id).unwrap();
    let status = gone.status.clone().unwrap();
    assert_eq!(status.state(), pb::NodeState::Down);
    assert_eq!(
        gone.spec.clone().unwrap().role(),
        pb::Role::Worker,
        "{gone:?}"
    );
    swarm.manager.stop().await;
}

#[tokio::test]
async fn a_removed_node_is_told_nothing_more() {
    let swarm = Swarm::start().await;
    let key = Request::generate().unwrap();
    let answer = swarm.join(&key, Role::Worker).await.unwrap();
    let worker = credentials(&swarm, key, &answer);
    let mut session = Session::open(&swarm.address, &worker).await.unwrap();
    let mut assignments = session.assignments().await;
    assert!(assignments.message().await.unwrap().unwrap().complete);

    // Its session is gone already; what is left is to end as well.
    drop(session);
    swarm.remove(worker.identity().peer().node).await;
    let rest = async { while let Ok(Some(_)) = assignments.message().await {} };
    tokio::time::timeout(Duration::from_secs(10), rest)
        .await
        .expect("the stream of a removed node goes on");
    swarm.manager.stop().await;
}

#[tokio::test]
async fn who_has_no_certificate_is_refused_before_much_is_read() {
    let swarm = Swarm::start().await;
    let tls = joining_config(swarm.root.certificate()).unwrap();
    let channel = connect(&swarm.address, tls).unwrap();
    let step = pb::StepRequest {
        // More than a service would read.
        payload: vec![0; 9 << 20].into(),
    };
    let refused = RaftClient::new(channel.clone()).step(step).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unauthenticated, "{refused}");

    let request = pb::IssueRequest {
        csr: "x".repeat(100_000),
        ..pb::IssueRequest::default()
    };
    let refused = CaClient::new(channel).issue(request).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::OutOfRange, "{refused}");
    swarm.manager.stop().await;
}

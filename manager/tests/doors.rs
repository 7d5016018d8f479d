//! Agents at managers that do not lead: heard by the leader, told what is new,
//! kept when the leader changes, and cut off with the swarm's other doors.

mod support;

use prost::Message as _;
use skep_manager_ca::Credentials;
use skep_proto::pb;
use skep_proto::pb::change::Change;
use skep_proto::pb::control_server::Control as _;
use skep_types::{ClusterSpec, NodeId, NodeState, Role};
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::{Member, Session, Swarm, set_role};
use tonic::Code;

const SOON: Duration = Duration::from_secs(90);

/// A swarm whose first manager leads, and two more.
async fn three() -> (Swarm, Member, Member) {
    three_with(ClusterSpec::default()).await
}

async fn three_with(spec: ClusterSpec) -> (Swarm, Member, Member) {
    let swarm = Swarm::with(spec).await;
    let second = swarm.add_manager().await;
    let third = swarm.add_manager().await;
    (swarm, second, third)
}

/// A session with a manager that may not hear the leader yet.
async fn session(address: &str, worker: &Arc<Credentials>) -> Session {
    let deadline = Instant::now() + SOON;
    loop {
        match Session::open(address, worker).await {
            Ok(session) => return session,
            Err(refused) => assert!(Instant::now() < deadline, "{refused}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn state(manager: &skep_manager::Manager, node: NodeId) -> Option<NodeState> {
    let snapshot = manager.snapshot();
    snapshot.node(node).map(|node| node.status.state)
}

fn name_of(network: usize) -> String {
    format!("n{network}")
}

/// Whether a message tells of this network.
fn names_network(message: pb::AssignmentsMessage, network: usize) -> bool {
    let pieces = message.shared.into_iter();
    let pieces = pieces.map(|piece| pb::AssignmentsMessage::decode(piece).unwrap());
    pieces.flat_map(|piece| piece.changes).any(|change| {
        let Some(pb::assignment_change::Change::Network(told)) = change.change else {
            return false;
        };
        told.spec.is_some_and(|spec| spec.name == name_of(network))
    })
}

/// On a busy machine there may be no leader for a moment, and an answer may get lost.
async fn create_network(swarm: &Swarm, name: &str) {
    let spec = pb::NetworkSpec {
        name: name.to_owned(),
        driver: "overlay".to_owned(),
        ..pb::NetworkSpec::default()
    };
    let change = Change::CreateNetwork(spec);
    let request = pb::ChangeRequest {
        changes: vec![pb::Change {
            change: Some(change),
        }],
    };
    let (control, deadline) = (swarm.manager.control(), Instant::now() + SOON);
    while let Err(refused) = control.change(tonic::Request::new(request.clone())).await {
        if refused.message().contains("already exists") {
            return;
        }
        assert_eq!(refused.code(), Code::Unavailable, "{refused}");
        assert!(Instant::now() < deadline, "{refused}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_at_a_follower_is_heard_and_told_what_is_new() {
    // It is told of much, and must not be taken for lost meanwhile.
    let (swarm, second, _third) = three_with(ClusterSpec {
        heartbeat: Duration::from_secs(10),
        ..ClusterSpec::default()
    })
    .await;
    let worker = swarm.add_worker().await;
    let node = worker.identity().peer().node;
    let mut session = session(&second.address, &worker).await;
    until("the leader hears it", || {
        state(&swarm.manager, node) == Some(NodeState::Ready)
    })
    .await;

    let mut assignments = session.assignments().await;
    let first = assignments.message().await.unwrap().unwrap();
    assert!(first.complete);
    for n in 0..20 {
        create_network(&swarm, &name_of(n)).await;
        // Its subnet comes in a message of its own.
        while !names_network(assignments.message().await.unwrap().unwrap(), n) {}
        session.beat().await.unwrap();
    }

    // Three heartbeats are missing.
    until("it is silent, and that is seen", || {
        state(&swarm.manager, node) == Some(NodeState::Down)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_at_a_follower_outlives_the_leader_and_is_not_given_up() {
    let heartbeat = Duration::from_secs(3);
    let (swarm, second, third) = three_with(ClusterSpec {
        heartbeat,
        ..ClusterSpec::default()
    })
    .await;
    let worker = swarm.add_worker().await;
    let node = worker.identity().peer().node;
    let mut open = session(&second.address, &worker).await;
    until("the leader hears it", || {
        state(&second.manager, node) == Some(NodeState::Ready)
    })
    .await;
    swarm.manager.stop().await;
    let begun = Instant::now();
    // Longer than a new leader waits for a node it has not heard.
    while begun.elapsed() < heartbeat * 5 {
        if open.beat().await.is_err() {
            // The election took longer than a heartbeat: agents are sent away.
            open = session(&second.address, &worker).await;
        }
        assert_eq!(state(&second.manager, node), Some(NodeState::Ready));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    until("one of the others leads", || {
        second.manager.is_leader() || third.manager.is_leader()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manager_that_hears_no_leader_sends_its_agents_away() {
    let (swarm, second, third) = three().await;
    let worker = swarm.add_worker().await;
    let mut session = session(&second.address, &worker).await;
    swarm.manager.stop().await;
    third.manager.stop().await;
    // Two of three are gone: there is no leader any more.
    let ended = async { while let Ok(Some(_)) = session.messages.message().await {} };
    tokio::time::timeout(SOON, ended)
        .await
        .expect("the session goes on");
    assert!(session.beat().await.is_err());
    assert!(Session::open(&second.address, &worker).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_demoted_and_promoted_at_once_sends_its_agents_away() {
    let (swarm, second, _third) = three().await;
    let worker = swarm.add_worker().await;
    let mut session = session(&swarm.address, &worker).await;
    let first = NodeId::from_bits(1);
    set_role(&swarm.manager, first, Role::Worker).await;
    let has_no_seat = || {
        let snapshot = second.manager.snapshot();
        snapshot
            .node(first)
            .is_some_and(|node| node.manager.is_none())
    };
    until("another one leads, and takes its seat away", has_no_seat).await;
    set_role(&second.manager, first, Role::Manager).await;
    // Its agent has to hear elsewhere that there is a new seat to take.
    let ended = async { while let Ok(Some(_)) = session.messages.message().await {} };
    tokio::time::timeout(SOON, ended)
        .await
        .expect("the session goes on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_node_is_cut_off_at_every_manager() {
    let (swarm, second, third) = three().await;
    let worker = swarm.add_worker().await;
    let mut at_second = session(&second.address, &worker).await;
    let mut at_third = session(&third.address, &worker).await;
    swarm.remove(worker.identity().peer().node).await;
    for session in [&mut at_second, &mut at_third] {
        let ended = async { while let Ok(Some(_)) = session.messages.message().await {} };
        tokio::time::timeout(SOON, ended)
            .await
            .expect("the session goes on");
        assert!(session.beat().await.is_err());
    }
    for address in [&swarm.address, &second.address, &third.address] {
        assert!(Session::open(address, &worker).await.is_err());
    }
}

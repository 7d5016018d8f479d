//! What users ask of the membership, and what they are refused.

mod support;

use skep_manager_ca::Request;
use skep_manager_raft::{Reachability, Status};
use skep_proto::pb;
use skep_proto::pb::change::Change;
use skep_proto::pb::control_server::Control as _;
use skep_types::Role;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use support::Swarm;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manager_whose_loss_would_cost_the_majority_is_not_demoted() {
    let swarm = Swarm::start().await;
    let second = swarm.add_manager().await;
    let third = swarm.add_manager().await;
    third.manager.stop().await;
    let deadline = Instant::now() + Duration::from_secs(60);
    let gone = |status: &Status| {
        let mut others = status.members.iter();
        others.any(|other| other.reachability == Reachability::Unreachable)
    };
    // Only who leads knows; on a busy machine that may be the second by now.
    let leader = || match second.manager.is_leader() {
        true => &second.manager,
        false => &swarm.manager,
    };
    while !gone(&leader().raft_status()) {
        assert!(Instant::now() < deadline, "its loss is never noticed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    let nodes = swarm.nodes().await;
    let at = |node: &&pb::Node| {
        let seat = node.manager.as_ref();
        seat.is_some_and(|seat| seat.address == second.address)
    };
    let node = nodes.iter().find(at).unwrap().clone();
    let spec = pb::NodeSpec {
        role: pb::Role::Worker.into(),
        ..node.spec.clone().unwrap()
    };
    let demote = Change::UpdateNode(pb::UpdateNode {
        id: node.id.clone(),
        version: 0,
        spec: Some(spec),
    });
    let request = pb::ChangeRequest {
        changes: vec![pb::Change {
            change: Some(demote),
        }],
    };
    let control = swarm.manager.control();
    let refused = loop {
        let refused = control.change(tonic::Request::new(request.clone())).await;
        let refused = refused.unwrap_err();
        if refused.code() != tonic::Code::Unavailable {
            break refused;
        }
        assert!(Instant::now() < deadline, "{refused}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(refused.code(), tonic::Code::FailedPrecondition, "{refused}");
    assert!(refused.message().contains("loss of quorum"), "{refused}");
    let specs = |nodes: Vec<pb::Node>| -> Vec<_> {
        let specs = nodes.into_iter().map(|node| (node.id, node.spec));
        specs.collect()
    };
    let after = specs(swarm.nodes().await);
    assert_eq!(after, specs(nodes), "nothing was written");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_may_come_with_labels() {
    let swarm = Swarm::start().await;
    let known = swarm.nodes().await.len();
    let labelled = |labels: BTreeMap<String, String>| pb::IssueRequest {
        labels,
        ..pb::IssueRequest::default()
    };
    let label = |key: &str, value: &str| BTreeMap::from([(key.to_owned(), value.to_owned())]);
    let key = Request::generate().unwrap();
    let join = |labels| swarm.join_with(&key, Role::Worker, labelled(labels));
    for (labels, said) in [
        (
            (0..129).map(|n| (n.to_string(), String::new())).collect(),
            "129 labels",
        ),
        (label("k", &"v".repeat(1025)), "1024 bytes at most"),
        (label("", "a"), "must have a key"),
    ] {
        let refused = join(labels).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::InvalidArgument, "{refused}");
        assert!(refused.message().contains(said), "{refused}");
    }
    assert_eq!(swarm.nodes().await.len(), known, "no node is left behind");

    let joined = join(label("zone", "a")).await.unwrap();
    // The answer was not heard, and others are asked for: the node is there already.
    join(label("zone", "b")).await.unwrap();
    let nodes = swarm.nodes().await;
    let node = nodes.iter().find(|node| node.id == joined.node_id).unwrap();
    assert_eq!(node.spec.clone().unwrap().labels, label("zone", "a"));
    swarm.manager.stop().await;
}

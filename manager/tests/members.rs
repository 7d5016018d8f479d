//! What users ask of the membership, and what they are refused.

mod support;

use skep_manager_raft::{Reachability, Status};
use skep_proto::pb;
use skep_proto::pb::change::Change;
use skep_proto::pb::control_server::Control as _;
use std::time::{Duration, Instant};
use support::Swarm;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manager_whose_loss_would_cost_the_majority_is_not_demoted() {
    let swarm = Swarm::start().await;
    let second = swarm.add_manager().await;
    let third = swarm.add_manager().await;
    third.manager.stop().await;
    let deadline = Instant::now() + Duration::from_secs(30);
    let gone = |status: &Status| {
        let mut others = status.members.iter();
        others.any(|other| other.reachability == Reachability::Unreachable)
    };
    while !gone(&swarm.manager.raft_status()) {
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
    let refused = control.change(tonic::Request::new(request)).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::FailedPrecondition, "{refused}");
    assert!(refused.message().contains("loss of quorum"), "{refused}");
    assert_eq!(swarm.nodes().await, nodes, "nothing was written");
}

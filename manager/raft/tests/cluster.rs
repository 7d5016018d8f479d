//! Real members on real disks in one process: elections, catching up, coming
//! and going. What goes wrong is in `faults`.

mod common;

use std::collections::BTreeSet;

use common::{Cluster, address_of, calm, until};
use skep_manager_raft::{MemberError, ProposeError, Reachability};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_of_one_takes_proposals_and_remembers_them() {
    let mut cluster = Cluster::new(calm);
    let raft = cluster.start(1).await;
    assert!(matches!(
        raft.propose(b"early".to_vec()).await,
        Err(ProposeError::NotLeader { leader: None })
    ));
    raft.bootstrap().await.unwrap();
    raft.bootstrap().await.unwrap();
    let raft = cluster.leader().await;
    for n in 1..=20_u64 {
        let done = raft.propose(n.to_string().into_bytes()).await.unwrap();
        assert_eq!(done.index, n);
        assert_eq!(done.response, format!("did {n}").into_bytes());
    }
    assert_eq!(raft.read_barrier().await.unwrap(), 20);
    cluster.kill(1).await;
    let raft = cluster.start(1).await;
    cluster.leader().await;
    assert_eq!(cluster.ledger(1).entries().len(), 20);
    assert_eq!(raft.propose(b"21".to_vec()).await.unwrap().index, 21);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_members_hold_the_same_and_followers_point_to_the_leader() {
    let cluster = Cluster::of(3, calm).await;
    let leader = cluster.leader().await;
    let proposals = (0..200_u64).map(|n| {
        let leader = leader.clone();
        tokio::spawn(async move {
            leader
                .propose(n.to_le_bytes().to_vec())
                .await
                .unwrap()
                .index
        })
    });
    let mut indexes = BTreeSet::new();
    for proposal in proposals.collect::<Vec<_>>() {
        indexes.insert(proposal.await.unwrap());
    }
    assert_eq!(indexes, (1..=200).collect());
    cluster.settled(&[1, 2, 3], 200).await;
    assert_eq!(cluster.ledger(1).entries(), cluster.ledger(2).entries());
    assert_eq!(cluster.ledger(1).entries(), cluster.ledger(3).entries());

    let follower = cluster
        .running()
        .into_iter()
        .find(|r| r.id() != leader.id())
        .unwrap();
    assert_eq!(
        follower.propose(b"x".to_vec()).await,
        Err(ProposeError::NotLeader {
            leader: Some((leader.id(), address_of(leader.id())))
        })
    );
    let index = leader.propose(b"seen".to_vec()).await.unwrap().index;
    assert!(common::read(&follower).await >= index);
    assert_eq!(
        cluster.ledger(follower.id()).entries().last().unwrap(),
        b"seen"
    );
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_missed_too_much_catches_up_by_snapshot_in_small_messages() {
    let mut cluster = Cluster::of(3, |config| {
        calm(config);
        config.snapshot_every = 20;
        config.keep_entries = 2;
    })
    .await;
    let leader = cluster.leader().await;
    let behind = cluster
        .running()
        .into_iter()
        .find(|r| r.id() != leader.id())
        .unwrap()
        .id();
    cluster.kill(behind).await;
    for n in 0..60_u8 {
        leader.propose(vec![n; 50_000]).await.unwrap();
    }
    until("the log that the follower misses is gone", || {
        leader.status().snapshot.filter(|s| *s > 40)
    })
    .await;
    cluster.start(behind).await;
    cluster.settled(&[1, 2, 3], 60).await;
    assert!(cluster.member(behind).status().snapshot.is_some());
    assert!(
        cluster.wires.largest() < 1 << 20,
        "a message had {} bytes",
        cluster.wires.largest()
    );
    // What came by snapshot survives a restart.
    cluster.kill(behind).await;
    cluster.start(behind).await;
    cluster.settled(&[behind], 60).await;
    assert_eq!(
        cluster.ledger(behind).entries(),
        cluster.ledger(leader.id()).entries()
    );
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_come_and_go() {
    let mut cluster = Cluster::of(1, calm).await;
    let leader = cluster.leader().await;
    leader.propose(b"old".to_vec()).await.unwrap();
    let unreachable = leader.add_member(2, &address_of(2)).await;
    assert!(
        matches!(unreachable, Err(MemberError::Unreachable { .. })),
        "{unreachable:?}"
    );
    assert_eq!(leader.members().len(), 1);
    assert_eq!(leader.remove_member(1).await, Err(MemberError::LastVoter));

    let second = cluster.start(2).await;
    leader.add_member(2, &address_of(2)).await.unwrap();
    leader.add_member(2, &address_of(2)).await.unwrap();
    assert!(leader.members().iter().all(|m| m.voter));
    assert!(matches!(
        second.add_member(3, &address_of(3)).await,
        Err(MemberError::NotLeader {
            leader: Some((1, _))
        })
    ));
    cluster.start(3).await;
    leader.add_member(3, &address_of(3)).await.unwrap();
    cluster.settled(&[1, 2, 3], 1).await;
    assert_eq!(leader.remove_member(1).await, Err(MemberError::IsLeader));

    cluster.kill(3).await;
    until("the third is found missing", || {
        let status = leader.status();
        (status.members[2].reachability == Reachability::Unreachable).then_some(())
    })
    .await;
    assert_eq!(leader.remove_member(2).await, Err(MemberError::QuorumLoss));
    leader.remove_member(3).await.unwrap();
    leader.remove_member(3).await.unwrap();
    assert_eq!(leader.members().len(), 2);
    leader.remove_member(2).await.unwrap();
    assert_eq!(leader.members().len(), 1);
    leader.propose(b"alone".to_vec()).await.unwrap();
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_can_be_handed_over_without_an_election_timeout() {
    let cluster = Cluster::of(3, calm).await;
    let old = cluster.leader().await;
    old.propose(b"one".to_vec()).await.unwrap();
    let new = old.transfer_leadership().await.unwrap();
    assert_ne!(new, old.id());
    let leader = cluster.leader().await;
    assert_ne!(leader.id(), old.id());
    leader.propose(b"two".to_vec()).await.unwrap();
    cluster.settled(&[1, 2, 3], 2).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proposal_that_is_too_large_is_refused_and_one_just_below_goes_through() {
    let cluster = Cluster::of(3, calm).await;
    let leader = cluster.leader().await;
    let limit = skep_manager_raft::MAX_PROPOSAL_BYTES;
    assert!(matches!(
        leader.propose(vec![0; limit + 1]).await,
        Err(ProposeError::TooLarge { .. })
    ));
    leader.propose(vec![0; limit]).await.unwrap();
    cluster.settled(&[1, 2, 3], 1).await;
    cluster.stop().await;
}

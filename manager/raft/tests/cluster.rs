//! Real members on real disks in one process: elections, losses, catching up,
//! coming and going.

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::{Cluster, PATIENCE, address_of, calm, until};
use skep_manager_raft::{MemberError, ProposeError, Reachability, ReadError};
use tokio::time::timeout;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_of_one_takes_proposals_and_remembers_them() {
    let mut cluster = Cluster::new(calm);
    let raft = cluster.start(1).await;
    assert!(!raft.is_initialized().await.unwrap());
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
    assert!(raft.is_initialized().await.unwrap());
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
    assert!(follower.read_barrier().await.unwrap() >= index);
    assert_eq!(
        cluster.ledger(follower.id()).entries().last().unwrap(),
        b"seen"
    );
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_leaders_loses_no_acknowledged_proposal() {
    let mut cluster = Cluster::of(3, |_| {}).await;
    let wires = cluster.wires.clone();
    let stop = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn({
        let (wires, stop) = (wires.clone(), stop.clone());
        async move {
            let mut acknowledged = Vec::new();
            for n in 0_u64.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                // Each name is proposed once: what is not acknowledged may
                // or may not be there, what is acknowledged must.
                let name = format!("entry {n}").into_bytes();
                let leader = until("somebody leads", || common::leading(&wires)).await;
                if let Ok(Ok(_)) =
                    timeout(Duration::from_secs(5), leader.propose(name.clone())).await
                {
                    acknowledged.push(name);
                }
            }
            acknowledged
        }
    });
    for _ in 0..3 {
        let leader = cluster.leader().await;
        let before = *leader.applied().borrow();
        until("some proposals go through", || {
            common::leading(&wires).filter(|r| *r.applied().borrow() > before + 20)
        })
        .await;
        let leader = cluster.leader().await;
        cluster.kill(leader.id()).await;
        cluster.leader().await;
        cluster.start(leader.id()).await;
    }
    stop.store(true, Ordering::Relaxed);
    let acknowledged = writer.await.unwrap();
    assert!(acknowledged.len() >= 60);
    let leader = cluster.leader().await;
    let total = leader.read_barrier().await.unwrap();
    cluster.settled(&[1, 2, 3], total).await;
    for id in 1..=3 {
        let entries = cluster.ledger(id).entries();
        let there: BTreeSet<_> = entries.iter().collect();
        assert_eq!(there.len(), entries.len(), "a proposal was applied twice");
        for name in &acknowledged {
            assert!(
                there.contains(name),
                "member {id} lost {}",
                String::from_utf8_lossy(name)
            );
        }
        assert_eq!(entries, cluster.ledger(1).entries());
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_cut_off_loses_leadership_and_its_proposals_fail_or_wait() {
    let cluster = Cluster::of(3, |_| {}).await;
    let old = cluster.leader().await;
    old.propose(b"before".to_vec()).await.unwrap();
    cluster.wires.cut(old.id());
    let lost = tokio::spawn({
        let old = old.clone();
        async move { old.propose(b"lost".to_vec()).await }
    });
    let new = cluster.leader().await;
    assert_ne!(new.id(), old.id());
    new.propose(b"after".to_vec()).await.unwrap();
    until("the old leader knows", || {
        (!old.leadership().borrow().is_leader).then_some(())
    })
    .await;
    assert!(matches!(
        old.read_barrier().await,
        Err(ReadError::NoQuorum | ReadError::NoLeader)
    ));
    assert!(old.propose(b"more".to_vec()).await.is_err());
    cluster.wires.heal(old.id());
    let outcome = timeout(PATIENCE, lost).await.unwrap().unwrap();
    assert!(
        matches!(outcome, Err(ProposeError::NotLeader { .. })),
        "{outcome:?}"
    );
    cluster.settled(&[1, 2, 3], 2).await;
    assert_eq!(
        cluster.ledger(old.id()).entries(),
        [b"before".to_vec(), b"after".to_vec()]
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
async fn without_a_majority_nothing_is_acknowledged_and_it_is_said() {
    let cluster = Cluster::of(3, |_| {}).await;
    let leader = cluster.leader().await;
    for id in (1..=3).filter(|id| *id != leader.id()) {
        cluster.kill(id).await;
    }
    until("the leader knows it is alone", || {
        (!leader.leadership().borrow().is_leader).then_some(())
    })
    .await;
    let refused = timeout(PATIENCE, leader.propose(b"x".to_vec()))
        .await
        .unwrap();
    assert!(
        matches!(
            refused,
            Err(ProposeError::NoQuorum | ProposeError::NotLeader { .. })
        ),
        "{refused:?}"
    );
    assert!(
        refused
            .unwrap_err()
            .to_string()
            .contains("more than half of the managers")
    );
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proposal_whose_place_a_snapshot_took_is_answered_all_the_same() {
    let cluster = Cluster::of(3, |config| {
        config.snapshot_every = 20;
        config.keep_entries = 1;
    })
    .await;
    let old = cluster.leader().await;
    cluster.wires.cut(old.id());
    let waiting = tokio::spawn({
        let old = old.clone();
        async move { old.propose(b"fate unknown".to_vec()).await }
    });
    let mut done = 0;
    while done < 60 {
        let leader = cluster.leader().await;
        let tried = timeout(Duration::from_secs(5), leader.propose(vec![7])).await;
        done += u64::from(matches!(tried, Ok(Ok(_))));
    }
    until("the log that the old leader misses is gone", || {
        common::leading(&cluster.wires)
            .filter(|r| r.id() != old.id())
            .and_then(|r| r.status().snapshot.filter(|s| *s > 40))
    })
    .await;
    cluster.wires.heal(old.id());
    let outcome = timeout(PATIENCE, waiting).await.unwrap().unwrap();
    assert!(
        matches!(
            outcome,
            Err(ProposeError::Unknown | ProposeError::NotLeader { .. })
        ),
        "{outcome:?}"
    );
    let total = cluster.leader().await.read_barrier().await.unwrap();
    cluster.settled(&[1, 2, 3], total).await;
    assert!(
        !cluster
            .ledger(old.id())
            .entries()
            .contains(&b"fate unknown".to_vec())
    );
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_proposal_gets_through_a_line_slower_than_the_heartbeat() {
    let cluster = Cluster::of(3, |config| {
        config.election_min = Duration::from_millis(1500);
        config.election_max = Duration::from_millis(2000);
    })
    .await;
    cluster.wires.slow_down(Duration::from_secs(4));
    let leader = cluster.leader().await;
    let term = leader.leadership().borrow().term;
    let done = timeout(PATIENCE, leader.propose(vec![1; 1_000_000]))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(done.index, 1);
    cluster.settled(&[1, 2, 3], 1).await;
    assert_eq!(
        leader.leadership().borrow().term,
        term,
        "nobody missed the leader"
    );
    cluster.stop().await;
}

/// A file system of its own that can be filled.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn new(megabytes: u32) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mounted = std::process::Command::new("mount")
            .args([
                "-t",
                "tmpfs",
                "-o",
                &format!("size={megabytes}m"),
                "skep-t-raft",
            ])
            .arg(dir.path())
            .status()
            .unwrap();
        assert!(mounted.success(), "this test mounts a tmpfs and needs root");
        Self(dir)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount")
            .arg("--lazy")
            .arg(self.0.path())
            .status();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_stops_the_member_with_a_reason_and_nothing_acknowledged_is_lost() {
    use skep_manager_raft::{Raft, RaftConfig, Transport, TransportError};
    struct Nobody;
    #[async_trait::async_trait]
    impl Transport for Nobody {
        async fn send(&self, id: u64, at: &str, _: Vec<u8>) -> Result<Vec<u8>, TransportError> {
            Err(TransportError {
                target: id,
                address: at.into(),
                reason: "alone".into(),
            })
        }
    }
    let disk = SmallDisk::new(24);
    let open = || {
        let mut config = RaftConfig::new(disk.0.path().join("raft"), 1, "mem:1", [1; 32]);
        config.snapshot_bytes = usize::MAX;
        let ledger = Arc::new(common::Ledger::default());
        (ledger.clone(), Raft::open(config, ledger, Arc::new(Nobody)))
    };
    let (_, raft) = open();
    let raft = raft.await.unwrap();
    raft.bootstrap().await.unwrap();
    until("it leads", || {
        raft.leadership().borrow().is_leader.then_some(())
    })
    .await;
    let mut acknowledged = 0;
    let error = loop {
        match raft.propose(vec![1; 500_000]).await {
            Ok(done) => acknowledged = done.index,
            Err(error) => break error,
        }
        assert!(
            acknowledged < 1000,
            "24 MB took {acknowledged} half megabytes"
        );
    };
    assert_eq!(error, ProposeError::Stopped);
    assert!(acknowledged > 5);
    let reason = timeout(PATIENCE, raft.stopped()).await.unwrap().unwrap();
    assert!(reason.contains("No space left"), "{reason}");
    assert!(!raft.leadership().borrow().is_leader);
    raft.shutdown().await;

    // With room again it goes on where it was.
    let grown = std::process::Command::new("mount")
        .args(["-o", "remount,size=64m"])
        .arg(disk.0.path())
        .status()
        .unwrap();
    assert!(grown.success());
    let (ledger, raft) = open();
    let raft = raft.await.unwrap();
    until("it leads again", || {
        raft.leadership().borrow().is_leader.then_some(())
    })
    .await;
    assert!(ledger.entries().len() as u64 >= acknowledged);
    raft.propose(b"more".to_vec()).await.unwrap();
    raft.shutdown().await;
}

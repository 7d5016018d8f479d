//! Killed leaders, cut wires, slow lines, full and lying disks.

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::{Cluster, PATIENCE, UNREADABLE, address_of, calm, until};
use skep_manager_raft::{OpenError, ProposeError, ReadError};
use tokio::time::timeout;

/// How the file systems are called, with the test's process.
const DISK: &str = "skep-t-raft-";

/// Unmounts what runs left behind that were killed.
fn forget_the_dead() {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    for line in mounts.lines() {
        let mut words = line.split(' ');
        let pid = words.next().and_then(|name| name.strip_prefix(DISK));
        if let (Some(pid), Some(place)) = (pid, words.next())
            && !std::path::Path::new("/proc").join(pid).exists()
        {
            // Another run may be at it, too.
            let _ = std::process::Command::new("umount").arg(place).status();
            let _ = std::fs::remove_dir(place);
        }
    }
}

/// A file system of its own that can be filled.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn new(megabytes: u32) -> Self {
        forget_the_dead();
        let dir = tempfile::tempdir().unwrap();
        let mounted = std::process::Command::new("mount")
            .args([
                "-t",
                "tmpfs",
                "-o",
                &format!("size={megabytes}m"),
                &format!("{DISK}{}", std::process::id()),
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
    assert!(acknowledged.len() >= 30);
    let total = cluster.total().await;
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
    let cluster = Cluster::of(3, calm).await;
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
    // Until the part of the log that the old leader misses is gone.
    let started = std::time::Instant::now();
    loop {
        assert!(started.elapsed() < PATIENCE, "the others made no snapshot");
        let leader = cluster.leader().await;
        let tried = timeout(Duration::from_secs(5), leader.propose(vec![7])).await;
        if matches!(tried, Ok(Ok(_))) && leader.status().snapshot > Some(40) {
            break;
        }
    }
    cluster.wires.heal(old.id());
    let outcome = timeout(PATIENCE, waiting).await.unwrap().unwrap();
    assert!(
        matches!(
            outcome,
            Err(ProposeError::Unknown | ProposeError::NotLeader { .. })
        ),
        "{outcome:?}"
    );
    let total = cluster.total().await;
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
    const SLOW: Duration = Duration::from_secs(8);
    let cluster = Cluster::of(3, |config| {
        calm(config);
        assert!(config.election_max < SLOW);
    })
    .await;
    cluster.wires.slow_down(SLOW);
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_comes_back_does_not_lead_until_a_majority_says_so() {
    let mut cluster = Cluster::of(3, calm).await;
    let old = cluster.leader().await.id();
    cluster
        .leader()
        .await
        .propose(b"before".to_vec())
        .await
        .unwrap();
    cluster.kill(old).await;
    cluster.wires.cut(old);
    let back = cluster.start(old).await;
    let mut claimed = back.leadership();
    let claim = tokio::spawn(async move { claimed.wait_for(|l| l.is_leader).await.is_ok() });
    let new = cluster.leader().await;
    assert_ne!(new.id(), old);
    new.propose(b"after".to_vec()).await.unwrap();
    assert!(!claim.is_finished(), "it took itself for the leader, alone");
    claim.abort();
    cluster.wires.heal(old);
    cluster.settled(&[1, 2, 3], 2).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_with_a_damaged_log_does_not_start_and_names_file_and_place() {
    let mut cluster = Cluster::of(3, calm).await;
    let leader = cluster.leader().await;
    for n in 0..10 {
        leader.propose(vec![n; 1000]).await.unwrap();
    }
    cluster.settled(&[1, 2, 3], 10).await;
    let hurt = (1..=3).find(|id| *id != leader.id()).unwrap();
    cluster.kill(hurt).await;
    let path = cluster.dir(hurt).join("log-0000000000000001");
    let mut file = std::fs::read(&path).unwrap();
    file[5000] ^= 1;
    std::fs::write(&path, &file).unwrap();
    let error = cluster.try_start(hurt).await.err().unwrap();
    let OpenError::Damaged {
        path: named,
        offset,
        ..
    } = &error
    else {
        panic!("{error}")
    };
    assert_eq!(named, &path);
    assert!((3000..=5000).contains(offset), "{error}");
    assert!(
        error
            .to_string()
            .contains("log-0000000000000001 is damaged at byte"),
        "{error}"
    );

    // It comes back empty and under another id.
    leader.remove_member(hurt).await.unwrap();
    cluster.start(4).await;
    leader.add_member(4, &address_of(4)).await.unwrap();
    cluster.settled(&[leader.id(), 4], 10).await;
    cluster.stop().await;
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
    until("it is no leader", || {
        (!raft.leadership().borrow().is_leader).then_some(())
    })
    .await;
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_that_cannot_be_read_stops_the_member_with_a_reason() {
    let mut cluster = Cluster::of(1, |_| {}).await;
    let raft = cluster.leader().await;
    raft.propose(b"before".to_vec()).await.unwrap();
    let answer = raft.propose(UNREADABLE.to_vec()).await;
    assert_eq!(answer, Err(ProposeError::Stopped));
    let reason = timeout(PATIENCE, raft.stopped()).await.unwrap().unwrap();
    assert!(reason.contains("unheard of"), "{reason}");
    assert_eq!(cluster.ledger(1).entries(), [b"before"]);

    // Nor does it go on behind it the next time.
    cluster.kill(1).await;
    let reason = match cluster.try_start(1).await {
        Err(error) => error.to_string(),
        Ok(again) => timeout(PATIENCE, again.stopped()).await.unwrap().unwrap(),
    };
    assert!(reason.contains("unheard of"), "{reason}");
    cluster.stop().await;
}

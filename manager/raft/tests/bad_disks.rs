//! Full disks and failing ones: the member stops with a reason, says nothing
//! that is not so, and with a good disk it goes on where it was.

mod common;

use std::time::Duration;

use common::world::{World, simulated};
use skep_manager_raft::disk::{Fault, Simulated};
use skep_manager_raft::{ProposeError, Raft};
use tokio::time::timeout;

/// Proposes until one is refused; how many were acknowledged.
async fn until_refused(raft: &Raft, bytes: usize) -> usize {
    for acknowledged in 0..2000 {
        let tried = raft.propose(vec![5; bytes]);
        match timeout(Duration::from_secs(30), tried).await.unwrap() {
            Ok(_) => {}
            Err(ProposeError::Stopped) => return acknowledged,
            Err(error) => panic!("after {acknowledged}: {error}"),
        }
    }
    panic!("the fault struck nobody");
}

/// The reason of a member that stopped, and that it names what happened.
async fn stopped_because(raft: &Raft, words: &str) {
    let reason = timeout(Duration::from_secs(30), raft.stopped()).await;
    let reason = reason.unwrap().expect("it stopped by itself");
    assert!(reason.contains(words), "{reason}");
    assert_eq!(raft.failure(), Some(reason), "what a user is shown");
    assert!(!raft.leadership().borrow().is_leader);
}

/// A single member meets a fault, stops, and has everything after it.
fn survives(seed: u64, words: &str, snapshots: bool, strike: impl Fn(&Simulated)) {
    simulated(seed, async {
        let mut world = World::of(seed, 0).await;
        world.disks.insert(1, Simulated::new(seed));
        let mut config = world.config(1, 1);
        if !snapshots {
            config.snapshot_every = 1_000_000;
        }
        let raft = world.open(config).await.unwrap();
        raft.bootstrap().await.unwrap();
        let raft2 = world.leader().await;
        for n in 0..10 {
            raft2.propose(vec![n; 300]).await.unwrap();
        }
        strike(&world.disks[&1]);
        let acknowledged = 10 + until_refused(&raft, 300).await;
        stopped_because(&raft, words).await;
        // Neither by the process ending nor by a loss of power.
        if seed.is_multiple_of(2) {
            world.crash(1).await;
        } else {
            world.stop(1).await;
        }
        world.disks[&1].set_room(None);
        let again = world.start(1).await;
        world.leader().await;
        let kept = world.ledgers[&1].entries().len();
        assert!(
            kept >= acknowledged,
            "{kept} of {acknowledged}, seed {seed}"
        );
        again.propose(b"on".to_vec()).await.unwrap();
        // What it found when it opened is not only in the system's memory.
        world.crash(1).await;
        world.start(1).await;
        world.leader().await;
        assert_eq!(world.ledgers[&1].entries().len(), kept + 1, "seed {seed}");
    });
}

#[test]
fn a_disk_that_fills_up_when_a_new_log_file_is_made() {
    for seed in 0..6 {
        survives(seed, "no storage space", false, |disk| {
            disk.set_room(Some(disk.used() + 30_000));
        });
    }
}

#[test]
fn a_disk_that_fills_up_when_a_snapshot_is_made() {
    for seed in 0..6 {
        survives(seed, "no storage space", true, |disk| {
            disk.set_room(Some(disk.used() + 100));
        });
    }
}

#[test]
fn a_write_that_fails() {
    for seed in 0..10 {
        survives(seed, "os error 5", false, |disk| {
            disk.inject(Fault::WriteFails)
        });
    }
}

#[test]
fn a_sync_that_fails_is_not_tried_again() {
    for seed in 0..10 {
        survives(seed, "os error 5", false, |disk| {
            disk.inject(Fault::SyncFails { after: seed as u32 });
        });
    }
}

#[test]
fn a_follower_whose_sync_fails_stops_and_the_others_go_on() {
    simulated(1, async {
        let mut world = World::of(1, 3).await;
        let leader = world.leader().await;
        let follower = (1..=3).find(|id| *id != leader.id()).unwrap();
        let hurt = world.wires.0.lock().unwrap()[&follower].clone();
        world.disks[&follower].inject(Fault::SyncFails { after: 0 });
        for n in 0..50 {
            leader.propose(vec![n; 100]).await.unwrap();
        }
        stopped_because(&hurt, "os error 5").await;
        world.crash(follower).await;
        world.start(follower).await;
        leader.propose(b"on".to_vec()).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(world.ledgers[&follower].entries().len(), 51);
    });
}

#[test]
fn short_writes_are_continued() {
    simulated(2, async {
        let mut world = World::of(2, 1).await;
        let raft = world.leader().await;
        for n in 0..40 {
            world.disks[&1].inject(Fault::ShortWrite);
            raft.propose(vec![n; 3000]).await.unwrap();
        }
        world.crash(1).await;
        world.start(1).await;
        world.leader().await;
        assert_eq!(world.ledgers[&1].entries().len(), 40);
    });
}

#[test]
fn a_flipped_bit_in_any_file_is_found_when_it_opens() {
    simulated(3, async {
        let mut world = World::of(3, 1).await;
        for n in 0..150 {
            world.leader().await.propose(vec![n; 300]).await.unwrap();
        }
        world.stop(1).await;
        let files = world.disks[&1].files();
        assert!(
            files
                .iter()
                .any(|(path, _)| path.to_string_lossy().contains("snapshot-"))
        );
        for (path, length) in files {
            let name = path.to_string_lossy().into_owned();
            if name.ends_with("spare") || name.ends_with("lock") {
                continue;
            }
            // The last file is longer than what is written in it.
            let written = length.min(4000);
            for byte in [0, 20, 40, 70, 81, 130, 150, written / 2, written - 100] {
                let disk = world.disks[&1].clone();
                assert!(disk.flip(&path, byte, 5));
                let config = world.config(1, 1);
                let opened = world.open(config).await;
                let error = opened.err().unwrap_or_else(|| panic!("{name} at {byte}"));
                assert!(error.lost_member(), "{name} at {byte}: {error}");
                assert!(
                    error.to_string().contains(&name),
                    "{name} at {byte}: {error}"
                );
                disk.flip(&path, byte, 5);
            }
        }
        world.start(1).await;
        world.leader().await;
        assert_eq!(world.ledgers[&1].entries().len(), 150);
    });
}

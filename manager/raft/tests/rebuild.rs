//! Groups of one out of what is left: what they keep, and what a crash in
//! between leaves.

mod common;

use std::time::Duration;

use common::Ledger;
use common::world::{World, simulated};
use skep_manager_raft::disk::{Fault, Simulated};
use skep_manager_raft::{Machine, OpenError, reform, seed};
use tokio::time::sleep;

/// Three members, entries in snapshot and log, and the last proposal on the
/// disk of all but unknown to be committed by anybody.
async fn lost_group(seed: u64) -> (World, u64) {
    let world = World::of(seed, 3).await;
    let leader = world.leader().await;
    for n in 0..150_u8 {
        leader.propose(vec![n; 300]).await.unwrap();
    }
    let waiting = tokio::spawn({
        let leader = leader.clone();
        async move { leader.propose(b"last".to_vec()).await }
    });
    // A write and a sync here are 3 ms, the way to the followers is 1, a write
    // and a sync there are 3, and the answer would be 1.
    sleep(Duration::from_millis(7)).await;
    assert!(!waiting.is_finished());
    for id in 1..=3 {
        world.crash(id).await;
    }
    let survivor = (1..=3).find(|id| *id != leader.id()).unwrap();
    (world, survivor)
}

#[test]
fn a_group_that_is_made_anew_keeps_all_that_its_member_had_and_grows_again() {
    simulated(1, async {
        let (mut world, survivor) = lost_group(1).await;
        let config = world.config(9, survivor);
        reform(&config, survivor).await.unwrap();
        reform(&config, survivor).await.unwrap();
        let raft = world.open(config).await.unwrap();
        world.leader().await;
        assert_eq!(raft.members().len(), 1);
        let entries = world.ledgers[&9].entries();
        assert_eq!(entries.len(), 151, "an entry of its log is missing");
        assert_eq!(entries[150], b"last");
        raft.propose(b"after".to_vec()).await.unwrap();

        // Another former member comes as a new one.
        world.disks.insert(10, Simulated::new(10));
        world.start(10).await;
        raft.add_member(10, "mem:10").await.unwrap();
        world.stop(9).await;
        world.stop(10).await;
        let config = world.config(9, survivor);
        world.open(config).await.unwrap();
        world.start(10).await;
        world.leader().await.propose(b"two".to_vec()).await.unwrap();
        sleep(Duration::from_secs(1)).await;
        assert_eq!(world.ledgers[&10].entries(), world.ledgers[&9].entries());
    });
}

#[test]
fn former_members_have_nothing_to_say_to_a_group_that_was_made_anew() {
    simulated(2, async {
        let (mut world, survivor) = lost_group(2).await;
        let config = world.config(9, survivor);
        reform(&config, survivor).await.unwrap();
        let raft = world.open(config).await.unwrap();
        raft.leadership().wait_for(|l| l.is_leader).await.unwrap();
        for id in (1..=3).filter(|id| *id != survivor) {
            world.start(id).await;
        }
        sleep(Duration::from_secs(5)).await;
        assert!(raft.leadership().borrow().is_leader);
        assert_eq!(raft.members().len(), 1);
        raft.propose(b"ours".to_vec()).await.unwrap();
        sleep(Duration::from_secs(5)).await;
        for id in (1..=3).filter(|id| *id != survivor) {
            assert!(!world.ledgers[&id].entries().contains(&b"ours".to_vec()));
        }
    });
}

#[test]
fn a_crash_while_a_group_is_made_anew_leaves_the_old_one_or_the_new_one() {
    let (mut old, mut new) = (0, 0);
    for seed in 0..60 {
        let after = seed % 12;
        simulated(seed, async {
            let (mut world, survivor) = lost_group(seed).await;
            let config = world.config(9, survivor);
            let making = tokio::spawn(async move { reform(&config, survivor).await });
            sleep(Duration::from_millis(after)).await;
            world.disks[&survivor].crash();
            let _ = making.await;
            let config = world.config(survivor, survivor);
            let entries = match world.open(config).await {
                Ok(former) => {
                    old += 1;
                    assert_eq!(former.members().len(), 3);
                    world.stop(survivor).await;
                    let config = world.config(9, survivor);
                    reform(&config, survivor).await.unwrap();
                    world.open(config).await.unwrap();
                    world.leader().await;
                    world.ledgers[&9].entries()
                }
                Err(OpenError::OtherMember { found: 9, .. }) => {
                    new += 1;
                    let config = world.config(9, survivor);
                    reform(&config, survivor).await.unwrap();
                    world.open(config).await.unwrap();
                    world.leader().await;
                    world.ledgers[&9].entries()
                }
                Err(error) => panic!("after {after} ms: {error}"),
            };
            assert_eq!(entries.len(), 151, "after {after} ms");
        });
    }
    assert!(old > 0 && new > 0, "{old} old, {new} new");
}

#[test]
fn a_group_cannot_be_made_anew_from_a_damaged_log_or_from_nothing() {
    simulated(3, async {
        let (world, survivor) = lost_group(3).await;
        let (log, length) = {
            let files = world.disks[&survivor].files();
            let found = files
                .into_iter()
                .find(|(p, _)| p.to_str().unwrap().contains("log-0"));
            found.unwrap()
        };
        world.disks[&survivor].flip(&log, 3000.min(length / 2), 1);
        let refused = reform(&world.config(9, survivor), survivor).await;
        assert!(
            matches!(refused, Err(OpenError::Damaged { .. })),
            "{refused:?}"
        );

        let mut empty = world.config(9, survivor);
        empty.disk = Simulated::new(1).start();
        let refused = reform(&empty, survivor).await;
        assert!(
            matches!(refused, Err(OpenError::Missing { .. })),
            "{refused:?}"
        );
        assert!(reform(&empty, 9).await.is_err(), "an id was used twice");
    });
}

#[test]
fn a_seeded_group_has_the_state_and_counts_on() {
    simulated(4, async {
        let mut world = World::of(4, 1).await;
        for n in 0..5 {
            world.leader().await.propose(vec![n]).await.unwrap();
        }
        let machine = world.ledgers[&1].snapshot();
        world.stop(1).await;
        world.disks.insert(7, Simulated::new(7));
        let config = world.config(7, 7);
        seed(&config, 5, machine.clone()).await.unwrap();
        let again = seed(&config, 5, machine).await;
        assert!(matches!(again, Err(OpenError::Exists { .. })), "{again:?}");
        let mut config = world.config(7, 7);
        config.existing = true;
        let raft = world.open(config).await.unwrap();
        world.leader().await;
        assert_eq!(world.ledgers[&7].entries().len(), 5);
        assert_eq!(raft.propose(vec![5]).await.unwrap().index, 6);
    });
}

#[test]
fn a_crash_while_seeding_leaves_nothing_that_starts_half() {
    for chance in 0..60 {
        let after = chance % 12;
        simulated(chance, async {
            let mut world = World::of(chance, 0).await;
            world.disks.insert(7, Simulated::new(chance));
            let machine = Ledger::default();
            machine.apply(1, b"one").unwrap();
            let bytes = machine.snapshot();
            let config = world.config(7, 7);
            let making = tokio::spawn(async move { seed(&config, 1, bytes).await });
            sleep(Duration::from_millis(after)).await;
            world.disks[&7].crash();
            let _ = making.await;
            let config = world.config(7, 7);
            match seed(&config, 1, machine.snapshot()).await {
                Ok(()) | Err(OpenError::Exists { .. }) => {}
                Err(error) => panic!("after {after} ms: {error}"),
            }
            world.open(config).await.unwrap();
            world.leader().await;
            assert_eq!(world.ledgers[&7].entries(), [b"one"]);
        });
    }
}

#[test]
fn a_member_whose_directory_is_gone_does_not_come_back_empty() {
    simulated(5, async {
        let mut world = World::of(5, 1).await;
        world.stop(1).await;
        world.disks.insert(1, Simulated::new(5));
        let mut config = world.config(1, 1);
        config.existing = true;
        let error = world.open(config).await.err().unwrap();
        assert!(matches!(error, OpenError::Missing { .. }), "{error}");
        assert!(error.lost_member());
    });
}

#[test]
fn a_snapshot_without_its_log_is_damage() {
    simulated(6, async {
        let mut world = World::of(6, 1).await;
        for n in 0..120 {
            world.leader().await.propose(vec![n]).await.unwrap();
        }
        world.stop(1).await;
        let disk = world.disks[&1].start();
        for (path, _) in world.disks[&1].files() {
            if path.to_str().unwrap().contains("log-") {
                disk.remove(&path).unwrap();
            }
        }
        let config = world.config(1, 1);
        let error = world.open(config).await.err().unwrap();
        assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
    });
}

#[test]
fn a_full_disk_while_a_group_is_made_anew_changes_nothing() {
    simulated(7, async {
        let (mut world, survivor) = lost_group(7).await;
        let disk = world.disks[&survivor].clone();
        disk.set_room(Some(disk.used() + 1000));
        let refused = reform(&world.config(9, survivor), survivor).await;
        assert!(matches!(refused, Err(OpenError::Io { .. })), "{refused:?}");
        disk.set_room(None);
        disk.inject(Fault::WriteFails);
        let refused = reform(&world.config(9, survivor), survivor).await;
        assert!(matches!(refused, Err(OpenError::Io { .. })), "{refused:?}");
        let config = world.config(survivor, survivor);
        let raft = world.open(config).await.unwrap();
        assert_eq!(raft.members().len(), 3);
    });
}

//! Another data key while a member runs, and after crashes on the way.

mod common;

use std::time::Duration;

use common::world::{World, simulated};
use skep_manager_raft::OpenError;
use skep_manager_raft::disk::Fault;
use tokio::time::sleep;

const OLD: [u8; 32] = [1; 32];
const NEW: [u8; 32] = [2; 32];

/// One member with a snapshot and a log behind it.
async fn member(seed: u64) -> World {
    let world = World::of(seed, 1).await;
    for n in 0..150 {
        world.leader().await.propose(vec![n; 200]).await.unwrap();
    }
    world
}

#[test]
fn after_a_rotation_only_the_new_key_opens_and_nothing_is_lost() {
    simulated(1, async {
        let mut world = member(1).await;
        let raft = world.leader().await;
        let writer = tokio::spawn({
            let raft = raft.clone();
            async move {
                for n in 0..100 {
                    raft.propose(vec![n; 400]).await.unwrap();
                }
            }
        });
        sleep(Duration::from_millis(5)).await;
        raft.rotate_data_key(NEW).await.unwrap();
        assert!(!writer.is_finished(), "proposals should go on meanwhile");
        writer.await.unwrap();
        world.crash(1).await;
        let config = world.config(1, 1);
        let refused = world.open(config).await.err().unwrap();
        assert!(matches!(refused, OpenError::WrongKey { .. }), "{refused}");
        let mut config = world.config(1, 1);
        config.data_key = NEW;
        world.open(config).await.unwrap();
        world.leader().await;
        assert_eq!(world.ledgers[&1].entries().len(), 250);
    });
}

#[test]
fn a_crash_during_a_rotation_leaves_what_both_keys_open_and_opening_finishes_it() {
    for seed in 0..60 {
        let after = seed % 20;
        simulated(seed, async {
            let mut world = member(seed).await;
            let raft = world.leader().await;
            let rotation = tokio::spawn(async move { raft.rotate_data_key(NEW).await });
            sleep(Duration::from_millis(after)).await;
            world.crash(1).await;
            rotation.await.unwrap().ok();
            let mut config = world.config(1, 1);
            config.data_key = NEW;
            config.old_keys = vec![OLD];
            world.open(config).await.unwrap();
            world.leader().await;
            assert_eq!(world.ledgers[&1].entries().len(), 150);
            world.crash(1).await;
            // It is open: so the old key is not needed any more.
            let mut config = world.config(1, 1);
            config.data_key = NEW;
            world.open(config).await.unwrap();
            world.leader().await;
            assert_eq!(world.ledgers[&1].entries().len(), 150);
        });
    }
}

#[test]
fn without_room_the_key_stays_and_so_does_the_member() {
    simulated(2, async {
        let mut world = member(2).await;
        let raft = world.leader().await;
        let disk = world.disks[&1].clone();
        disk.set_room(Some(disk.used() + 10_000));
        let error = raft.rotate_data_key(NEW).await.unwrap_err();
        assert!(error.to_string().contains("another key"), "{error}");
        raft.propose(b"goes on".to_vec()).await.unwrap();
        disk.set_room(None);
        raft.rotate_data_key(NEW).await.unwrap();
        raft.propose(b"and on".to_vec()).await.unwrap();
        world.crash(1).await;
        let mut config = world.config(1, 1);
        config.data_key = NEW;
        world.open(config).await.unwrap();
        world.leader().await;
        assert_eq!(world.ledgers[&1].entries().len(), 152);
    });
}

#[test]
fn a_failed_sync_during_a_rotation_loses_nothing() {
    for at in 0..12 {
        simulated(at, async move {
            let mut world = member(at).await;
            let raft = world.leader().await;
            let disk = world.disks[&1].clone();
            disk.inject(Fault::SyncFails { after: at as u32 });
            let rotation = tokio::spawn(async move { raft.rotate_data_key(NEW).await });
            sleep(Duration::from_millis(50)).await;
            rotation.await.unwrap().ok();
            world.crash(1).await;
            let mut config = world.config(1, 1);
            config.data_key = NEW;
            config.old_keys = vec![OLD];
            world.open(config).await.unwrap();
            world.leader().await;
            assert_eq!(world.ledgers[&1].entries().len(), 150, "sync {at}");
        });
    }
}

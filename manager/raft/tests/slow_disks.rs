//! Disks that stall: who leads goes on leading, and nothing is acknowledged
//! before it is on disk.

mod common;

use std::time::Duration;

use common::world::{World, simulated};
use skep_manager_raft::Raft;
use skep_manager_raft::disk::{Fault, Simulated};
use tokio::time::{Instant, sleep, timeout};

/// Proposes all the time, until somebody ends it.
fn write_always(raft: &Raft) -> tokio::task::JoinHandle<()> {
    let raft = raft.clone();
    tokio::spawn(async move {
        loop {
            raft.propose(vec![3; 500]).await.unwrap();
            sleep(Duration::from_millis(20)).await;
        }
    })
}

/// Has these members' disks stall for this long, again and again, while
/// somebody writes; the leader must stay and say so all the time.
fn stalls(seed: u64, stall: Duration, who: impl Fn(u64, u64) -> bool) {
    simulated(seed, async {
        let world = World::of(seed, 4).await;
        let leader = world.leader().await;
        sleep(Duration::from_secs(2)).await;
        let before = leader.leadership().borrow().clone();
        let writer = write_always(&leader);
        let mut seen = leader.leadership();
        seen.mark_unchanged();
        for _ in 0..6 {
            for (id, disk) in &world.disks {
                if who(*id, leader.id()) {
                    disk.inject(Fault::SlowSync(stall));
                }
            }
            sleep(stall + Duration::from_millis(700)).await;
        }
        assert!(!writer.is_finished(), "a proposal failed");
        assert_eq!(*leader.leadership().borrow(), before, "seed {seed}");
        assert!(
            !seen.has_changed().unwrap(),
            "seed {seed}: it went and came"
        );
        writer.abort();
    });
}

#[test]
fn a_follower_whose_disk_stalls_disturbs_nobody() {
    for seed in 0..6 {
        stalls(seed, Duration::from_secs(2), |id, leader| {
            id == leader % 4 + 1
        });
    }
}

#[test]
fn a_leader_whose_disk_stalls_goes_on_leading() {
    for seed in 0..6 {
        stalls(seed, Duration::from_secs(2), |id, leader| id == leader);
    }
}

#[test]
fn all_disks_may_stall_at_once() {
    for seed in 0..6 {
        stalls(seed, Duration::from_millis(2500), |_, _| true);
    }
}

#[test]
fn a_leader_whose_disk_does_not_come_back_is_replaced() {
    simulated(1, async {
        let world = World::of(1, 3).await;
        let old = world.leader().await;
        world.disks[&old.id()].inject(Fault::SlowSync(Duration::from_secs(60)));
        let stuck = tokio::spawn({
            let old = old.clone();
            async move { old.propose(b"stuck".to_vec()).await }
        });
        let began = Instant::now();
        let next = loop {
            let others = world.wires.0.lock().unwrap().clone();
            let leads = |r: &&Raft| r.id() != old.id() && r.leadership().borrow().is_leader;
            if let Some(next) = others.values().find(leads) {
                break next.clone();
            }
            assert!(began.elapsed() < Duration::from_secs(10), "nobody followed");
            sleep(Duration::from_millis(10)).await;
        };
        next.propose(b"after".to_vec()).await.unwrap();
        assert!(!stuck.is_finished(), "acknowledged without a disk");
    });
}

#[test]
fn a_new_member_whose_disk_is_slow_is_let_in() {
    for seed in 0..6 {
        simulated(seed, async {
            let mut world = World::of(seed, 1).await;
            world.disks.insert(2, Simulated::new(seed ^ 2));
            world.start(2).await;
            // It answers that it lives before it has anything on disk.
            world.disks[&2].set_latency(Duration::ZERO, Duration::from_millis(300));
            let leader = world.leader().await;
            leader.add_member(2, "mem:2").await.unwrap();
            leader.propose(b"both".to_vec()).await.unwrap();
            assert!(leader.leadership().borrow().is_leader);
        });
    }
}

#[test]
fn nothing_is_acknowledged_before_a_majority_has_it_on_disk() {
    simulated(2, async {
        let world = World::of(2, 3).await;
        let leader = world.leader().await;
        for (id, disk) in &world.disks {
            if *id != leader.id() {
                disk.inject(Fault::SlowSync(Duration::from_secs(3)));
            }
        }
        let began = Instant::now();
        let waiting = tokio::spawn({
            let leader = leader.clone();
            async move { leader.propose(b"slow".to_vec()).await }
        });
        sleep(Duration::from_millis(2_900)).await;
        assert!(!waiting.is_finished(), "no follower has it on disk");
        timeout(Duration::from_secs(5), waiting)
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        assert!(
            began.elapsed() < Duration::from_secs(4),
            "{:?}",
            began.elapsed()
        );
    });
}

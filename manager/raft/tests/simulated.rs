//! Members on simulated disks, one thread and a paused clock: crashes that
//! tear, and runs that come out the same.

mod common;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::world::{World, simulated};
use skep_manager_raft::disk::Fault;
use tokio::time::{Instant, sleep, timeout};

/// Writes while leaders lose their power; what happened, and when.
async fn crashes(seed: u64) -> Vec<String> {
    let began = Instant::now();
    let mut world = World::of(seed, 3).await;
    let mut trace = Vec::new();
    let mut acknowledged = Vec::new();
    for round in 0..8_u32 {
        for n in 0..40_u32 {
            let entry = [&round.to_le_bytes()[..], &n.to_le_bytes(), &[7; 900]].concat();
            let leader = world.leader().await;
            let tried = timeout(Duration::from_secs(5), leader.propose(entry.clone()));
            if let Ok(Ok(done)) = tried.await {
                trace.push(format!("{:?} {}", began.elapsed(), done.index));
                acknowledged.push(entry);
            }
        }
        // In the middle of a write.
        let leader = world.leader().await;
        for _ in 0..5 {
            let leader = leader.clone();
            tokio::spawn(async move { leader.propose(vec![9; 3000]).await });
        }
        sleep(Duration::from_millis(u64::from(round))).await;
        world.crash(leader.id()).await;
        world.leader().await;
        trace.push(format!("{:?} without {}", began.elapsed(), leader.id()));
        world.start(leader.id()).await;
    }
    let total = world.leader().await.read_barrier().await.unwrap();
    sleep(Duration::from_secs(10)).await;
    let first = world.ledgers[&1].entries();
    assert_eq!(first.len() as u64, total);
    for (id, ledger) in &world.ledgers {
        assert!(ledger.entries() == first, "members 1 and {id} differ");
    }
    for entry in acknowledged {
        assert!(first.contains(&entry), "an acknowledged entry is lost");
    }
    trace
}

/// Leaders that are back before anybody else leads.
async fn blinks(seed: u64) {
    let mut world = World::of(seed, 3).await;
    for round in 0..10_u8 {
        let leader = world.leader().await;
        let led = leader.leadership().borrow().term;
        leader.propose(vec![round]).await.unwrap();
        world.crash(leader.id()).await;
        world.start(leader.id()).await;
        let next = world.leader().await;
        let leads = next.leadership().borrow().term;
        assert!(
            leads > led,
            "round {round}: member {} leads term {leads} without an election",
            next.id()
        );
        let shown = next.read_barrier().await.unwrap();
        assert_eq!(shown, u64::from(round) + 1, "what was acknowledged");
    }
}

#[test]
fn a_leader_that_is_back_at_once_is_elected_anew() {
    for seed in 1..=3 {
        simulated(seed, blinks(seed));
    }
}

#[test]
fn leaders_without_power_lose_nothing_and_a_seed_replays() {
    for seed in 1..=5 {
        let once = simulated(seed, crashes(seed));
        assert!(once.len() > 300, "seed {seed}: {} events", once.len());
        let again = simulated(seed, crashes(seed));
        assert_eq!(once, again, "seed {seed} came out otherwise");
    }
}

#[test]
fn different_seeds_go_different_ways() {
    let one = simulated(1, crashes(1));
    assert_ne!(one, simulated(2, crashes(2)));
}

#[test]
fn a_single_member_keeps_what_it_acknowledged_through_crashes_at_every_moment() {
    for seed in 0..90 {
        let after = seed % 45;
        simulated(seed, async move {
            let mut world = World::of(seed, 1).await;
            let raft = world.leader().await;
            for n in 0..10 {
                raft.propose(vec![n; 20_000]).await.unwrap();
            }
            let acknowledged = Arc::new(Mutex::new(10));
            tokio::spawn({
                let acknowledged = acknowledged.clone();
                async move {
                    for n in 10..20 {
                        if raft.propose(vec![n; 20_000]).await.is_ok() {
                            *acknowledged.lock().unwrap() += 1;
                        }
                    }
                }
            });
            sleep(Duration::from_millis(after)).await;
            let certain = *acknowledged.lock().unwrap();
            world.crash(1).await;
            world.start(1).await;
            world.leader().await;
            let kept = world.ledgers[&1].entries().len();
            assert!(kept >= certain, "{kept} of {certain} after {after} ms");
        });
    }
}

#[test]
fn a_slow_sync_of_one_follower_disturbs_nobody() {
    simulated(3, async {
        let world = World::of(3, 3).await;
        let leader = world.leader().await;
        let term = leader.leadership().borrow().term;
        let follower = (1..=3).find(|id| *id != leader.id()).unwrap();
        world.disks[&follower].inject(Fault::SlowSync(Duration::from_secs(2)));
        let began = Instant::now();
        for n in 0..100 {
            leader.propose(vec![n; 100]).await.unwrap();
        }
        assert!(
            began.elapsed() < Duration::from_secs(1),
            "{:?}",
            began.elapsed()
        );
        sleep(Duration::from_secs(5)).await;
        assert_eq!(leader.leadership().borrow().term, term);
        assert_eq!(world.ledgers[&follower].entries().len(), 100);
    });
}

/// Its own voice and the successor's are no majority of more than three.
#[test]
fn leadership_goes_where_it_is_handed_in_groups_of_any_size() {
    for (seed, members) in (0..4).flat_map(|seed| (2..=5).map(move |m| (seed, m))) {
        simulated(seed, async {
            let world = World::of(seed, members).await;
            for n in 0..10 {
                let old = world.leader().await;
                old.propose(vec![n; 100]).await.unwrap();
                let term = old.leadership().borrow().term;
                let new = old.transfer_leadership().await.unwrap();
                let leader = world.leader().await;
                let of = format!("{n} of {members}, seed {seed}");
                assert_eq!((leader.id(), new != old.id()), (new, true), "{of}");
                assert_eq!(leader.leadership().borrow().term, term + 1, "{of}");
                // And keeps it.
                sleep(Duration::from_secs(2)).await;
                assert!(leader.leadership().borrow().is_leader, "{of}");
            }
        });
    }
}

#[test]
fn a_flipped_bit_on_a_simulated_disk_is_found() {
    simulated(4, async {
        let mut world = World::of(4, 1).await;
        let raft = world.leader().await;
        raft.propose(vec![1; 5000]).await.unwrap();
        world.crash(1).await;
        assert!(world.disks[&1].flip(Path::new("/raft/log-0000000000000001"), 2000, 3));
        let config = world.config(1, 1);
        let error = world.open(config).await.err().unwrap();
        assert!(error.to_string().contains("is damaged at byte"), "{error}");
    });
}

//! Who stands for election, and who must not, on one thread with a paused clock.

mod common;

use std::time::Duration;

use common::world::{World, simulated};
use tokio::time::{Instant, sleep};

const LONG: Duration = Duration::from_secs(30);

#[test]
fn a_member_that_was_cut_off_deposes_nobody_when_it_is_back() {
    for seed in 1..=5 {
        simulated(seed, async move {
            let world = World::of(seed, 3).await;
            let leader = world.leader().await;
            let term = leader.leadership().borrow().term;
            let follower = (1..=3).find(|id| *id != leader.id()).unwrap();
            world.wires.cut(follower);
            sleep(LONG).await;
            leader.propose(vec![1]).await.unwrap();
            world.wires.mend(follower);
            sleep(LONG).await;
            let now = leader.leadership().borrow().clone();
            assert!(now.is_leader && now.term == term, "seed {seed}: {now:?}");
            assert_eq!(world.ledgers[&follower].entries().len(), 1);
        });
    }
}

/// It would be elected by the third, which hears the leader well.
#[test]
fn who_alone_hears_no_leader_deposes_nobody() {
    for seed in 1..=5 {
        simulated(seed, async move {
            let world = World::of(seed, 3).await;
            let leader = world.leader().await;
            let term = leader.leadership().borrow().term;
            let follower = (1..=3).find(|id| *id != leader.id()).unwrap();
            world.wires.part(leader.id(), follower);
            sleep(LONG).await;
            world.wires.mend(follower);
            sleep(LONG).await;
            let now = leader.leadership().borrow().clone();
            assert!(now.is_leader && now.term == term, "seed {seed}: {now:?}");
        });
    }
}

#[test]
fn who_finds_no_majority_raises_no_terms() {
    simulated(5, async {
        let world = World::of(5, 2).await;
        let leader = world.leader().await.id();
        world.crash(leader).await;
        let left = world.wires.0.lock().unwrap()[&(3 - leader)].clone();
        let term = left.status().leadership.term;
        sleep(LONG).await;
        assert_eq!(left.status().leadership.term, term);
    });
}

/// It has lost its leader before it heard of its removal, and stands for ever; a
/// member that was away and is behind would vote for it.
#[test]
fn a_former_member_that_knows_nothing_of_it_is_in_nobodys_way() {
    for seed in 1..=5 {
        simulated(seed, async move {
            let world = World::of(seed, 4).await;
            let leader = world.leader().await;
            let others: Vec<_> = (1..=4).filter(|id| *id != leader.id()).collect();
            let (former, behind) = (others[0], others[1]);
            world.wires.cut(former);
            leader.remove_member(former).await.unwrap();
            world.wires.cut(behind);
            leader.propose(vec![1]).await.unwrap();
            // Nobody leads now until the one that is behind is back.
            world.wires.cut(leader.id());
            sleep(LONG).await;
            world.wires.mend(former);
            world.wires.mend(behind);
            let began = Instant::now();
            let last = others[2];
            let next = loop {
                if let Some(next) = world.leading_without(leader.id()) {
                    break next;
                }
                assert!(began.elapsed() < LONG, "seed {seed}: nobody leads");
                sleep(Duration::from_millis(10)).await;
            };
            assert_eq!(next.id(), last, "only it has all that was acknowledged");
            next.propose(vec![2]).await.unwrap();
            let term = next.leadership().borrow().term;
            sleep(LONG).await;
            assert_eq!(next.leadership().borrow().term, term, "seed {seed}");
        });
    }
}

#[test]
fn a_silent_leader_is_followed_soon_every_time() {
    for seed in 1..=20 {
        simulated(seed, async move {
            let world = World::of(seed, 3).await;
            let leader = world.leader().await;
            world.wires.cut(leader.id());
            let began = Instant::now();
            while world.leading_without(leader.id()).is_none() {
                sleep(Duration::from_millis(5)).await;
            }
            let took = began.elapsed();
            assert!(took < Duration::from_millis(1500), "seed {seed}: {took:?}");
        });
    }
}

/// Of five one is gone, and the leader reaches one of the others. That one would have no
/// other leader for as long as it hears this one, and without it there is no majority.
#[test]
fn a_leader_without_a_majority_is_in_nobodys_way() {
    for seed in 1..=5 {
        simulated(seed, async move {
            let world = World::of(seed, 5).await;
            let leader = world.leader().await;
            let others: Vec<_> = (1..=5).filter(|id| *id != leader.id()).collect();
            world.crash(others[0]).await;
            for away in &others[1..3] {
                world.wires.part(leader.id(), *away);
            }
            let began = Instant::now();
            let next = loop {
                if let Some(next) = world.leading_without(leader.id()) {
                    break next;
                }
                assert!(began.elapsed() < LONG, "seed {seed}: nobody leads");
                sleep(Duration::from_millis(5)).await;
            };
            let took = began.elapsed();
            assert!(took < Duration::from_millis(4000), "seed {seed}: {took:?}");
            next.propose(vec![1]).await.unwrap();
            world.wires.mend(leader.id());
            sleep(LONG).await;
            assert_eq!(world.ledgers[&leader.id()].entries().len(), 1);
        });
    }
}

/// The leader has fallen silent, and nobody could be elected.
#[test]
fn somebody_leads_when_all_are_back() {
    for seed in 1..=5 {
        simulated(seed, async move {
            let world = World::of(seed, 3).await;
            let leader = world.leader().await;
            for id in 1..=3 {
                world.wires.cut(id);
            }
            sleep(LONG).await;
            assert!(!leader.leadership().borrow().is_leader);
            for id in 1..=3 {
                world.wires.mend(id);
            }
            sleep(LONG).await;
            world.leader().await.propose(vec![1]).await.unwrap();
        });
    }
}

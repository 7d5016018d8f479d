//! Leaders killed in a row while clients write.
//!
//! Owns this one scenario; the promises are the same as everywhere.

use crate::clients::Clients;
use crate::host::Fall;
use crate::run::{grow, step};
use crate::world::World;
use crate::{kernel, trace};
use std::time::Duration;

/// A leader that was killed is started again after this long.
const AWAY: Duration = Duration::from_secs(1);
/// Without a write for so long, the swarm counts as lost.
const LOST: Duration = Duration::from_secs(60);

/// What came of it.
pub struct Kills {
    /// The promise that was broken, if one was, and when.
    pub broken: Option<String>,
    /// Leaders killed.
    pub kills: usize,
    /// Acknowledged writes and answered reads.
    pub calls: (u64, u64),
    /// For each kill the longest time between two acknowledged writes from then
    /// until all is in order again, sorted.
    pub gaps: Vec<Duration>,
    /// How long it was for the simulated swarm.
    pub simulated: Duration,
}

/// Kills the leader of three managers so many times; every second time its
/// machine loses its power, and what was not synced with it. `live` prints what
/// happens.
pub fn kills(seed: u64, count: usize, live: bool) -> Kills {
    kernel::begin(seed);
    trace::listen();
    if live {
        trace::print_live();
    }
    let mut world = World::new(seed, Clients::new(4, Duration::from_millis(20), 20));
    grow(&mut world, 3, 0);
    let mut gaps = Vec::new();
    while gaps.len() < count && world.broken.is_none() {
        let Some(gap) = kill(&mut world, gaps.len()) else {
            world.fail("writes_go_on", "nothing was written for too long");
            break;
        };
        gaps.push(gap);
    }
    gaps.sort();
    Kills {
        broken: world.broken.clone(),
        kills: gaps.len(),
        calls: (world.clients.history.writes, world.clients.history.reads),
        gaps,
        simulated: world.now,
    }
}

/// One kill, and everything back in order; the longest time without a write.
fn kill(world: &mut World, number: usize) -> Option<Duration> {
    // At any moment of what a leader does.
    let pause = Duration::from_millis(500 + world.rng.below(500));
    pass(world, pause);
    let leader = until(world, |world| world.leader())?;
    let how = match number % 2 {
        0 => Fall::Killed,
        _ => Fall::PowerLost,
    };
    trace::note(&format!("KILL {} ({how:?})", world.hosts[leader].name));
    let mark = world.clients.history.mark();
    world.fall(leader, how);
    let back = world.now + AWAY;
    // Both, in whichever order they come.
    until(world, |world| {
        let is_back = world.now >= back;
        if is_back && world.hosts[leader].process().is_none() {
            world.start(leader);
        }
        (is_back && world.clients.history.goes_on_since(&mark)).then_some(())
    })?;
    // All three are there again, or the next kill would leave one.
    until(world, |world| {
        let leader = world.leader()?;
        let site = world.hosts[leader].site()?;
        let status = site.seat().manager()?.raft_status();
        let last = status.last_log?;
        let level =
            |m: &skep_manager_raft::MemberStatus| m.replicated.is_some_and(|at| at + 20 > last);
        status.members.iter().all(level).then_some(())
    })?;
    let gap = world.clients.history.longest_gap;
    trace::note(&format!("all is in order; nothing was written for {gap:?}"));
    Some(gap)
}

fn pass(world: &mut World, time: Duration) {
    let end = world.now + time;
    while world.now < end && world.broken.is_none() {
        step(world);
    }
}

/// Steps until there is an answer; `None` if there is none for too long.
fn until<T>(world: &mut World, mut answer: impl FnMut(&mut World) -> Option<T>) -> Option<T> {
    let end = world.now + LOST;
    while world.now < end && world.broken.is_none() {
        if let Some(answer) = answer(world) {
            return Some(answer);
        }
        step(world);
    }
    None
}

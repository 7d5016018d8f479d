//! One run, from its seed to its verdict.

use crate::clients::{self, Clients};
use crate::daemon::Origin;
use crate::faults::{self, Faults};
use crate::invariants;
use crate::kernel;
use crate::operator;
use crate::trace;
use crate::workload;
use crate::world::World;
use skep_types::{ClusterSpec, Role};
use std::time::Duration;

/// How long a swarm may take to come about, or to come right again: longer
/// than the longest backoff and the longest update of a small service.
const SETTLES: Duration = Duration::from_secs(240);
/// How long what is right has to stay so before it counts.
const STAYS: Duration = Duration::from_secs(5);

/// What came of a run.
pub struct Verdict {
    /// The first promise that was broken, and how.
    pub broken: Option<String>,
    /// What happened.
    pub trace: String,
    /// A hash of all that happened: the same seed gives the same.
    pub hash: u64,
    /// How long it was for the simulated swarm.
    pub simulated: Duration,
    /// Writes that were acknowledged, and reads that were answered.
    pub calls: (u64, u64),
    /// The longest time between two acknowledged writes while faults happened.
    pub longest_gap: Duration,
}

/// Runs a seed. Only once in a process: see `kernel`.
pub fn run(seed: u64, live: bool) -> Verdict {
    kernel::begin(seed);
    trace::listen();
    if live {
        trace::print_live();
    }
    let mut world = World::new(seed, Clients::new(3, Duration::from_millis(400), 40));
    let longest_gap = act(&mut world);
    let (trace, hash) = trace::take();
    Verdict {
        broken: world.broken.clone(),
        trace,
        hash,
        simulated: world.now,
        calls: (world.clients.history.writes, world.clients.history.reads),
        longest_gap,
    }
}

fn act(world: &mut World) -> Duration {
    let managers = [1, 3, 3, 3, 5][world.rng.below(5) as usize];
    let workers = world.rng.below(7) as usize;
    grow(world, managers, workers);
    let faulty = Duration::from_secs(60 + world.rng.below(120));
    let until = world.now + faulty;
    let mut faults = Faults::default();
    while world.now < until && world.broken.is_none() {
        faults::act(&mut faults, world);
        operator::tend(world);
        if world.now.as_millis().is_multiple_of(1000) {
            workload::act(world);
        }
        step(world);
    }
    let longest_gap = world.clients.history.longest_gap;
    if world.broken.is_none() {
        faults::heal(&mut faults, world);
        settle(world);
    }
    longest_gap
}

/// One step of time, and a look at what should hold.
pub(crate) fn step(world: &mut World) {
    world.step();
    if world.now.as_millis().is_multiple_of(10) {
        clients::act(world);
        invariants::check_often(world);
    }
    if world.now.as_millis().is_multiple_of(200) {
        invariants::check_hosts(world);
    }
}

/// Steps until it is so; false if that takes too long.
fn wait(world: &mut World, so: impl Fn(&World) -> bool) -> bool {
    let until = world.now + SETTLES;
    while !so(world) {
        if world.now >= until || world.broken.is_some() {
            return false;
        }
        step(world);
    }
    true
}

/// Founds a swarm and has the others join it.
pub(crate) fn grow(world: &mut World, managers: usize, workers: usize) {
    let spec = ClusterSpec {
        // Small, so that networks fill up and grow.
        address_pools: vec![ipnet::Ipv4Net::new_assert([10, 64, 0, 0].into(), 20)],
        subnet_length: 26,
        cert_expiry: match world.rng.chance(40) {
            // The shortest there is.
            true => Duration::from_secs(3600),
            false => ClusterSpec::default().cert_expiry,
        },
        ..ClusterSpec::default()
    };
    let snapshot_every = 30 + world.rng.below(200);
    let first = world.add_host(Origin::Founds(Box::new(spec)), snapshot_every);
    world.start(first);
    if !wait(world, |world| {
        world.leader().is_some() && world.state().is_some()
    }) {
        world.fail("a_swarm_comes_about", "nobody leads");
        return;
    }
    for number in 1..managers + workers {
        let role = if number < managers {
            Role::Manager
        } else {
            Role::Worker
        };
        let Some(token) = world.token(role) else {
            break;
        };
        let at = world.manager_addresses();
        let host = world.add_host(Origin::Joins(token, at), snapshot_every);
        world.start(host);
    }
    let all = wait(world, |world| {
        let seated = |host: &crate::host::Host| {
            let site = host.site()?;
            let status = site.seat().manager()?.raft_status();
            Some(status.members.iter().filter(|m| m.member.voter).count())
        };
        let seats = world
            .hosts
            .iter()
            .filter(|host| seated(host) == Some(managers));
        let known = world.state().map_or(0, |state| state.nodes().count());
        seats.count() == managers && known == managers + workers && world.clients.ready()
    });
    if !all {
        world.fail("a_swarm_comes_about", "not everybody is in it");
    }
}

/// Everything has to come right, and stay so.
fn settle(world: &mut World) {
    let until = world.now + SETTLES;
    let mut right_since = None;
    while world.broken.is_none() {
        operator::tend(world);
        if world.now.as_millis().is_multiple_of(1000) {
            operator::bring_back(world);
            workload::open_all(world);
            let wrong = invariants::settled(world);
            if wrong.is_empty() {
                let since = *right_since.get_or_insert(world.now);
                if world.now >= since + STAYS {
                    return;
                }
            } else {
                right_since = None;
                if world.now >= until {
                    invariants::record(world, wrong);
                }
            }
        }
        step(world);
    }
}

//! What goes wrong, and when it is over again.
//!
//! Owns the choice of faults and their ends; what is then left to do by hand is
//! `operator`'s. At most one manager's log is damaged at once, and never in a swarm
//! that has no majority without it; what only stops for a while, or loses its power,
//! may be any of them, all at once too.

use crate::containers::Temper;
use crate::host::{Fall, Site};
use crate::network::Weather;
use crate::operator;
use crate::trace;
use crate::world::{CALM, STEP, World};
use skep_manager_raft::disk::Fault as DiskFault;
use std::sync::Arc;
use std::time::Duration;

/// Percent of seconds in which something goes wrong.
const FREQUENCY: u64 = 30;

/// Minutes that may pass at once without a certificate of a node that runs
/// expiring: it is renewed when 24 minutes of its hour are left, or before.
const NAP_MINUTES: u64 = 20;
/// Time to renew in.
const RENEWS: Duration = Duration::from_secs(65);

/// What will be over, or come.
enum End {
    Start(usize),
    Nap,
    Link(usize, usize),
    Weather,
    DiskFull(usize),
    Skew(usize),
    Containers(usize),
}

/// Faults under way.
#[derive(Default)]
pub(crate) struct Faults {
    ends: Vec<(Duration, End)>,
    next: Duration,
    /// No time passes unlived before.
    awake_until: Duration,
}

fn millis(world: &mut World, limit: u64) -> Duration {
    Duration::from_millis(100 + world.rng.below(limit))
}

/// Maybe a fault, and the end of those whose time has come.
pub(crate) fn act(faults: &mut Faults, world: &mut World) {
    let now = world.now;
    let (due, later) = std::mem::take(&mut faults.ends)
        .into_iter()
        .partition(|(at, _)| *at <= now);
    faults.ends = later;
    end_all(due, world);
    if now < faults.next {
        return;
    }
    faults.next = now + Duration::from_secs(1);
    if !world.rng.chance(FREQUENCY) {
        return;
    }
    let host = world.rng.below(world.hosts.len() as u64) as usize;
    let kind = world.rng.below(20);
    let target = match kind {
        // Leaders are of more interest than chance gives them.
        0 | 1 | 4 | 10 | 17 => world.leader().unwrap_or(host),
        _ => host,
    };
    let time = millis(world, 15_000);
    strike(faults, world, kind, target, time);
}

fn strike(faults: &mut Faults, world: &mut World, kind: u64, target: usize, time: Duration) {
    let name = world.hosts[target].name.clone();
    let say = |what: &str| trace::note(&format!("FAULT {name} {what} ({time:?})"));
    let over = world.now + time;
    match kind {
        0..=2 => {
            say("is killed");
            world.fall(target, Fall::Killed);
            faults
                .ends
                .push((over.min(world.now + time / 3), End::Start(target)));
        }
        3 | 4 => {
            say("loses its power");
            world.fall(target, Fall::PowerLost);
            faults.ends.push((over, End::Start(target)));
        }
        5 | 6 => {
            say("is cut off");
            for other in (0..world.hosts.len()).filter(|other| *other != target) {
                cut(faults, world, target, other, over);
                cut(faults, world, other, target, over);
            }
        }
        7 => {
            say("and another lose a link");
            let other = world.rng.below(world.hosts.len() as u64) as usize;
            cut(faults, world, target, other, over);
            if world.rng.chance(50) {
                cut(faults, world, other, target, over);
            }
        }
        8 => {
            say("hears nobody, but is heard");
            for other in (0..world.hosts.len()).filter(|other| *other != target) {
                cut(faults, world, other, target, over);
            }
        }
        9 => {
            say("is in one of two halves");
            let count = world.hosts.len();
            let side: Vec<bool> = (0..count).map(|_| world.rng.chance(50)).collect();
            for a in 0..count {
                for b in (0..count).filter(|b| side[a] != side[*b]) {
                    cut(faults, world, a, b, over);
                }
            }
        }
        10 | 11 => {
            say("is stopped");
            world.disturb(target);
            world.hosts[target].stopped_until = over;
        }
        12 => {
            let delay_max = world.rng.below(40);
            let loss = world.rng.below(60);
            trace::note(&format!(
                "FAULT weather: up to {delay_max} ms, {loss} of 1000 lost"
            ));
            world.fabric.set_weather(Weather {
                delay_min: STEP,
                delay_spread: Duration::from_millis(1 + delay_max),
                loss,
            });
            faults.ends.push((over, End::Weather));
        }
        13 => {
            let failures = world.rng.below(40);
            let slowness = Duration::from_millis(world.rng.below(4000));
            trace::note(&format!(
                "FAULT {name} fails {failures} %, slow {slowness:?}"
            ));
            world.hosts[target].containers.lock().temper = Temper { slowness, failures };
        }
        14 => disk(faults, world, target, over),
        15 => {
            trace::note("FAULT all connections break at once");
            (0..world.hosts.len()).for_each(|host| world.disturb(host));
            world.fabric.reset_all();
        }
        16 => all_at_once(faults, world),
        17 => damage(faults, world, target, over),
        18 => managers_away(faults, world),
        _ => nap(faults, world, target),
    }
}

/// Every machine loses its power, and has it again at the same moment.
fn all_at_once(faults: &mut Faults, world: &mut World) {
    trace::note("FAULT all lose their power at once");
    let back = world.now + millis(world, 5000);
    if faults.awake_until <= world.now && world.rng.chance(30) {
        // For longer than a short certificate lives.
        world.slept += Duration::from_secs(2 * 3600);
        faults.awake_until = back + RENEWS;
    }
    for host in 0..world.hosts.len() {
        world.fall(host, Fall::PowerLost);
        faults.ends.push((back, End::Start(host)));
    }
}

/// All managers' daemons are killed, and then containers everywhere.
fn managers_away(faults: &mut Faults, world: &mut World) {
    trace::note("FAULT all managers are away, and containers end");
    let back = world.now + Duration::from_secs(2) + millis(world, 20_000);
    for host in 0..world.hosts.len() {
        let seated = |site: &Arc<Site>| site.seat().manager().is_some();
        if world.hosts[host].site().is_some_and(seated) {
            world.fall(host, Fall::Killed);
            faults.ends.push((back, End::Start(host)));
        }
        let ends = millis(world, 15_000);
        faults.ends.push((world.now + ends, End::Containers(host)));
    }
}

/// A manager's disk changes a bit of its log while it is off.
fn damage(faults: &mut Faults, world: &mut World, target: usize, over: Duration) {
    if !operator::can_spare(world, target) {
        return;
    }
    let [file, byte, bit] = [(); 3].map(|()| world.rng.next());
    world.fall(target, Fall::PowerLost);
    let host = &world.hosts[target];
    let damaged = host.damage(file, byte, bit);
    trace::note(&format!(
        "FAULT {}'s log is damaged: {damaged:?}",
        host.name
    ));
    faults.ends.push((over, End::Start(target)));
}

/// Time passes in which nothing runs, as on machines that are suspended. One
/// stays off for so long that a short certificate expires.
fn nap(faults: &mut Faults, world: &mut World, target: usize) {
    if faults.awake_until > world.now {
        return;
    }
    trace::note("FAULT time passes unlived");
    let minutes = 1 + world.rng.below(NAP_MINUTES);
    world.slept += Duration::from_secs(60 * minutes);
    faults.awake_until = world.now + RENEWS;
    if world.rng.chance(50) {
        return;
    }
    trace::note(&format!(
        "FAULT {} is off for an hour",
        world.hosts[target].name
    ));
    world.fall(target, Fall::PowerLost);
    for _ in 0..3 {
        faults.ends.push((faults.awake_until, End::Nap));
        faults.awake_until += RENEWS;
    }
    faults
        .ends
        .push((faults.awake_until - RENEWS / 2, End::Start(target)));
}

fn disk(faults: &mut Faults, world: &mut World, target: usize, over: Duration) {
    let name = world.hosts[target].name.clone();
    let chosen = world.rng.below(5);
    let host = &mut world.hosts[target];
    let disk = host.disk.clone();
    match chosen {
        0 => {
            trace::note(&format!("FAULT {name}'s disk is full"));
            disk.set_room(Some(disk.used()));
            faults.ends.push((over, End::DiskFull(target)));
        }
        1 => {
            trace::note(&format!("FAULT {name}'s disk stalls"));
            disk.inject(DiskFault::SlowSync(Duration::from_secs(2)));
        }
        2 => {
            trace::note(&format!("FAULT {name}'s disk fails a sync"));
            disk.inject(DiskFault::SyncFails { after: 0 });
        }
        3 => {
            trace::note(&format!("FAULT {name}'s disk fails a write"));
            disk.inject(DiskFault::WriteFails);
        }
        _ => {
            let skew = i64::try_from(world.rng.below(7_200_000)).unwrap_or(0) - 3_600_000;
            trace::note(&format!("FAULT {name}'s clock jumps by {skew} ms"));
            world.hosts[target].skew_ms = skew;
            faults.ends.push((over, End::Skew(target)));
        }
    }
}

fn cut(faults: &mut Faults, world: &mut World, from: usize, to: usize, over: Duration) {
    world.disturb(from);
    world.disturb(to);
    world
        .fabric
        .cut(world.hosts[from].ip, world.hosts[to].ip, true);
    faults.ends.push((over, End::Link(from, to)));
}

fn end_all(due: Vec<(Duration, End)>, world: &mut World) {
    for (_, end) in due {
        match end {
            End::Start(host) => {
                if world.hosts[host].process().is_none() && !world.hosts[host].retired {
                    trace::note(&format!("{} starts", world.hosts[host].name));
                    world.start(host);
                }
            }
            End::Link(from, to) => {
                world
                    .fabric
                    .cut(world.hosts[from].ip, world.hosts[to].ip, false);
                world.disturb(from);
                world.disturb(to);
            }
            End::Nap => {
                trace::note("time passes unlived");
                world.slept += Duration::from_secs(60 * NAP_MINUTES);
            }
            End::Weather => world.fabric.set_weather(CALM),
            End::DiskFull(host) => world.hosts[host].disk.set_room(None),
            End::Skew(host) => world.hosts[host].skew_ms = 0,
            End::Containers(host) => world.hosts[host].containers.lock().end_some(),
        }
    }
}

/// Everything works again.
pub(crate) fn heal(faults: &mut Faults, world: &mut World) {
    trace::note("the faults are over");
    let mut all = std::mem::take(&mut faults.ends);
    all.retain(|(_, end)| !matches!(end, End::Nap));
    end_all(all, world);
    world.fabric.heal();
    world.fabric.set_weather(CALM);
    for number in 0..world.hosts.len() {
        world.disturb(number);
        let host = &mut world.hosts[number];
        host.stopped_until = Duration::ZERO;
        host.skew_ms = 0;
        host.disk.set_room(None);
        host.containers.lock().temper = Temper {
            slowness: Duration::from_millis(300),
            failures: 0,
        };
        if host.process().is_none() && !host.retired {
            world.start(number);
        }
    }
}

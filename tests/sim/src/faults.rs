//! What goes wrong, and when it is over again.
//!
//! Owns the choice of faults and their ends. At most as many machines lose
//! their power or their disk at once as leave a majority of the managers; what
//! only stops for a while may be any of them, all at once too.

use crate::containers::Temper;
use crate::host::Fall;
use crate::network::Weather;
use crate::trace;
use crate::world::{CALM, STEP, World};
use skep_manager_raft::disk::Fault as DiskFault;
use std::time::Duration;

/// Percent of seconds in which something goes wrong.
const FREQUENCY: u64 = 30;

/// What will be over.
enum End {
    Start(usize),
    Link(usize, usize),
    Weather,
    DiskFull(usize),
    Skew(usize),
}

/// Faults under way.
#[derive(Default)]
pub(crate) struct Faults {
    ends: Vec<(Duration, End)>,
    next: Duration,
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
    restart_failed(world);
    if now < faults.next {
        return;
    }
    faults.next = now + Duration::from_secs(1);
    if !world.rng.chance(FREQUENCY) {
        return;
    }
    let host = world.rng.below(world.hosts.len() as u64) as usize;
    let kind = world.rng.below(15);
    let target = match kind {
        // Leaders are of more interest than chance gives them.
        0 | 1 | 4 | 10 => world.leader().unwrap_or(host),
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
        _ => disk(faults, world, target, over),
    }
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
            End::Weather => world.fabric.set_weather(CALM),
            End::DiskFull(host) => world.hosts[host].disk.set_room(None),
            End::Skew(host) => world.hosts[host].skew_ms = 0,
        }
    }
}

/// What an operator does about a manager that says its disk failed.
fn restart_failed(world: &mut World) {
    if !world.now.as_millis().is_multiple_of(5000) {
        return;
    }
    for host in 0..world.hosts.len() {
        let failed = world.hosts[host].site().is_some_and(|site| {
            let seat = site.seat();
            seat.manager()
                .is_some_and(|manager| manager.failure().is_some())
        });
        if failed {
            trace::note(&format!(
                "{} is restarted, as its log says",
                world.hosts[host].name
            ));
            world.fall(host, Fall::Killed);
            world.start(host);
        }
    }
}

/// Everything works again.
pub(crate) fn heal(faults: &mut Faults, world: &mut World) {
    trace::note("the faults are over");
    let all = std::mem::take(&mut faults.ends);
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

/// What is left to do for an operator while nothing goes wrong any more.
pub(crate) fn tend(world: &mut World) {
    restart_failed(world);
    bring_back(world);
}

/// A machine whose removal was refused, as without a leader, goes on.
fn bring_back(world: &mut World) {
    let Some(state) = world.state() else { return };
    for number in 0..world.hosts.len() {
        let host = &mut world.hosts[number];
        let known = host.node().is_some_and(|id| state.node(id).is_some());
        if host.retired && known {
            host.retired = false;
            trace::note(&format!("{} was not removed, and starts", host.name));
            world.start(number);
        }
    }
}

//! What is promised: one file a promise.

mod addresses_are_given_once;
mod everything_wanted_runs;
mod hosts_do_as_told;
mod managers_agree;
mod no_more_tasks_than_wanted;
mod no_slot_runs_twice;
mod no_task_on_a_lost_node;
mod one_leader_a_term;
#[cfg(test)]
mod planted;
mod removed_services_stop;
mod secrets_are_there;
mod secrets_stay_where_needed;
mod stacks_are_whole;
mod states_never_go_back;
mod waiting_is_needed;

use crate::containers::Container;
use crate::host::Host;
use crate::trace;
use crate::world::World;
use skep_manager_store::Snapshot;
use skep_types::{NodeId, SecretId, TaskId, Version};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A promise is kept, or how it was broken.
type Verdict = Result<(), String>;

/// What was seen of the managers so far.
#[derive(Default)]
pub(crate) struct Observer {
    /// The newest state any of them has shown.
    pub(crate) newest: Option<Snapshot>,
    agreed: managers_agree::Agreed,
    terms: one_leader_a_term::Terms,
    slots: no_slot_runs_twice::Slots,
    removed: removed_services_stop::Removed,
    secrets: secrets_stay_where_needed::Kept,
    /// The state each host's manager was seen with.
    versions: BTreeMap<usize, Version>,
}

/// What one manager shows.
pub(crate) struct Sight {
    pub(crate) host: usize,
    pub(crate) state: Snapshot,
    pub(crate) term: u64,
    pub(crate) raft_id: u64,
    pub(crate) leads: bool,
}

fn sights(world: &World) -> Vec<Sight> {
    let hosts = world.hosts.iter().enumerate();
    let running = hosts.filter(|(_, host)| host.stopped_until <= world.now);
    running
        .filter_map(|(number, host)| {
            let site = host.site()?;
            let seat = site.seat();
            let manager = seat.manager()?;
            let status = manager.raft_status();
            Some(Sight {
                host: number,
                state: manager.snapshot(),
                term: status.leadership.term,
                raft_id: status.id,
                leads: status.leadership.is_leader,
            })
        })
        .collect()
}

/// What one host shows.
pub(crate) struct HostSight {
    name: String,
    node: Option<NodeId>,
    /// It has run, and could reach the others, for a while.
    well: bool,
    containers: BTreeMap<TaskId, Container>,
    secrets: BTreeSet<SecretId>,
}

fn host_sights(world: &World) -> Vec<HostSight> {
    let sight = |host: &Host| {
        let shelf = host.containers.lock();
        HostSight {
            name: host.name.clone(),
            node: host.node(),
            well: world.is_well(host),
            containers: shelf.containers.clone(),
            secrets: shelf.secrets.clone(),
        }
    };
    world.hosts.iter().map(sight).collect()
}

/// Promises that were broken, and how.
type Broken = Vec<(&'static str, String)>;

/// Looks at all managers and containers; several times between two heartbeats.
pub(crate) fn check_often(world: &mut World) {
    let (sights, hosts) = (sights(world), host_sights(world));
    let broken = world.observer.see_often(sights, &hosts);
    record(world, broken);
}

/// Looks at all hosts; now and then.
pub(crate) fn check_hosts(world: &mut World) {
    let (hosts, now) = (host_sights(world), world.now);
    let broken = world.observer.see_hosts(&hosts, now);
    record(world, broken);
}

/// When all faults have been over for long enough: how it is not right yet.
pub(crate) fn settled(world: &World) -> Broken {
    let state = world.state();
    judge_settled(state.as_ref(), &sights(world), &host_sights(world))
}

impl Observer {
    fn see_often(&mut self, sights: Vec<Sight>, hosts: &[HostSight]) -> Broken {
        let mut broken = Vec::new();
        for sight in sights {
            broken.extend(failures([("one_leader_a_term", self.terms.see(&sight))]));
            let version = sight.state.version();
            if self.versions.insert(sight.host, version) == Some(version) {
                continue;
            }
            broken.extend(failures([("managers_agree", self.agreed.see(&sight))]));
            let before = self.newest.replace(sight.state.clone());
            let Some(before) = before else { continue };
            if before.version() >= version {
                self.newest = Some(before);
                continue;
            }
            broken.extend(self.see_change(&before, &sight.state));
        }
        if let Some(state) = &self.newest {
            let twice = self.slots.run(state, hosts);
            broken.extend(failures([("no_slot_runs_twice", twice)]));
        }
        broken
    }

    fn see_change(&mut self, before: &Snapshot, after: &Snapshot) -> Broken {
        failures([
            (
                "states_never_go_back",
                states_never_go_back::check(before, after),
            ),
            (
                "addresses_are_given_once",
                addresses_are_given_once::check(after),
            ),
            ("no_slot_runs_twice", self.slots.release(before, after)),
            ("secrets_are_there", secrets_are_there::check(after)),
            ("stacks_are_whole", stacks_are_whole::check(after)),
        ])
    }

    fn see_hosts(&mut self, hosts: &[HostSight], now: Duration) -> Broken {
        let Some(state) = &self.newest else {
            return Vec::new();
        };
        failures([
            ("removed_services_stop", self.removed.see(hosts, state, now)),
            (
                "secrets_stay_where_needed",
                self.secrets.see(hosts, state, now),
            ),
        ])
    }
}

fn failures<const N: usize>(verdicts: [(&'static str, Verdict); N]) -> Broken {
    let failed = verdicts.into_iter();
    failed
        .filter_map(|(name, verdict)| Some((name, verdict.err()?)))
        .collect()
}

fn judge_settled(state: Option<&Snapshot>, sights: &[Sight], hosts: &[HostSight]) -> Broken {
    let Some(state) = state else {
        return vec![(
            "everything_wanted_runs",
            "no manager has shown a state".to_owned(),
        )];
    };
    failures([
        (
            "everything_wanted_runs",
            everything_wanted_runs::check(state),
        ),
        (
            "no_task_on_a_lost_node",
            no_task_on_a_lost_node::check(state),
        ),
        (
            "no_more_tasks_than_wanted",
            no_more_tasks_than_wanted::check(state),
        ),
        ("waiting_is_needed", waiting_is_needed::check(state)),
        ("stacks_are_whole", stacks_are_whole::nothing_is_left(state)),
        ("hosts_do_as_told", hosts_do_as_told::check(hosts, state)),
        ("managers_agree", managers_agree::all_at(state, sights)),
    ])
}

/// Notes what was found.
pub(crate) fn record(world: &mut World, broken: Broken) {
    for (invariant, how) in broken {
        world.fail(invariant, &how);
    }
}

/// A hash of everything in a state.
fn digest(state: &Snapshot) -> u64 {
    trace::hash(&skep_proto::encode_snapshot(&state.dump()))
}

//! What somebody who looks after the machines does about what the nodes say.
//!
//! Owns the steps that no node takes by itself, as its messages and the
//! documentation name them. What users want is `workload`'s.

use crate::daemon::Origin;
use crate::host::{Fall, Host, Seat};
use crate::trace;
use crate::workload;
use crate::world::World;
use skep_manager_store::Snapshot;
use skep_proto::pb::change::Change;
use skep_proto::{id_bytes, pb};
use skep_types::{Node, NodeId, Role};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How often anybody looks, in milliseconds.
const LOOKS_MS: u128 = 5000;
/// A node that is locked out for so long does not come back by itself.
const LOCKED_OUT: Duration = Duration::from_secs(60);

/// What is on the operator's mind.
#[derive(Default)]
pub(crate) struct Operator {
    /// Those demoted for their damaged log, to be promoted again.
    demoted: BTreeSet<NodeId>,
    /// Since when hosts are locked out.
    locked_out: BTreeMap<usize, Duration>,
    /// Nodes that hosts were before they joined anew, to be removed.
    former: BTreeSet<NodeId>,
}

/// Does what is to be done now.
pub(crate) fn tend(world: &mut World) {
    if !world.now.as_millis().is_multiple_of(LOOKS_MS) {
        return;
    }
    restart_failed(world);
    let Some(state) = world.state() else { return };
    let mut operator = std::mem::take(&mut world.operator);
    reseat(&mut operator, world, &state);
    join_anew(&mut operator, world, &state);
    world.operator = operator;
}

/// Whether the swarm has a majority without this manager, and nothing else is
/// wrong with its managers or being done about them.
pub(crate) fn can_spare(world: &World, host: usize) -> bool {
    let Some(state) = world.state() else {
        return false;
    };
    let wanted = state.nodes().filter(|node| node.spec.role == Role::Manager);
    let wanted: Vec<_> = wanted.collect();
    let seated = |node: &&std::sync::Arc<Node>| {
        let mut hosts = world.hosts.iter();
        let host = hosts.find(|host| host.node() == Some(node.id));
        let raft_id = node.manager.as_ref().map(|manager| manager.raft_id);
        host.and_then(Host::site).is_some_and(|site| {
            let seat = site.seat();
            let status = seat.manager().map(|manager| manager.raft_status());
            let voters = |status: &skep_manager_raft::Status| {
                status.members.iter().filter(|m| m.member.voter).count()
            };
            status
                .is_some_and(|s| Some(s.id) == raft_id && voters(&s) == wanted.len() && !s.changing)
        })
    };
    let is_manager = |node: &&std::sync::Arc<Node>| world.hosts[host].node() == Some(node.id);
    let seats = state.nodes().filter(|node| node.manager.is_some()).count();
    wanted.len() >= 3
        && seats == wanted.len()
        && wanted.iter().any(is_manager)
        && wanted.iter().all(seated)
}

/// A manager that says its disk failed is started again.
fn restart_failed(world: &mut World) {
    for host in 0..world.hosts.len() {
        let failed = world.hosts[host].site().is_some_and(|site| {
            let seat = site.seat();
            let manager = seat.manager();
            manager.is_some_and(|manager| manager.failure().is_some())
        });
        if failed {
            let name = &world.hosts[host].name;
            trace::note(&format!("{name} is restarted, as its log says"));
            world.fall(host, Fall::Killed);
            world.start(host);
        }
    }
}

/// A manager whose log is damaged is demoted, and promoted with a new one.
fn reseat(operator: &mut Operator, world: &mut World, state: &Snapshot) {
    let is_lost = |host: &Host| {
        let site = host.site()?;
        let raft_id = site.files().raft_id;
        let node = state.node(host.node()?)?;
        let same = node.manager.as_ref().map(|manager| manager.raft_id) == raft_id;
        let lost = matches!(*site.seat(), Seat::Lost(true)) && same;
        (lost && node.spec.role == Role::Manager).then(|| node.clone())
    };
    let lost: Vec<_> = world.hosts.iter().filter_map(is_lost).collect();
    for node in &lost {
        operator.demoted.insert(node.id);
        set_role(world, "demote, for its log", node, Role::Worker);
    }
    for id in std::mem::take(&mut operator.demoted) {
        match state.node(id) {
            None => {}
            // A user was quicker.
            Some(node) if node.spec.role == Role::Manager && !lost.contains(node) => {}
            Some(node) => {
                if node.spec.role == Role::Worker && node.manager.is_none() {
                    set_role(world, "promote, with a new log", node, Role::Manager);
                }
                operator.demoted.insert(id);
            }
        }
    }
}

fn set_role(world: &mut World, what: &str, node: &Node, role: Role) {
    let mut spec = node.spec.clone();
    spec.role = role;
    workload::update_node(world, what, node, &spec);
}

/// It was away while every manager that it knows became none.
fn is_lost(host: &Host, managers: &[String]) -> bool {
    let known = host.site().map(|site| site.files().managers.clone());
    known.is_some_and(|known| !known.iter().any(|address| managers.contains(address)))
}

/// A worker whose certificate is of another time, that was forgotten before it ever
/// came, or that knows no manager any more, leaves and joins anew.
fn join_anew(operator: &mut Operator, world: &mut World, state: &Snapshot) {
    let managers = world.manager_addresses();
    for number in 0..world.hosts.len() {
        let host = &world.hosts[number];
        let id = host.node();
        let known = id.and_then(|id| state.node(id));
        let leads = host
            .site()
            .is_some_and(|site| site.seat().manager().is_some());
        let out = id.is_some()
            && host.process().is_some()
            && !host.retired
            && !leads
            && (known.is_none() || host.is_expired(world.wall(host)) || is_lost(host, &managers));
        if !out {
            operator.locked_out.remove(&number);
            continue;
        }
        let since = *operator.locked_out.entry(number).or_insert(world.now);
        if world.now < since + LOCKED_OUT || world.leader().is_none() {
            continue;
        }
        // A manager is demoted before.
        if let Some(node) = known.filter(|node| node.spec.role == Role::Manager) {
            let node = node.clone();
            set_role(world, "demote, as it is locked out,", &node, Role::Worker);
            continue;
        }
        let Some(token) = world.token(Role::Worker) else {
            continue;
        };
        let at = world.manager_addresses();
        let host = &mut world.hosts[number];
        trace::note(&format!("USER {} leaves and joins anew", host.name));
        host.leave(Origin::Joins(token, at));
        operator.locked_out.remove(&number);
        world.start(number);
        operator.former.extend(known.map(|node| node.id));
    }
    // Until it is done: there may be no leader.
    operator.former.retain(|id| state.node(*id).is_some());
    for id in &operator.former {
        // A user may have promoted it meanwhile, by its name.
        if let Some(node) = state.node(*id).filter(|n| n.spec.role == Role::Manager) {
            set_role(world, "demote, to be removed,", node, Role::Worker);
            continue;
        }
        let remove = pb::RemoveNode {
            id: id_bytes(*id),
            force: true,
        };
        workload::send(world, "remove node", Change::RemoveNode(remove));
    }
}

/// A machine whose removal was refused, as without a leader, goes on.
pub(crate) fn bring_back(world: &mut World) {
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

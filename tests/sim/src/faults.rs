//! What goes wrong: hosts die and return, links break, agents are slow or
//! lose reports, containers crash, leaders change.

use crate::world::World;
use skep_manager_planner::{IdSource, Liveness};
use skep_manager_store::{Action, NodeAction};
use skep_types::{Availability, NodeId};
use std::time::Duration;

/// Maybe a fault.
pub(crate) fn act(world: &mut World) {
    if !world.rng.chance(8) {
        return;
    }
    let nodes: Vec<NodeId> = world.agents.keys().copied().collect();
    let Some(node) = world.rng.pick(&nodes).copied() else {
        return;
    };
    let now = world.now;
    match world.rng.below(10) {
        0 => with(world, node, "dies", |agent, _| agent.die(now)),
        1 | 2 => with(world, node, "returns", |agent, _| agent.dead = false),
        3 => {
            let time = Duration::from_millis(world.rng.below(12_000));
            with(world, node, "is cut off", |agent, _| {
                agent.cut_off_until = now + time;
            });
        }
        4 => with(world, node, "is slow", |agent, chance| {
            agent.slowness = chance
        }),
        5 => with(world, node, "loses reports", |agent, chance| {
            agent.loss = chance / 2;
        }),
        6 => with(world, node, "crashes containers", |agent, chance| {
            agent.failure = chance / 10;
        }),
        7 => change_leader(world),
        8 => set_availability(world, node, Availability::Drain),
        _ => {
            let availability = if world.rng.chance(70) {
                Availability::Active
            } else {
                Availability::Pause
            };
            set_availability(world, node, availability);
        }
    }
}

/// Everything works again.
pub(crate) fn heal(world: &mut World) {
    let nodes: Vec<NodeId> = world.agents.keys().copied().collect();
    for node in nodes {
        if let Some(agent) = world.agents.get_mut(&node) {
            agent.dead = false;
            agent.cut_off_until = world.now;
            agent.slowness = 0;
            agent.loss = 0;
            agent.failure = 0;
        }
        set_availability(world, node, Availability::Active);
    }
    world.driver.calm();
}

fn with(
    world: &mut World,
    node: NodeId,
    what: &str,
    edit: impl FnOnce(&mut crate::agent::Agent, u64),
) {
    let chance = world.rng.below(100);
    world.note(&format!("fault: {node} {what} ({chance})"));
    if let Some(agent) = world.agents.get_mut(&node) {
        edit(agent, chance);
    }
}

/// A new leader has heard nobody yet, and draws other ids.
fn change_leader(world: &mut World) {
    world.note("fault: the leader changes");
    world.liveness = Liveness::new(world.now);
    let seed = u128::from(world.rng.next()) << 64 | u128::from(world.rng.next());
    world.ids = IdSource::new(seed);
    world.driver.forget();
}

fn set_availability(world: &mut World, id: NodeId, availability: Availability) {
    let Some(node) = world.store.state().node(id) else {
        return;
    };
    let version = node.meta.version;
    let mut spec = node.spec.clone();
    spec.availability = availability;
    let action = Action::Node(NodeAction::Update { id, version, spec });
    world.apply("operator", &[action]);
}

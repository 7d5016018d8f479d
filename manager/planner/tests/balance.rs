//! Spreading tasks evenly ends, does not go round in circles, and leaves nothing that
//! could be better: random swarms, unbalanced at random.

mod support;

use proptest::prelude::*;
use skep_types::{Cause, Slot, TaskId};
use std::collections::{BTreeMap, BTreeSet};
use support::World;

const NODES: [&str; 5] = ["n1", "n2", "n3", "n4", "n5"];

/// What unbalances a service.
fn line() -> impl Strategy<Value = String> {
    let node = proptest::sample::select(&NODES[..]);
    prop_oneof![
        (node.clone(), 0..3_usize).prop_map(|(node, verb)| {
            let verb = ["pause", "active", "drain"][verb];
            format!("{verb} {node}")
        }),
        (node.clone(), 0..3_u8).prop_map(|(node, zone)| format!("label {node} zone=z{zone}")),
        node.prop_map(|node| format!("update other constraint=node.hostname!={node}")),
        (0..12_u32).prop_map(|count| format!("scale web {count}")),
        (0..12_u32).prop_map(|count| format!("scale other {count}")),
        (1..30_u32).prop_map(|seconds| format!("step {seconds}s")),
        Just("rebalance web".to_owned()),
    ]
}

/// Tasks that were moved, ever.
fn moved(world: &World) -> BTreeSet<TaskId> {
    let tasks = world.store.state().tasks();
    let moved = tasks.filter(|task| task.cause == Cause::Rebalanced);
    moved.map(|task| task.id).collect()
}

/// Live tasks of `web` by what the key says of their nodes.
fn counts(world: &World, key: impl Fn(&str, &str) -> String) -> BTreeMap<String, u32> {
    let state = world.store.state();
    let mut counts = BTreeMap::new();
    for node in state.nodes() {
        let zone = node.spec.labels.get("zone").map_or("", String::as_str);
        let count = counts
            .entry(key(&node.description.hostname, zone))
            .or_default();
        let mut slots = BTreeSet::new();
        let live = state.tasks_on(node.id).filter(|task| task.is_live());
        for task in live.filter(|task| &*task.service_name == "web" && task.slot != Slot(0)) {
            slots.insert(task.slot);
        }
        *count += slots.len() as u32;
    }
    counts
}

fn spread_of(counts: &BTreeMap<String, u32>) -> u32 {
    let (most, least) = (counts.values().max(), counts.values().min());
    most.unwrap_or(&0) - least.unwrap_or(&0)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn it_ends_and_nothing_is_left_to_be_better(
        start_first in any::<bool>(),
        auto in any::<bool>(),
        zones in any::<bool>(),
        parallelism in 0..4_u32,
        lines in proptest::collection::vec(line(), 1..16),
    ) {
        let mut world = World::new();
        for (number, node) in NODES.iter().enumerate() {
            world.line(&format!("node {node} label=zone=z{}", number % 2));
        }
        let order = if start_first { "start-first" } else { "stop-first" };
        let auto = if auto { "auto" } else { "" };
        let spread = if zones { "spread=node.labels.zone" } else { "" };
        world.line("history 50");
        world.line("rebalance-rate 100");
        world.line(&format!(
            "service web replicas=7 monitor=1s order={order} parallelism={parallelism} {auto} {spread}"
        ));
        world.line("service other replicas=3 monitor=1s");
        world.line("run");
        for line in lines {
            world.line(&line);
        }
        for node in NODES {
            world.line(&format!("active {node}"));
        }
        let before = moved(&world);
        if auto.is_empty() {
            world.line("rebalance web");
        }
        world.line("step 90s");
        let service = world.store.state().service_named("web").unwrap();
        prop_assert_eq!(service.rebalance_since, None, "it never ends");
        let replicas = world.store.state().tasks().filter(|task| task.is_live()).count();
        let after = moved(&world);
        prop_assert!(after.difference(&before).count() <= replicas, "more moves than tasks");
        // Nodes are even where only they are looked at; otherwise branches are, and the
        // nodes in each.
        let nodes = counts(&world, |node, zone| match zones {
            true => format!("{zone}/{node}"),
            false => node.to_owned(),
        });
        if zones {
            let branches = counts(&world, |_, zone| zone.to_owned());
            prop_assert!(spread_of(&branches) < 2, "{branches:?}");
            // With one task fewer the fuller branch is as full as others, which may come
            // first: then its nodes stay as they are.
            for branch in branches.keys().filter(|_| spread_of(&branches) == 0) {
                let inside = |key: &&String| key.starts_with(&format!("{branch}/"));
                let nodes: BTreeMap<String, u32> = nodes
                    .iter()
                    .filter(|(key, _)| inside(key))
                    .map(|(key, count)| (key.clone(), *count))
                    .collect();
                prop_assert!(spread_of(&nodes) < 2, "{nodes:?}");
            }
        } else {
            prop_assert!(spread_of(&nodes) < 2, "{nodes:?}");
        }
        // What is even stays so.
        world.line("rebalance web");
        world.line("step 300s");
        prop_assert_eq!(moved(&world), after, "it goes round in circles");
    }
}

//! Services of several shelves in a swarm where most of the time one task or another
//! ends. Each pass of the runner leaves out what is quiet, and is compared with one that
//! looks at all of it.

mod support;

use proptest::prelude::*;
use std::time::Duration;
use support::World;

fn line() -> impl Strategy<Value = String> {
    let node = prop_oneof![Just("n1"), Just("n2"), Just("n3")];
    prop_oneof![
        6 => (1..16_u32, 0..3_usize).prop_map(|(slot, verb)| {
            let verb = ["fail", "complete", "reject"][verb];
            format!("{verb} web.{slot}")
        }),
        2 => (1..16_u32).prop_map(|slot| format!("heal web.{slot}")),
        2 => (1..16_u32).prop_map(|slot| format!("fail db.{slot}")),
        3 => (1..30_u32).prop_map(|seconds| format!("step {seconds}s")),
        1 => Just("step 400s".to_owned()),
        2 => (node.clone(), 0..5_usize).prop_map(|(node, verb)| {
            let verb = ["silence", "wake", "drain", "pause", "active"][verb];
            format!("{verb} {node}")
        }),
        1 => (node, 0..2_u8).prop_map(|(node, zone)| format!("label {node} zone=z{zone}")),
        2 => (0..18_u32).prop_map(|count| format!("scale web {count}")),
        1 => (0..3_usize).prop_map(|n| format!("update web image={}", ["a", "b", "c"][n])),
        1 => Just("update web constraint=node.labels.zone==z0".to_owned()),
        1 => Just("update web no-constraints".to_owned()),
        1 => Just("update web max-per-node=6".to_owned()),
        1 => Just("update web order=start-first".to_owned()),
        1 => Just("update web auto".to_owned()),
        1 => Just("rebalance db".to_owned()),
        1 => Just("history 1".to_owned()),
        1 => Just("leader".to_owned()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn what_is_left_out_changes_nothing(lines in proptest::collection::vec(line(), 1..32)) {
        let mut world = World::new();
        for line in [
            "node n1 cpus=8 label=zone=z0 generic=gpu=4",
            "node n2 cpus=8 label=zone=z1 generic=gpu=a,b,c,d,e,f",
            "node n3 cpus=4 label=zone=z0",
            "network back",
            "service web replicas=14 net=back port=0:80 cpu=0.5",
            "service db replicas=10 spread=node.labels.zone generic=gpu=1",
            "run",
            "step 20s",
        ] {
            world.line(line);
        }
        for line in lines {
            world.line(&line);
            // In one millisecond, what ended seems older than what lives.
            world.now = world.now + Duration::from_millis(1);
            world.settle();
            world.line("run");
            world.line("step 6s");
        }
    }
}

/// A node falls silent in the pass in which the next task of its drain may go.
#[test]
fn a_drain_goes_on_in_the_pass_that_finds_its_node_silent() {
    let mut world = World::new();
    for line in [
        "node n1 cpus=8",
        "node n2 cpus=8",
        "node n3 cpus=4",
        "service web replicas=14 cpu=0.5",
        "run",
        "step 20s",
        "drain n3",
        "run",
        "step 6s",
        "silence n3",
    ] {
        world.line(line);
    }
    world.settle();
}

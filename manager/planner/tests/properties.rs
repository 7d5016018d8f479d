//! What holds whatever happens: random lines of a scenario, and after each
//! the promises that a pass makes.

mod support;

use proptest::prelude::*;
use skep_manager_planner::reconcile;
use skep_manager_store::Snapshot;
use skep_types::{
    Availability, Cause, NodeId, NodeState, ServiceMode, Slot, Task, TaskState, Timestamp,
};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use support::World;

/// A line that makes sense for the nodes and services of the world below.
fn line() -> impl Strategy<Value = String> {
    let node = prop_oneof![Just("n1"), Just("n2"), Just("n3")];
    let service = prop_oneof![Just("web"), Just("db"), Just("agent")];
    let replicated = prop_oneof![Just("web"), Just("db")];
    let image = prop_oneof![Just("a"), Just("b"), Just("c")];
    prop_oneof![
        (node.clone(), 0..5_usize).prop_map(|(node, verb)| {
            format!(
                "{} {node}",
                ["silence", "wake", "drain", "pause", "active"][verb]
            )
        }),
        (node.clone(), 0..90_u32).prop_map(|(node, time)| format!("drain {node} {time}s")),
        (node, 0..2_u8).prop_map(|(node, zone)| format!("label {node} zone=z{zone}")),
        (replicated, 0..14_u32).prop_map(|(name, count)| format!("scale {name} {count}")),
        (service.clone(), image).prop_map(|(name, image)| format!("update {name} image={image}")),
        (service.clone(), 1..4_u32)
            .prop_map(|(name, n)| format!("update {name} parallelism={n} monitor={n}s")),
        Just("rebalance web".to_owned()),
        Just("rebalance db".to_owned()),
        Just("update web auto".to_owned()),
        Just("update db order=start-first".to_owned()),
        Just("update db order=stop-first".to_owned()),
        Just("warm web@a".to_owned()),
        Just("ready web@a".to_owned()),
        (0..5_u32).prop_map(|count| format!("scale batch {count}")),
        Just("update batch force".to_owned()),
        Just("trigger batch".to_owned()),
        Just("trigger tick".to_owned()),
        Just("complete tick.1".to_owned()),
        Just("update tick image=b".to_owned()),
        Just("update tick suspend".to_owned()),
        Just("step 65s".to_owned()),
        Just("update batch attempts=1 delay=1s".to_owned()),
        (1..4_u32, 0..3_usize).prop_map(|(slot, verb)| {
            let verb = ["fail", "complete", "heal"][verb];
            format!("{verb} batch.{slot}")
        }),
        Just("complete scan@a".to_owned()),
        Just("heal scan@a".to_owned()),
        (service, 0..4_usize).prop_map(|(name, verb)| {
            let verb = ["fail", "reject", "complete", "heal"][verb];
            format!("{verb} {name}.1")
        }),
        Just("fail web@b".to_owned()),
        Just("fail web@c".to_owned()),
        Just("fail agent@b".to_owned()),
        Just("heal web@b".to_owned()),
        Just("history 2".to_owned()),
        Just("update web no-after after=db:healthy".to_owned()),
        Just("update web no-after after=batch:completed after=db:started".to_owned()),
        Just("update agent no-after after=db:started after=cache:healthy?".to_owned()),
        Just("update batch no-after after=db:healthy".to_owned()),
        Just("update web no-after".to_owned()),
        Just("update web restart=none".to_owned()),
        Just("update web on-failure=continue".to_owned()),
        Just("update web on-failure=rollback".to_owned()),
        Just("update agent constraint=node.labels.zone==z0".to_owned()),
        Just("update agent no-constraints image=c".to_owned()),
        (1..12_u32).prop_map(|seconds| format!("step {seconds}s")),
        Just("leader".to_owned()),
        Just("run".to_owned()),
    ]
}

/// A line after which agents have all in order.
fn calm_line() -> impl Strategy<Value = String> {
    let node = prop_oneof![Just("n1"), Just("n2"), Just("n3")];
    prop_oneof![
        (node.clone(), 0..3_usize)
            .prop_map(|(node, verb)| format!("{} {node}", ["drain", "pause", "active"][verb])),
        (node, 0..2_u8).prop_map(|(node, zone)| format!("label {node} zone=z{zone}")),
        (1..4_u32).prop_map(|n| format!("update web parallelism={n} monitor={n}s")),
        Just("update web on-failure=rollback".to_owned()),
        Just("run".to_owned()),
        calm_change(),
    ]
}

/// A change of a service.
fn calm_change() -> impl Strategy<Value = String> {
    let image = prop_oneof![Just("a"), Just("b"), Just("c")];
    prop_oneof![
        (0..9_u32).prop_map(|count| format!("scale web {count}")),
        image.prop_map(|image| format!("update web image={image}")),
        Just("update web constraint=node.labels.zone==z0".to_owned()),
        Just("update web no-constraints".to_owned()),
        Just("update web cpu=1".to_owned()),
        Just("update web order=start-first image=a".to_owned()),
    ]
}

fn world(order: &str) -> World {
    let mut world = World::new();
    for line in [
        "node n1 cpus=2 label=zone=z0 generic=gpu=a,b",
        "node n2 cpus=4 label=zone=z1 generic=gpu=2",
        "node n3 cpus=2 label=zone=z0",
        "network front subnet=192.168.7.0/28",
        "network back",
        &format!("service web replicas=3 net=front net=back port=0:80 cpu=0.5 order={order}"),
        &format!("service db replicas=1 net=back constraint=node.labels.zone==z1 order={order}"),
        "service agent global image=a parallelism=2 monitor=1s",
        "service batch completions=3 concurrent=2 job-deadline=60s",
        "service ai replicas=3 hostport=90:90 generic=gpu=1 monitor=1s",
        "service tick completions=2 \"schedule=* * * * *\" concurrency=replace",
        "service scan global-job image=a constraint=node.labels.zone==z0",
        "step 1s",
    ] {
        world.line(line);
    }
    world
}

fn promises_hold(world: &mut World) {
    // `settle` itself panics when a plan is refused or never empty.
    world.settle();
    let snapshot = world.store.snapshot();
    let (mut one, mut other) = (world.ids.clone(), world.ids.clone());
    let plan = reconcile(&snapshot, &world.liveness, world.now, &mut one);
    let again = reconcile(&snapshot, &world.liveness, world.now, &mut other);
    assert_eq!(plan, again, "the same input gives the same plan");
    assert!(plan.actions.is_empty(), "a settled swarm stays as it is");
    assert!(plan.wake_at.is_none_or(|at| at > world.now));
    for service in snapshot.services() {
        let waits = !service.waits_for.is_empty();
        assert!(!waits || !service.spec.depends_on.is_empty(), "{service:?}");
    }
    for task in snapshot.tasks().filter(|task| task.is_live()) {
        if task.status.state < TaskState::Assigned {
            assert!(
                !task.status.error.is_empty(),
                "{} waits silently",
                task.name()
            );
            continue;
        }
        let node = task.node.and_then(|id| snapshot.node(id));
        let node = node.unwrap_or_else(|| panic!("{} is on no node", task.name()));
        if node.status.state == NodeState::Down {
            // It is given up once another serves in its place.
            let runs = task.status.state == TaskState::Running;
            assert!(runs && !is_replaced(&snapshot, task), "{}", task.name());
            continue;
        }
        // What is drained is left in good time.
        let until = node.drained_by().unwrap_or(Timestamp(u64::MAX));
        let is_drained = node.spec.availability == Availability::Drain;
        let wakes = plan.wake_at.is_some_and(|at| at > world.now && at <= until);
        assert!(!is_drained || wakes, "{} stays", task.name());
    }
}

/// Once all nodes are back, and have told of their tasks, where none has to leave its node.
fn no_slot_is_doubled(world: &World) {
    let snapshot = world.store.snapshot();
    let mut seen: BTreeMap<_, Vec<Cause>> = BTreeMap::new();
    let stays = |task: &Task| task.spec.placement.constraints.is_empty();
    let of_slots = snapshot.tasks().filter(|task| task.slot != Slot(0));
    for task in of_slots.filter(|task| task.is_live() && stays(task)) {
        let place = (task.service, task.slot, task.run, task.spec_version);
        let there = seen.entry(place).or_default();
        there.push(task.cause);
        // Or it is being moved to an emptier node.
        let moved = there.contains(&Cause::Rebalanced) && there.len() == 2;
        assert!(there.len() == 1 || moved, "{} is there twice", task.name());
    }
}

/// A task that takes traffic where its node answers fills the same place.
fn is_replaced(snapshot: &Snapshot, task: &Task) -> bool {
    let mut others = snapshot.tasks_in(task.service, task.slot);
    others.any(|other| {
        let node = other.node.and_then(|id| snapshot.node(id));
        other.is_live()
            && other.status.is_ready()
            && other.run == task.run
            && (task.slot != Slot(0) || other.node == task.node)
            && node.is_some_and(|node| node.status.state == NodeState::Ready)
    })
}

/// A run never does more at a time than it may, nor anything twice, and what is over
/// stays over.
fn runs_are_not_doubled(world: &World) {
    let snapshot = world.store.snapshot();
    for service in snapshot.services().filter(|s| s.spec.mode.is_job()) {
        assert!(service.job.open().count() <= 1, "{:?}", service.job);
        let mut places: BTreeMap<u64, BTreeSet<_>> = BTreeMap::new();
        let answers = |task: &Task| {
            let node = task.node.and_then(|id| snapshot.node(id));
            node.is_none_or(|node| node.status.state != NodeState::Down)
        };
        let live = snapshot.tasks_of(service.id).filter(|task| task.is_live());
        for task in live.filter(|task| answers(task)) {
            let place = (task.slot, task.node.filter(|_| task.slot == Slot(0)));
            let first = places.entry(task.run).or_default().insert(place);
            // Until the node that is back has told what became of its own.
            assert!(first || task.cause == Cause::NodeLost, "{place:?}");
            let run = service.job.run(task.run).expect("the run of a live task");
            assert!(service.is_current(run), "{run:?}");
            let twice = snapshot.tasks_in(service.id, task.slot).any(|other| {
                let is_done = other.status.state == TaskState::Complete;
                is_done
                    && other.run == task.run
                    && (task.slot != Slot(0) || other.node == task.node)
            });
            assert!(!twice, "{} does what is done", task.name());
        }
        if let ServiceMode::ReplicatedJob { concurrent, .. } = service.spec.mode {
            for places in places.values() {
                let most = if concurrent == 0 {
                    usize::MAX
                } else {
                    concurrent as usize
                };
                assert!(places.len() <= most, "{places:?}");
            }
        }
    }
}

/// Longer than drains last.
fn wait_long(world: &mut World) {
    for seconds in [15; 40].into_iter().chain([200; 40]) {
        world.line(&format!("skip {seconds}s"));
    }
}

/// Where the tasks of a service run, as a change leaves them, is what was foreseen.
fn what_is_foreseen_comes(world: &mut World, line: &str) {
    let Some(service) = world.store.state().service_named("web").map(|s| s.id) else {
        return;
    };
    let of_service = |world: &World| -> Vec<(Slot, NodeId)> {
        let places = world.places().into_iter().filter(|(id, ..)| *id == service);
        places
            .filter_map(|(_, slot, node)| Some((slot, node?)))
            .collect()
    };
    let mut expected = of_service(world);
    let foreseen = world.foresee(line).expect("a change that is taken");
    assert!(!foreseen.goes_on);
    for step in foreseen.steps {
        let place = (step.slot, step.node);
        if step.starts {
            expected.push(place);
        } else {
            let at = expected.iter().position(|known| *known == place);
            expected.remove(at.expect("what stops was there"));
        }
    }
    world.line(line);
    world.run();
    wait_long(world);
    expected.sort_unstable();
    assert_eq!(of_service(world), expected, "{line}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn promises_hold_after_every_command(
        start_first in any::<bool>(),
        lines in proptest::collection::vec(line(), 1..24),
    ) {
        let mut world = world(if start_first { "start-first" } else { "stop-first" });
        // It moves by itself, which nobody foresees for another.
        world.line("service even replicas=4 auto cpu=0.5 net=back parallelism=2 monitor=1s");
        for line in lines {
            // A rollback to or update of what is not there is not the point.
            world.line(&line);
            // In one millisecond, what ended seems older than what lives.
            world.now = world.now + Duration::from_millis(1);
            promises_hold(&mut world);
            runs_are_not_doubled(&world);
        }
        for node in ["n1", "n2", "n3"] {
            world.line(&format!("wake {node}"));
            world.line(&format!("active {node}"));
        }
        world.line("step 5s");
        no_slot_is_doubled(&world);
    }
}

proptest! {
    // Each goes through more than two hours of a swarm.
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn what_is_foreseen_of_a_calm_swarm_comes(
        start_first in any::<bool>(),
        lines in proptest::collection::vec(calm_line(), 0..12),
        change in calm_change(),
    ) {
        let mut world = world(if start_first { "start-first" } else { "stop-first" });
        for line in lines {
            world.line(&line);
        }
        world.run();
        wait_long(&mut world);
        what_is_foreseen_comes(&mut world, &change);
    }
}

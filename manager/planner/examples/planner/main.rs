//! What passes of the planner cost, on one thread and without a disk:
//! `cargo run --release -p skep-manager-planner --example planner -- COMMAND`.
//!
//! `placements [NODES TASKS]`: tasks placed a second, over swarmkit's shapes of the
//! same test (`benchScheduler` of its scheduler) and some of our own.
//! `change`: a pass after one of 100,000 tasks has failed, and after nothing has.
//! `memory [TASKS]`: what a store takes that holds so many.

mod swarm;

use skep_manager_planner::{Settled, reconcile, reconcile_changed};
use skep_manager_store::{Action, TaskAction};
use std::time::{Duration, Instant};
use swarm::{NOW, Shape, Swarm};

/// Passes measured; the median is printed.
const ROUNDS: usize = 5;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| arguments.get(at).and_then(|text| text.parse::<u32>().ok());
    match arguments.first().map(String::as_str) {
        Some("placements") => match (number(1), number(2)) {
            (Some(nodes), Some(tasks)) => placements(Shape::plain(nodes, 1, tasks)),
            _ => all_placements(),
        },
        Some("change") => {
            for (services, replicas) in [(10_000, 10), (1000, 100), (100, 1000), (1, 100_000)] {
                change(Shape::plain(5000, services, replicas));
            }
        }
        Some("memory") => memory(number(1).unwrap_or(100_000)),
        _ => eprintln!("usage: planner placements [NODES TASKS] | change | memory [TASKS]"),
    }
}

fn all_placements() {
    for constrained in [false, true] {
        for (nodes, tasks) in [
            (1000, 1000),
            (1000, 10_000),
            (1000, 100_000),
            (5000, 100_000),
        ] {
            placements(Shape {
                constrained,
                ..Shape::plain(nodes, 1, tasks)
            });
        }
    }
    placements(Shape::plain(5000, 100, 1000));
    placements(Shape::plain(5000, 10_000, 10));
    placements(Shape {
        networked: true,
        ..Shape::plain(5000, 100, 1000)
    });
}

fn placements(shape: Shape) {
    let mut swarm = Swarm::new(shape);
    let snapshot = swarm.store.snapshot();
    let mut placed = 0;
    let median = median(|| {
        let mut ids = swarm.ids.clone();
        let start = Instant::now();
        let plan = reconcile(&snapshot, &swarm.liveness, NOW, &mut ids);
        let took = start.elapsed();
        let created = plan.actions.iter().flat_map(|action| match action {
            Action::Task(TaskAction::Create { tasks, .. }) => tasks.as_slice(),
            _ => &[],
        });
        placed = created.filter(|task| task.node.is_some()).count();
        took
    });
    let plan = reconcile(&snapshot, &swarm.liveness, NOW, &mut swarm.ids);
    let start = Instant::now();
    swarm.apply(&plan.actions);
    println!(
        "{}: {placed} placements in {median:.1?} = {:.0} a second; applied in {:.1?}",
        describe(shape),
        placed as f64 / median.as_secs_f64(),
        start.elapsed(),
    );
}

/// A pass over a swarm in which all runs, after one task of it has failed.
fn change(shape: Shape) {
    let mut swarm = Swarm::new(shape);
    swarm.settle();
    swarm.run();
    let before = swarm.store.snapshot();
    swarm.fail_one();
    let after = swarm.store.snapshot();
    // Long enough that nothing is watched any more.
    let now = NOW + Duration::from_secs(8);
    let pass = |snapshot, settled: &mut Settled| {
        let mut ids = swarm.ids.clone();
        let start = Instant::now();
        let plan = reconcile_changed(snapshot, &swarm.liveness, now, &mut ids, settled);
        (start.elapsed(), plan.actions.len())
    };
    let whole = median(|| pass(&before, &mut Settled::default()).0);
    let mut settled = Settled::default();
    pass(&before, &mut settled);
    let idle = median(|| pass(&before, &mut settled).0);
    let changed = median(|| {
        let (took, actions) = pass(&after, &mut settled.clone());
        assert!(actions > 0, "a task that failed is followed by another");
        took
    });
    println!(
        "{}: one changed {changed:.2?}; nothing changed {idle:.2?}; all looked at {whole:.1?}",
        describe(shape)
    );
}

/// Memory of this process before and after tasks of services of 100, one after the
/// other, are placed on 1,000 nodes, each on a network, and run.
fn memory(tasks: u32) {
    const EACH: u32 = 100;
    let mut swarm = Swarm::new(Shape {
        networked: true,
        ..Shape::plain(1000, 0, 0)
    });
    swarm.settle();
    let before = resident();
    let mut settled = Settled::default();
    for _ in 0..tasks / EACH {
        swarm.add_service(EACH);
        swarm.settle_changed(&mut settled);
    }
    swarm.run();
    let held = swarm.store.state().task_count();
    let taken = resident().saturating_sub(before);
    println!(
        "{held} tasks on 1000 nodes: {} MB, {:.2} KB a task",
        taken / 1000,
        taken as f64 / held.max(1) as f64,
    );
}

fn median(mut measure: impl FnMut() -> Duration) -> Duration {
    let mut times: Vec<Duration> = (0..ROUNDS).map(|_| measure()).collect();
    times.sort();
    times[ROUNDS / 2]
}

fn describe(shape: Shape) -> String {
    format!(
        "{} nodes, {} services x {}{}{}",
        shape.nodes,
        shape.services,
        shape.replicas,
        if shape.constrained {
            ", constrained"
        } else {
            ""
        },
        if shape.networked {
            ", on a network"
        } else {
            ""
        },
    )
}

/// Kilobytes of this process that are in memory.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    line.and_then(|l| l.split_whitespace().next()?.parse().ok())
        .unwrap_or_default()
}

//! From a command to running containers, how many a second, and what they weigh.

use crate::figures::{Figure, percentiles, spread};
use crate::memory::{mb, parent, share};
use skep_e2e::{Cluster, wait_for};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The image that is started: small, and its program only waits.
const IMAGE: &str = "redis:alpine";
const ROUNDS: usize = 20;
/// How many containers one node is asked for at once.
const MANY: usize = 100;
const SOON: Duration = Duration::from_secs(60);

/// All of it, on three managers and a worker.
#[must_use]
pub fn measure() -> Vec<Figure> {
    eprintln!("starts: a swarm of three managers and a worker");
    let cluster = Cluster::swarm("bench", 3, 1);
    let create = |name: &str, more: &[&str]| {
        let mut words = vec![
            "service",
            "create",
            "--name",
            name,
            "--replicas",
            "0",
            "--detach",
        ];
        // Its program would ignore the usual signal and cost each round ten seconds.
        words.extend(["--stop-signal", "KILL"]);
        words.extend(more);
        words.extend([IMAGE, "sleep", "infinity"]);
        cluster.skep(1, &words).succeeds();
    };
    create("web", &[]);
    create("heap", &["--constraint", "node.role==worker"]);
    // Each node has the image after this.
    scale(&cluster, "web", 8);
    scale(&cluster, "web", 0);

    // Nothing runs, and nothing has been asked for a while.
    sleep(Duration::from_secs(5));
    let daemons: Vec<u64> = (1..=4)
        .map(|h| cluster.daemon_pid(h).map_or(0, share))
        .collect();
    let manager = daemons[..3].iter().copied().max().unwrap_or_default();

    let mut times = Vec::new();
    for round in 1..=ROUNDS {
        times.push(scale(&cluster, "web", 5));
        eprintln!(
            "starts: scale 0 to 5, round {round}: {:?}",
            times[round - 1]
        );
        scale(&cluster, "web", 0);
    }
    let (half, _) = percentiles(&times);

    let took = scale(&cluster, "heap", MANY);
    let rate = MANY as f64 / took.as_secs_f64();
    eprintln!("starts: {MANY} containers on one node in {took:?}");
    sleep(Duration::from_secs(2));
    // A container's first process is the child of its supervisor.
    let shims: Vec<u64> = cluster
        .containers(4)
        .iter()
        .filter_map(|container| parent(container.pid))
        .map(share)
        .collect();
    let shim = shims.iter().sum::<u64>() / shims.len().max(1) as u64;
    scale(&cluster, "heap", 0);
    cluster.finish();

    vec![
        Figure {
            promise: "service scale 0 -> 5 until running",
            goal: "p50 < 200 ms",
            measured: spread(&times),
            kept: half < Duration::from_millis(200),
            dockerd: None,
            how: "three managers and a worker on one machine, image present; from the start of the \
                  command until the kernels show five containers whose program runs",
        },
        Figure {
            promise: "container starts a second, one node",
            goal: "60",
            measured: format!("{rate:.0}"),
            kept: rate >= 60.0,
            dockerd: None,
            how: "scale 0 to 100 on one worker, image present, default network; the whole command to \
                  the last container",
        },
        Figure {
            promise: "memory idle: manager",
            goal: "40 MB",
            measured: mb(manager),
            kept: manager <= 40_000_000,
            dockerd: None,
            how: "share (PSS) of the daemon's process, the largest of three, 5 s after the last container \
                  is gone",
        },
        Figure {
            promise: "memory idle: worker",
            goal: "25 MB",
            measured: mb(daemons[3]),
            kept: daemons[3] <= 25_000_000,
            dockerd: None,
            how: "as the manager",
        },
        Figure {
            promise: "memory per container",
            goal: "1 MB",
            measured: mb(shim),
            kept: !shims.is_empty() && shim <= 1_000_000,
            dockerd: None,
            how: "mean share (PSS) of the supervisors of 100 containers",
        },
    ]
}

/// Scales a service and waits until the kernels show that many containers of it whose
/// program runs (it must be the only one); how long that took from the start of the
/// command.
fn scale(cluster: &Cluster, service: &str, count: usize) -> Duration {
    let begun = Instant::now();
    let wanted = format!("{service}={count}");
    cluster
        .skep(1, &["service", "scale", "--detach", &wanted])
        .succeeds();
    let end = begun + SOON;
    loop {
        let there = (1..=cluster.count())
            .flat_map(|host| cluster.containers(host))
            .filter(|container| count == 0 || container.is_started())
            .count();
        if there == count {
            break;
        }
        assert!(
            Instant::now() < end,
            "{there} containers instead of {count}"
        );
        // Looking costs as much as the containers there are.
        sleep(Duration::from_micros(2000 + 200 * count as u64));
    }
    let took = begun.elapsed();
    // A container may be there and not yet say so.
    wait_for("the manager agrees", SOON, || {
        let running = cluster.running(1, service)?.len();
        if running == count {
            Ok(())
        } else {
            Err(format!("{running} of {count}"))
        }
    });
    took
}

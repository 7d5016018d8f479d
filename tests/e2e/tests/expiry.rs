//! Nodes whose clock passed the end of their certificates: what they say, and how
//! managers help themselves.
//!
//! The clock is that of `libfaketime`, in the daemon's process alone.

use skep_e2e::tables::cell;
use skep_e2e::{Cluster, Steps, wait_for};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(90);
/// Certificates live for 90 days.
const LATE: &str = "+100d";

const WORKER: usize = 3;

#[test]
fn certificates_that_ended_while_a_node_was_off() {
    let steps = Steps::begin();
    let mut cluster = Cluster::swarm("expiry", 2, 1);
    cluster.create_web(2, &[]);

    steps.step("a worker whose certificate ended says when, and what to do");
    restart(&mut cluster, WORKER, Some(LATE));
    wait_for("it says so", SOON, || {
        let info = cluster.skep(WORKER, &["info"]).checked()?;
        let words = [
            "have expired",
            "leave the swarm and join again",
            "the clock here says",
        ];
        match words.iter().all(|word| info.contains(word)) {
            true => Ok(()),
            false => Err(info),
        }
    });
    wait_for("the others go on without it", SOON, || {
        states(&cluster, 1, 2)
    });

    steps.step("with the clock set right it is back");
    restart(&mut cluster, WORKER, None);
    wait_for("all are ready", SOON, || states(&cluster, 1, 3));

    steps.step("managers that were off for as long issue themselves new ones");
    for host in [1, 2] {
        restart(&mut cluster, host, Some(LATE));
    }
    wait_for("they agree again", SOON, || states(&cluster, 2, 2));

    steps.step("the worker joins again, and takes its part");
    restart(&mut cluster, WORKER, Some(LATE));
    let leave = ["swarm", "leave"];
    cluster.skep(WORKER, &leave).succeeds();
    cluster.join(WORKER, "worker").succeeds();
    wait_for("all are ready", SOON, || states(&cluster, 1, 3));
    wait_for("all tasks run", SOON, || cluster.converged(1));

    steps.step("a clock that was wrong and is set back leaves nobody locked out");
    for host in [1, 2] {
        restart(&mut cluster, host, None);
    }
    wait_for("the managers agree again", SOON, || states(&cluster, 2, 2));
    cluster.finish();
}

fn restart(cluster: &mut Cluster, host: usize, clock: Option<&str>) {
    cluster.kill_daemon(host);
    cluster.start_daemon_at(host, clock);
    cluster.await_daemon(host);
}

/// Whether so many nodes are ready, as `asked` sees it.
fn states(cluster: &Cluster, asked: usize, count: usize) -> Result<(), String> {
    let nodes = cluster.table(asked, &["node", "ls"])?;
    let ready = nodes.iter().filter(|n| cell(n, "STATUS") == "Ready");
    match ready.count() == count {
        true => Ok(()),
        false => Err(format!("{nodes:#?}")),
    }
}

//! Certificates and the clock: nodes that run renew theirs in time; nodes whose clock
//! passed the end of theirs, what they say, and how managers help themselves.
//!
//! The clock is that of `libfaketime`, in the daemon's process alone.

use skep_e2e::tables::cell;
use skep_e2e::{Cluster, Steps, wait_for};
use std::fs;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(90);
/// Certificates live for 90 days.
const LATE: &str = "+100d";

const MANAGER: usize = 1;
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

#[test]
fn nodes_that_run_renew_their_certificates_in_time() {
    let steps = Steps::begin();
    let mut cluster = Cluster::start("renewal", 2);
    let clock = cluster.folder().join("clock");
    // By another name first: a clock is read while it is set.
    let set = |to: &str| {
        let new = clock.with_extension("new");
        fs::write(&new, to).and_then(|()| fs::rename(&new, &clock))
    };
    set("+0d").expect("the clock can be set");
    let clock_file = format!("@{}", clock.display());
    for host in [1, 2] {
        restart(&mut cluster, host, Some(&clock_file));
    }
    cluster.form(1);
    cluster.create_web(2, &[]);
    let held = |cluster: &Cluster| [1, 2].map(|host| cluster.containers(host));
    let certificates = |cluster: &Cluster| [1, 2].map(|host| certificate(cluster, host));
    let (containers, first) = (held(&cluster), certificates(&cluster));

    steps.step("after four fifths of 90 days both have another one");
    set("+73d").expect("the clock can be set");
    let (second, _) = wait_for("both have renewed", SOON, || {
        states(&cluster, 1, 2)?;
        let now = certificates(&cluster);
        match (0..2).all(|at| now[at] != first[at]) {
            true => Ok(now),
            false => Err("not yet".to_owned()),
        }
    });

    steps.step("it counts when the first ones have ended, also over new connections");
    set("+100d").expect("the clock can be set");
    restart(&mut cluster, MANAGER, Some(&clock_file));
    wait_for("the manager hears the worker", SOON, || {
        states(&cluster, MANAGER, 2)
    });
    cluster
        .change(MANAGER, &["service", "scale", "-d", "web=4"])
        .succeeds();
    wait_for("more tasks run", SOON, || cluster.converged(MANAGER));
    assert_eq!(certificates(&cluster), second, "these are good for long");
    for (before, now) in containers.iter().zip(held(&cluster)) {
        assert_eq!(now.len(), before.len() + 1);
        assert!(before.iter().all(|c| now.contains(c)), "{before:?} {now:?}");
    }
    cluster.finish();
}

/// The certificate that a node has now.
fn certificate(cluster: &Cluster, host: usize) -> String {
    let path = cluster.data_dir(host).join("node/certificates/node.pem");
    fs::read_to_string(path).expect("a node has a certificate")
}

fn restart(cluster: &mut Cluster, host: usize, clock: Option<&str>) {
    cluster.kill_daemon(host);
    cluster.start_daemon_at(host, clock, &[]);
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

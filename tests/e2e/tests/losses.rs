//! Hosts and managers that are lost: what they did goes on elsewhere, within the
//! promises of the design, and what comes back fits in again.

use skep_e2e::tables::cell;
use skep_e2e::{Cluster, Container, From, Steps, holds_for, wait_for};
use std::time::{Duration, Instant};

/// How long anything may take here; how long it does take is for the bench to show.
const SOON: Duration = Duration::from_secs(90);
/// A node is Down after three of these: what a machine takes that stands still for a
/// moment, and soon enough for those that are lost here.
const HEARTBEAT: &str = "3s";

const WORKER: usize = 4;

#[test]
fn work_goes_on_when_hosts_and_managers_are_lost() {
    let steps = Steps::begin();
    let mut cluster = Cluster::swarm("losses", 3, 1);
    cluster.heartbeat(1, HEARTBEAT);
    cluster.create_web(8, &["-p", "8080:80"]);
    let there = cluster.running(1, "web").expect("service ps works");
    let on = |host| there.iter().filter(|(_, h)| *h == host).count();
    assert_eq!(on(WORKER), 2, "spread evenly: {there:?}");

    steps.step("a worker's host loses power: its tasks serve elsewhere");
    let lost = Instant::now();
    cluster.kill_host(WORKER);
    serves_with(&cluster, 1, 8, &[1, 2, 3], SOON);
    let took = lost.elapsed();
    println!("its tasks served elsewhere after {took:?}");
    every_request_is_answered(&cluster, 3);
    let nodes = cluster.table(1, &["node", "ls"]).expect("node ls works");
    let down = nodes.iter().filter(|n| cell(n, "STATUS") == "Down").count();
    assert_eq!(down, 1, "{nodes:?}");

    steps.step("it comes back and takes new tasks, none runs twice");
    cluster.start_host(WORKER);
    wait_for("the node is ready", SOON, || all_ready(&cluster, 1));
    assert!(
        cluster.containers(WORKER).is_empty(),
        "the old tasks are not its any more"
    );
    cluster
        .change(1, &["service", "scale", "web=10"])
        .succeeds();
    serves_with(&cluster, 1, 10, &[1, 2, 3, WORKER], SOON);
    wait_for("every container belongs to a task", SOON, || {
        match (1..=4).map(|host| cluster.containers(host).len()).sum() {
            10_usize => Ok(()),
            total => Err(format!("{total} containers")),
        }
    });

    steps.step("the leader's daemon is killed: writes go on");
    // Its tasks are its own until it is back.
    cluster.heartbeat(1, "20s");
    let leader = cluster.leader(1).expect("there is a leader");
    let other = leader % 3 + 1;
    let killed = Instant::now();
    cluster.kill_daemon(leader);
    next_write(&cluster, other, "killed");
    let took = killed.elapsed();
    println!("the next write was accepted after {took:?}");
    let next = cluster.leader(other).expect("there is a leader");
    assert_ne!(next, leader);
    assert_eq!(
        cluster.containers(leader).len(),
        cluster
            .running(other, "web")
            .expect("service ps")
            .iter()
            .filter(|(_, h)| *h == leader)
            .count(),
        "its containers go on"
    );
    cluster.start_daemon(leader);
    cluster.await_daemon(leader);
    wait_for("all are ready again", SOON, || all_ready(&cluster, leader));
    cluster.heartbeat(leader, HEARTBEAT);

    steps.step("the leader's host loses power: writes go on");
    let leader = cluster.leader(1).expect("there is a leader");
    let other = leader % 3 + 1;
    let third = other % 3 + 1;
    let survivors = |cluster: &Cluster| -> Vec<Container> {
        let hosts = [other, third, WORKER];
        hosts.iter().flat_map(|h| cluster.containers(*h)).collect()
    };
    let before = survivors(&cluster);
    let lost = Instant::now();
    cluster.kill_host(leader);
    next_write(&cluster, other, "silent");
    let took = lost.elapsed();
    println!("the next write was accepted after {took:?}");
    serves_with(&cluster, other, 10, &[other, third, WORKER], SOON);
    every_request_is_answered(&cluster, other);
    let after = survivors(&cluster);
    let stopped: Vec<_> = before.iter().filter(|c| !after.contains(c)).collect();
    assert!(
        stopped.is_empty(),
        "nodes that live keep what they run: {stopped:?}"
    );

    steps.step("without a majority nothing is written, and that is said");
    cluster.kill_daemon(third);
    let refused = cluster.skep(other, &["network", "create", "-d", "overlay", "minority"]);
    assert_ne!(refused.code, 0, "{refused}");
    assert!(refused.took < Duration::from_secs(60), "{refused}");
    assert!(
        refused.err.contains("leader") || refused.err.contains("managers"),
        "{refused}"
    );
    // What runs here runs on. What must cross to the node without a daemon waits: the
    // engine of its WireGuard is in the daemon.
    let url = format!("http://{}:8080", cluster.address(other));
    wait_for("a container here answers", SOON, || {
        cluster.whoami_within(From::Outside, &url, 2.0)
    });

    steps.step("with the majority back everything is as it was");
    cluster.start_daemon(third);
    cluster.await_daemon(third);
    cluster.start_host(leader);
    wait_for("all are ready again", SOON, || all_ready(&cluster, other));
    let networks = cluster.read(leader, &["network", "ls"]).succeeds().out;
    for name in ["killed", "silent"] {
        assert!(networks.contains(name), "accepted writes stay: {networks}");
    }
    serves_with(&cluster, leader, 10, &[1, 2, 3, WORKER], SOON);

    steps.step("a cut cable is a lost node; mended, it is one again");
    cluster
        .change(1, &["service", "scale", "web=14"])
        .succeeds();
    assert!(
        !cluster.containers(WORKER).is_empty(),
        "it has something to lose"
    );
    let cut = Instant::now();
    cluster.do_to("cut", WORKER);
    serves_with(&cluster, 1, 14, &[1, 2, 3], SOON);
    println!("its tasks served elsewhere after {:?}", cut.elapsed());
    cluster.do_to("mend", WORKER);
    wait_for("all are ready again", SOON, || all_ready(&cluster, 1));
    wait_for("it stops what was replaced", SOON, || {
        let left = cluster.containers(WORKER);
        if left.is_empty() {
            Ok(())
        } else {
            Err(format!("{left:?}"))
        }
    });

    cluster.change(1, &["service", "rm", "web"]).succeeds();
    cluster.finish();
}

/// Waits until `count` tasks of web run on `hosts` only.
fn serves_with(cluster: &Cluster, asked: usize, count: usize, hosts: &[usize], limit: Duration) {
    wait_for(
        &format!("{count} tasks run on hosts {hosts:?}"),
        limit,
        || {
            let tasks = cluster.running(asked, "web")?;
            let right = tasks.iter().all(|(_, host)| hosts.contains(host));
            if tasks.len() == count && right {
                Ok(())
            } else {
                Err(format!("{tasks:?}"))
            }
        },
    );
}

/// Requests to a node are answered, all of them, once those tasks listen that have only
/// just begun to run.
fn every_request_is_answered(cluster: &Cluster, node: usize) {
    let url = format!("http://{}:8080", cluster.address(node));
    let ask = || cluster.whoami(From::Outside, &url).map(drop);
    wait_for("twenty in a row", Duration::from_secs(60), || {
        (0..20).try_for_each(|_| ask())
    });
    holds_for("every request is answered", Duration::from_secs(2), ask);
}

/// Writes something, again and again until it is accepted.
fn next_write(cluster: &Cluster, asked: usize, name: &str) {
    wait_for("the next write is accepted", SOON, || {
        let made = cluster.skep(asked, &["network", "create", "-d", "overlay", name]);
        // An earlier try may have been accepted without its answer.
        if made.err.contains("already exists") {
            Ok(String::new())
        } else {
            made.checked()
        }
    });
}

fn all_ready(cluster: &Cluster, asked: usize) -> Result<(), String> {
    let nodes = cluster.table(asked, &["node", "ls"])?;
    let ready = nodes
        .iter()
        .filter(|n| cell(n, "STATUS") == "Ready")
        .count();
    let managing = nodes
        .iter()
        .filter(|n| ["Leader", "Reachable"].contains(&cell(n, "MANAGER STATUS")))
        .count();
    if (ready, managing) == (4, 3) {
        Ok(())
    } else {
        Err(format!("{nodes:#?}"))
    }
}

//! Who is sent traffic, and who is not: tasks that say that they are not ready, that
//! have not come up yet, or that are about to stop.

use skep_e2e::tables::cell;
use skep_e2e::{Cluster, From, Steps, VOTE_IMAGE, holds_for, wait_for};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How long anything may take here.
const SOON: Duration = Duration::from_secs(60);
const WORKER: usize = 2;

#[test]
fn requests_go_to_tasks_that_are_ready_and_none_is_lost() {
    let steps = Steps::begin();
    let mut cluster = Cluster::swarm("traffic", 1, 1);
    cluster.heartbeat(1, "5s");
    let options = [
        ["-p", "8080:80"],
        ["--health-http", "80/whoami"],
        ["--health-interval", "1s"],
        ["--readiness-cmd", "test ! -e /tmp/away"],
        ["--readiness-interval", "200ms"],
        ["--readiness-retries", "1"],
        ["--shutdown-delay", "5s"],
    ];
    cluster.create_web(2, options.as_flattened());
    let url = format!("http://{}:8080", cluster.address(1));
    let asked = |cluster: &Cluster| {
        let answers = (0..8).map(|_| cluster.whoami(From::Outside, &url));
        let names = answers.map(|answer| answer.map(|(hostname, _)| hostname));
        names.collect::<Result<BTreeSet<String>, String>>()
    };
    let asks = |cluster: &Cluster, count: usize| match asked(cluster)? {
        names if names.len() == count => Ok(names),
        names => Err(format!("{names:?} answer")),
    };
    wait_for("both answer", SOON, || asks(&cluster, 2));

    steps.step("one that says that it is not ready is sent nothing, and goes on");
    let one = cluster.containers(WORKER).remove(0);
    cluster.inside(&one, &["touch", "/tmp/away"]).succeeds();
    let (others, _) = wait_for("the other one answers", SOON, || asks(&cluster, 1));
    let told = |row: &_| {
        cell(row, "CURRENT STATE").contains("(not ready)")
            && cell(row, "ERROR").contains("not ready: check exited with 1")
    };
    let rows = cluster.table(1, &["service", "ps", "--no-trunc", "web"]);
    let rows = rows.expect("service ps works");
    assert_eq!(rows.iter().filter(|row| told(row)).count(), 1, "{rows:#?}");
    let services = cluster.table(1, &["service", "ls"]).expect("service ls");
    assert_eq!(cell(&services[0], "REPLICAS"), "1/2", "{services:#?}");
    let only_others = |cluster: &Cluster| match asked(cluster)? {
        names if names == others => Ok(()),
        names => Err(format!("{names:?} answer")),
    };
    let some_time = Duration::from_secs(2);
    holds_for("nothing is sent to it", some_time, || only_others(&cluster));
    cluster.kill_daemon(WORKER);
    cluster.start_daemon(WORKER);
    cluster.await_daemon(WORKER);
    holds_for("nor after its daemon started anew", some_time, || {
        only_others(&cluster)
    });
    cluster.inside(&one, &["rm", "/tmp/away"]).succeeds();
    wait_for("both answer again", SOON, || asks(&cluster, 2));
    let there = cluster.containers(WORKER);
    assert!(there.contains(&one), "nothing was restarted");

    steps.step("a rolling update loses no request");
    let update = [
        ["service", "update"],
        ["--env-add", "A=1"],
        ["--update-monitor", "1s"],
    ];
    let update = [update.as_flattened(), &["web"]].concat();
    let failed = every_request(&cluster, &url, &update);
    assert!(failed.is_empty(), "{failed:#?}");

    steps.step("one that is to stop goes on for its delay, without new requests");
    let all = || [cluster.containers(1), cluster.containers(2)].concat();
    let before = all();
    assert_eq!(before.len(), 2, "{before:?}");
    cluster
        .change(1, &["service", "scale", "--detach", "web=1"])
        .succeeds();
    wait_for("one answers", SOON, || asks(&cluster, 1));
    assert_eq!(all(), before, "both still run");
    wait_for("the other one stops", SOON, || match all().len() {
        1 => Ok(()),
        count => Err(format!("{count} run")),
    });

    steps.step("a port published later leads to tasks of an internal network");
    let create = ["network", "create", "--internal", "back"];
    cluster.skep(1, &create).succeeds();
    let network = ["--network", "back", "--name", "late", "--replicas", "2"];
    let create = [&["service", "create"], &network[..], &[VOTE_IMAGE]].concat();
    cluster.change(1, &create).succeeds();
    let before = all();
    let publish = ["service", "update", "--publish-add", "8090:80", "late"];
    cluster.change(1, &publish).succeeds();
    let late = format!("http://{}:8090", cluster.address(1));
    wait_for("both answer", SOON, || {
        let answers = (0..8).map(|_| cluster.whoami(From::Outside, &late));
        let names = answers.map(|answer| answer.map(|(hostname, _)| hostname));
        match names.collect::<Result<BTreeSet<String>, String>>()? {
            names if names.len() == 2 => Ok(()),
            names => Err(format!("{names:?} answer")),
        }
    });
    assert_eq!(all(), before, "nothing was restarted");

    steps.step("a task whose check finds nothing is not well");
    cluster
        .change(1, &["service", "update", "--health-tcp", "81", "web"])
        .fails(1, &["unhealthy", "port 81"]);
    cluster.finish();
}

/// What goes wrong while a command is at work, of requests one after the other from
/// four sides.
fn every_request(cluster: &Cluster, url: &str, command: &[&str]) -> Vec<String> {
    let done = AtomicBool::new(false);
    let ask = || {
        let (mut answered, mut failed) = (0_usize, Vec::new());
        while !done.load(Ordering::Relaxed) {
            match cluster.whoami(From::Outside, url) {
                Ok(_) => answered += 1,
                Err(reason) => failed.push(reason),
            }
        }
        println!("{answered} answered, {} not", failed.len());
        failed
    };
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
        let changed = cluster.change(1, command);
        done.store(true, Ordering::Relaxed);
        changed.succeeds();
        let failed = clients.into_iter().map(|client| client.join());
        failed.flat_map(|f| f.expect("a client")).collect()
    })
}

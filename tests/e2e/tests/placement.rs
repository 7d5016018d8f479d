//! Where tasks go on real hosts: by labels that nodes come with, by what nodes are and
//! what they have left, evenly where that is asked for; and that they stay where they
//! are when a node was only away.

use serde_json::Value;
use skep_e2e::tables::cell;
use skep_e2e::{Cluster, Container, From, Steps, holds_for, wait_for};
use std::collections::BTreeSet;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(120);
/// A node is Down after three of these: what a machine takes that stands still for a
/// moment, and soon enough for one that is cut off here.
const HEARTBEAT: &str = "2s";
const MONITOR: Duration = Duration::from_secs(2);
const URL_PORT: u16 = 8080;

#[test]
fn tasks_go_where_they_may_and_stay_where_they_can() {
    let steps = Steps::begin();
    let mut cluster = Cluster::start("placement", 3);

    steps.step("labels that a node comes with hold from its first moment");
    let own = cluster.address(1).to_owned();
    let init = ["swarm", "init", "--advertise-addr", &own];
    let label = ["--label", "zone=a"];
    cluster.skep(1, &[&init[..], &label].concat()).succeeds();
    let not_b = ["--mode", "global", "--constraint", "node.labels.zone!=b"];
    create(&cluster, "here", &not_b);
    let only_b = ["--replicas", "2", "--constraint", "node.labels.zone==b"];
    create(&cluster, "there", &only_b);
    waits(&cluster, "there", &["scheduling constraints", "1 node"]);
    runs_on(&cluster, "here", &[1]);
    join(&cluster, 2, "zone=b");
    runs_on(&cluster, "there", &[2, 2]);
    // Not for a moment was there another task: those that ended are listed, too.
    for (service, hosts) in [("here", &[1][..]), ("there", &[2, 2])] {
        assert_eq!(ever_on(&cluster, service), hosts, "{service}");
    }

    steps.step("what is for a platform that no node has waits and says so");
    let foreign = ["--platform", "linux/riscv64"];
    create(&cluster, "odd", &foreign);
    waits(&cluster, "odd", &["unsupported platform on 2 nodes"]);
    let told = explained(&cluster, "odd");
    for part in ["odd.1 pending", "and the image is for linux/riscv64"] {
        assert!(told.contains(part), "{part:?} must be said: {told}");
    }
    let any = ["service", "update", "--platform", "any", "odd"];
    cluster.change(1, &any).succeeds();
    assert_eq!(hosts_of(&cluster, "odd").map(|on| on.len()), Ok(1));
    for service in ["here", "there", "odd"] {
        cluster.skep(1, &["service", "rm", service]).succeeds();
    }

    steps.step("a node that comes late is given its share, task by task, when that is asked for");
    evened(&cluster);

    steps.step("no zone has more than another by more than was allowed");
    let spread = ["--placement-pref", "spread=node.labels.zone,max-skew=1"];
    let limit = ["--replicas", "6", "--replicas-max-per-node", "2"];
    create(
        &cluster,
        "skew",
        &[spread, [limit[0], limit[1]], [limit[2], limit[3]]].concat(),
    );
    // Zone b is one node, which is full; zone a has room for one more on its two.
    waits(&cluster, "skew", &["max skew exceeded on 1 node"]);
    let (mut in_a, mut in_b) = (0, 0);
    let on = wait_for("five run", SOON, || match hosts_of(&cluster, "skew")? {
        on if on.len() == 5 => Ok(on),
        on => Err(format!("{on:?}")),
    });
    on.0.iter().for_each(|host| match host {
        2 => in_b += 1,
        _ => in_a += 1,
    });
    assert_eq!((in_a, in_b), (3, 2), "{on:?}");
    let told = explained(&cluster, "skew");
    let why = "zone=a would have 2 more than another, with a max skew of 1";
    assert!(told.contains(why), "{told}");
    let room = ["service", "update", "--replicas-max-per-node", "3", "skew"];
    cluster.change(1, &room).succeeds();
    let on = hosts_of(&cluster, "skew").expect("service ps works");
    assert_eq!(on.iter().filter(|host| **host == 2).count(), 3, "{on:?}");
    cluster.skep(1, &["service", "rm", "skew"]).succeeds();

    steps.step("a node that was away goes on with what nothing replaces yet");
    let kept = away_and_back(&cluster);

    steps.step("what a node keeps for itself is not given away, and that is explained");
    reserved(&mut cluster, &kept);

    for service in ["web", "home", "large"] {
        cluster.skep(1, &["service", "rm", service]).succeeds();
    }
    cluster.finish();
}

/// A service comes late to a third host, then is spread over all of them.
fn evened(cluster: &Cluster) {
    let port = format!("{URL_PORT}:80");
    let health = ["--health-http", "80/whoami", "--health-interval", "1s"];
    let rules = ["--update-order", "start-first", "--update-monitor", "2s"];
    cluster.create_web(6, &[&["-p", &port][..], &health, &rules].concat());
    runs_on(cluster, "web", &[1, 1, 1, 2, 2, 2]);
    let before = all_containers(cluster);
    join(cluster, 3, "zone=a");
    wait_for("it is ready", SOON, || ready(cluster, 3));
    let moved = || match all_containers(cluster) == before {
        true => Ok(()),
        false => Err("other containers run".to_owned()),
    };
    holds_for("nobody moves unasked", MONITOR, moved);

    let url = format!("http://{}:{URL_PORT}", cluster.address(1));
    let done = AtomicBool::new(false);
    let failed = std::thread::scope(|scope| {
        let client = scope.spawn(|| {
            let mut failed = Vec::new();
            while !done.load(Ordering::Relaxed) {
                failed.extend(cluster.whoami_within(From::Outside, &url, 5.0).err());
            }
            failed
        });
        let asked = cluster.skep(1, &["service", "rebalance", "web"]);
        done.store(true, Ordering::Relaxed);
        asked.succeeds();
        client.join().expect("the client ends")
    });
    assert!(failed.is_empty(), "requests were lost: {failed:?}");
    runs_on(cluster, "web", &[1, 1, 2, 2, 3, 3]);
    wait_for(
        "what moved is gone where it was",
        SOON,
        || match all_containers(cluster) {
            after if after.len() == 6 && after.intersection(&before).count() == 4 => Ok(()),
            after => Err(format!("{before:?} became {after:?}")),
        },
    );
    let events = events(cluster);
    let at = |event: &Value| event["timeNano"].as_u64().unwrap_or_default();
    let says = |event: &Value, key: &str, value: &str| event["Actor"]["Attributes"][key] == value;
    let moves: Vec<&Value> = events
        .iter()
        .filter(|event| event["Action"] == "create" && says(event, "cause", "rebalanced"))
        .collect();
    assert_eq!(moves.len(), 2, "{moves:#?}");
    let runs = |of: &Value| {
        let of = of["ID"].clone();
        let runs = |event: &&Value| event["ID"] == of && says(event, "state.new", "running");
        events.iter().find(runs).map_or(u64::MAX, at)
    };
    // When it ran is a moment before that was agreed on.
    let watched = at(moves[1]).saturating_sub(runs(moves[0]));
    let long = (MONITOR - Duration::from_millis(500)).as_nanos();
    assert!(
        u128::from(watched) > long,
        "the second began before the first was watched: {moves:#?}"
    );
}

/// The only host on which its task can serve is cut off until it is given up, and comes
/// back. Returns the container of that task.
fn away_and_back(cluster: &Cluster) -> Container {
    let only = format!("node.hostname=={}", hostname(cluster, 3));
    let serves_on_3 = "case $NODE in *-h3) exit 0 ;; esac; exit 1";
    let health = ["--health-cmd", serves_on_3, "--health-interval", "1s"];
    let patience = [
        "--health-start-period",
        "1h",
        "--env",
        "NODE={{.Node.Hostname}}",
    ];
    create(
        cluster,
        "home",
        &[&["--constraint", &only][..], &health, &patience].concat(),
    );
    runs_on(cluster, "home", &[3]);
    let task = cluster.running(1, "home").expect("service ps works")[0]
        .0
        .clone();
    let free = ["service", "update", "--constraint-rm", &only, "home"];
    cluster.change(1, &free).succeeds();
    let kept = cluster.container_of(3, &task).expect("it runs there");

    cluster.heartbeat(1, HEARTBEAT);
    cluster.do_to("cut", 3);
    runs_on(cluster, "web", &[1, 1, 1, 2, 2, 2]);
    let replacement = wait_for("a replacement that does not serve", SOON, || {
        let wanted = [
            "service",
            "ps",
            "--no-trunc",
            "--filter",
            "desired-state=running",
            "home",
        ];
        let rows = cluster.table(1, &wanted)?;
        let starts = |row: &&_| cell(row, "CURRENT STATE").starts_with("Starting");
        match rows.iter().find(starts) {
            Some(row) if rows.len() == 2 => Ok(cell(row, "ID").to_owned()),
            _ => Err(format!("{rows:#?}")),
        }
    });
    assert_ne!(replacement.0, task);
    assert!(
        cluster.containers(3).contains(&kept),
        "it goes on meanwhile"
    );

    cluster.do_to("mend", 3);
    wait_for("it is ready again", SOON, || ready(cluster, 3));
    let as_it_was = || {
        let running = cluster.running(1, "home")?;
        let [one, two] = [1, 2].map(|host| cluster.container_of(host, &replacement.0));
        match running == [(task.clone(), 3)] && one.is_none() && two.is_none() {
            true => Ok(()),
            false => Err(format!("{running:?}, the replacement: {one:?} {two:?}")),
        }
    };
    wait_for("the replacement is withdrawn", SOON, as_it_was);
    let once = || match all_containers(cluster) {
        all if all.len() == 7 && all.contains(&kept) => Ok(()),
        all => Err(format!("{all:#?}")),
    };
    wait_for("what was replaced has stopped there", SOON, once);
    runs_on(cluster, "web", &[1, 1, 1, 2, 2, 2]);
    holds_for("everything runs once", Duration::from_secs(3), || {
        as_it_was().and_then(|()| once())
    });
    let withdrawn = events(cluster).into_iter().any(|event| {
        event["ID"] == *replacement.0 && event["Actor"]["Attributes"]["cause"] == "node-back"
    });
    assert!(withdrawn, "events say why");
    kept
}

/// A daemon is started anew with a reserve that leaves two gigabytes.
fn reserved(cluster: &mut Cluster, kept: &Container) {
    // Its tasks are its own until it is back.
    cluster.heartbeat(1, "30s");
    let memory = fs::read_to_string("/proc/meminfo").expect("Linux has it");
    let total = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"));
    let total = total.and_then(|rest| rest.trim().strip_suffix(" kB"));
    let total: u64 = total
        .and_then(|kb| kb.parse().ok())
        .expect("a number of kB");
    let reserve = format!("memory={}k", total - (2 << 20));
    cluster.kill_daemon(3);
    cluster.start_daemon_at(3, None, &["--system-reserve", &reserve]);
    cluster.await_daemon(3);
    wait_for("its reserve is known", SOON, || {
        let told = cluster.read(1, &["node", "explain", &hostname(cluster, 3)]);
        match told.checked()? {
            told if told.contains("kept for the system") => Ok(()),
            told => Err(told),
        }
    });
    let here = format!("node.hostname=={}", hostname(cluster, 3));
    let large = ["--constraint", &here, "--reserve-memory", "3g"];
    create(cluster, "large", &large);
    waits(cluster, "large", &["insufficient resources on 1 node"]);
    let told = explained(cluster, "large");
    for part in [
        "needs 3 GiB of memory, 2 GiB of 2 GiB are free",
        "kept for the system",
    ] {
        assert!(told.contains(part), "{part:?} must be said: {told}");
    }
    let less = ["service", "update", "--reserve-memory", "1g", "large"];
    cluster.change(1, &less).succeeds();
    runs_on(cluster, "large", &[3]);
    assert!(
        cluster.containers(3).contains(kept),
        "no daemon's end ends a container"
    );
}

fn hostname(cluster: &Cluster, host: usize) -> String {
    format!("skep-{}-h{host}", cluster.prefix())
}

fn join(cluster: &Cluster, host: usize, label: &str) {
    let token = cluster.read(1, &["swarm", "join-token", "-q", "worker"]);
    let token = token.succeeds();
    let manager = format!("{}:2377", cluster.address(1));
    let join = [
        "swarm",
        "join",
        "--token",
        token.text(),
        "--label",
        label,
        &manager,
    ];
    cluster.change(host, &join).succeeds();
}

/// A service whose program waits and dies at once, without waiting for it to run.
fn create(cluster: &Cluster, name: &str, options: &[&str]) {
    let fixed = [
        "service",
        "create",
        "--detach",
        "--name",
        name,
        "--stop-signal",
        "KILL",
    ];
    let program = ["redis:alpine", "sleep", "infinity"];
    cluster
        .skep(1, &[&fixed[..], options, &program].concat())
        .succeeds();
}

/// Waits until a task of the service is pending and `service ps` gives these reasons.
fn waits(cluster: &Cluster, service: &str, reasons: &[&str]) {
    wait_for(&format!("{service} waits for {reasons:?}"), SOON, || {
        let rows = cluster.table(1, &["service", "ps", "--no-trunc", service])?;
        let told = |row: &_| {
            let error = cell(row, "ERROR");
            cell(row, "CURRENT STATE").starts_with("Pending")
                && error.contains("no suitable node")
                && reasons.iter().all(|reason| error.contains(reason))
        };
        match rows.iter().any(told) {
            true => Ok(()),
            false => Err(format!("{rows:#?}")),
        }
    });
}

fn explained(cluster: &Cluster, service: &str) -> String {
    cluster
        .read(1, &["service", "explain", service])
        .succeeds()
        .out
}

/// The hosts of the tasks that run, in order, one for each.
fn hosts_of(cluster: &Cluster, service: &str) -> Result<Vec<usize>, String> {
    let running = cluster.running(1, service)?;
    let mut hosts: Vec<usize> = running.into_iter().map(|(_, host)| host).collect();
    hosts.sort_unstable();
    Ok(hosts)
}

/// Waits until the tasks of a service run on these hosts.
fn runs_on(cluster: &Cluster, service: &str, hosts: &[usize]) {
    wait_for(
        &format!("{service} runs on {hosts:?}"),
        SOON,
        || match hosts_of(cluster, service)? {
            on if on == hosts => Ok(()),
            on => Err(format!("on {on:?}")),
        },
    );
}

/// The hosts of all tasks that there were, in order.
fn ever_on(cluster: &Cluster, service: &str) -> Vec<usize> {
    let rows = cluster.table(1, &["service", "ps", service]);
    let rows = rows.expect("service ps works");
    let host = |row: &_| cell(row, "NODE").rsplit_once("-h")?.1.parse().ok();
    let mut hosts: Vec<usize> = rows.iter().map(|row| host(row).unwrap_or(0)).collect();
    hosts.sort_unstable();
    hosts
}

fn all_containers(cluster: &Cluster) -> BTreeSet<Container> {
    (1..=3).flat_map(|host| cluster.containers(host)).collect()
}

fn ready(cluster: &Cluster, host: usize) -> Result<(), String> {
    let nodes = cluster.table(1, &["node", "ls"])?;
    let name = hostname(cluster, host);
    let node = nodes.iter().find(|node| cell(node, "HOSTNAME") == name);
    match node.map(|node| cell(node, "STATUS")) {
        Some("Ready") => Ok(()),
        _ => Err(format!("{nodes:#?}")),
    }
}

/// What the manager remembers of tasks.
fn events(cluster: &Cluster) -> Vec<Value> {
    let asked = [
        "events", "--since", "1h", "--until", "0s", "--format", "json",
    ];
    let told = cluster.read(1, &[&asked[..], &["--filter", "type=task"]].concat());
    let lines = told.succeeds().lines();
    lines
        .iter()
        .map(|line| serde_json::from_str(line).expect("a line is an object"))
        .collect()
}

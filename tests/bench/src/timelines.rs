//! Swarm's courses of events (M1 to M8 of what is known of it), each on three hosts that
//! are managers and run tasks. Beside each stands what Swarm takes by its own rules:
//! those are its published defaults and code, not measured here.

use crate::figures::{Figure, ms};
use skep_e2e::{Cluster, From, VOTE_IMAGE, wait_for};
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(120);
const HOSTS: usize = 3;
const URL_PORT: u16 = 8080;

/// All of them.
#[must_use]
pub fn measure() -> Vec<Figure> {
    eprintln!("timelines: a swarm of three managers");
    let cluster = Cluster::swarm("lines", HOSTS, 0);
    let port = format!("{URL_PORT}:80");
    cluster.create_web(1, &["-p", &port, "--update-order", "start-first"]);
    let mut figures = vec![
        silent_worker(&cluster),
        silent_leader(&cluster),
        drain(&cluster),
    ];
    cluster.skep(1, &["service", "rm", "web"]).succeeds();
    cluster.create_web(3, &[]);
    figures.extend([update(&cluster), bad_image(&cluster)]);
    cluster.skep(1, &["service", "rm", "web"]).succeeds();
    figures.extend([rotation(&cluster), exhaustion(&cluster)]);
    cluster.finish();
    figures
}

fn figure(
    promise: &'static str,
    goal: &'static str,
    measured: String,
    kept: bool,
    swarm: &str,
    how: &'static str,
) -> Figure {
    let dockerd = Some(format!("Swarm, by its rules: {swarm}"));
    eprintln!("timelines: {promise}: {measured}");
    Figure {
        promise,
        goal,
        measured,
        kept,
        dockerd,
        how,
    }
}

/// The host that the one task of `web` runs on.
fn place(cluster: &Cluster, asked: usize) -> usize {
    let found = wait_for("it runs", SOON, || {
        let tasks = cluster.running(asked, "web")?;
        let first = tasks.first().map(|(_, host)| *host);
        first.ok_or_else(|| "nowhere".to_owned())
    });
    found.0
}

fn leader(cluster: &Cluster) -> usize {
    wait_for("a leader", SOON, || cluster.leader(1)).0
}

/// Pulls the cable of a host until its task serves elsewhere, and puts it back.
fn silence(cluster: &Cluster, host: usize) -> Duration {
    let asked = host % HOSTS + 1;
    let url = format!("http://{}:{URL_PORT}", cluster.address(asked));
    wait_for("it serves", SOON, || cluster.whoami(From::Outside, &url));
    let begun = Instant::now();
    cluster.do_to("cut", host);
    wait_for("it serves elsewhere", SOON, || {
        cluster.whoami_within(From::Outside, &url, 0.3)
    });
    let took = begun.elapsed();
    cluster.do_to("mend", host);
    wait_for("all nodes are ready", SOON, || {
        let text = format!("{:?}", cluster.table(asked, &["node", "ls"])?);
        let managing = text.matches("\"Reachable\"").count() + text.matches("\"Leader\"").count();
        match (text.matches("\"Ready\"").count(), managing) {
            (HOSTS, HOSTS) => Ok(()),
            _ => Err(text),
        }
    });
    took
}

/// Has the one task of `web` on a host.
fn bring_to(cluster: &Cluster, host: usize) {
    let name = cluster.read(host, &["node", "inspect", "self", "-f", "{{.ID}}"]);
    let only = format!("node.id=={}", name.succeeds().text());
    for flag in ["--constraint-add", "--constraint-rm"] {
        let update = ["service", "update", flag, &only, "web"];
        cluster.change(1, &update).succeeds();
    }
    assert_eq!(place(cluster, 1), host);
}

fn silent_worker(cluster: &Cluster) -> Figure {
    let host = leader(cluster) % HOSTS + 1;
    bring_to(cluster, host);
    let took = silence(cluster, host);
    figure(
        "M1: a node loses power -> its task serves elsewhere",
        "< 5 s",
        ms(took),
        took < Duration::from_secs(5),
        "about 20 s and the start",
        "the cable of the task's node is pulled, which is not the leader; requests to another \
         node's port until one is answered",
    )
}

fn silent_leader(cluster: &Cluster) -> Figure {
    let host = leader(cluster);
    bring_to(cluster, host);
    let took = silence(cluster, host);
    figure(
        "M2: the leader's machine is lost -> its task serves elsewhere",
        "< 7 s",
        ms(took),
        took < Duration::from_secs(7),
        "45 to 55 s and the start; no changes for 10 to 20 s",
        "the same on the leader's node",
    )
}

fn drain(cluster: &Cluster) -> Figure {
    // When it listens is its own to say.
    let health = ["--health-http", "80/whoami", "--health-interval", "1s"];
    let update = [&["service", "update"], &health[..], &["web"]].concat();
    cluster.change(1, &update).succeeds();
    let host = leader(cluster) % HOSTS + 1;
    bring_to(cluster, host);
    let asked = host % HOSTS + 1;
    let url = format!("http://{}:{URL_PORT}", cluster.address(asked));
    let done = AtomicBool::new(false);
    let node = cluster.read(host, &["node", "inspect", "self", "-f", "{{.ID}}"]);
    let node = node.succeeds().text().to_owned();
    let begun = Instant::now();
    let (took, answered, failed) = std::thread::scope(|scope| {
        let client = scope.spawn(|| {
            let (mut answered, mut failed) = (0_u32, 0_u32);
            while !done.load(Ordering::Relaxed) {
                match cluster.whoami_within(From::Outside, &url, 2.0) {
                    Ok(_) => answered += 1,
                    Err(_) => failed += 1,
                }
            }
            (answered, failed)
        });
        cluster.skep(asked, &["node", "drain", &node]).succeeds();
        let took = begun.elapsed();
        done.store(true, Ordering::Relaxed);
        let (answered, failed) = client.join().unwrap_or_default();
        (took, answered, failed)
    });
    let active = ["node", "update", "--availability", "active", &node];
    cluster.skep(asked, &active).succeeds();
    figure(
        "M5: drain of a node -> requests lost of a service with one task",
        "none",
        format!("{failed} of {}, drained in {}", answered + failed, ms(took)),
        failed == 0,
        "down for a stop and a start, at least",
        "`node drain` of the task's node (start-first, with a health check), one request after the \
         other meanwhile",
    )
}

fn update(cluster: &Cluster) -> Figure {
    let begun = Instant::now();
    let update = ["service", "update", "--env-add", "A=1", "web"];
    cluster.skep(1, &update).succeeds();
    let took = begun.elapsed();
    figure(
        "M3: rolling update of 3 tasks, defaults, until it is said to be done",
        "-",
        ms(took),
        true,
        "3 times 2 s, a stop and a start, then 5 s, then 5 s of the command",
        "`service update --env-add`; each task is watched for 5 s before the next, where Swarm \
         watches the last alone",
    )
}

fn bad_image(cluster: &Cluster) -> Figure {
    let begun = Instant::now();
    let image = ["service", "update", "--image", "nowhere/at-all:1", "web"];
    let said = cluster.skep(1, &image);
    let took = begun.elapsed();
    let left = cluster.running(1, "web").map_or(0, |tasks| tasks.len());
    figure(
        "M4: the same with an image that is not there -> the command says so",
        "exit code 1",
        format!(
            "exit code {} after {}, {left} of 3 serve",
            said.code,
            ms(took)
        ),
        said.code == 1 && left == 2,
        "update paused, 2 of 3 serve, tried again every 5 s for ever; the command exits with 0",
        "`service update --image`, stop-first",
    )
}

fn rotation(cluster: &Cluster) -> Figure {
    let file = |name: &str, content: &str| {
        let path = cluster.folder().join(name);
        fs::write(&path, content).expect("a file can be written");
        path.to_string_lossy().into_owned()
    };
    let (old, new) = (file("old", "one"), file("new", "two"));
    cluster
        .skep(1, &["secret", "create", "pw", &old])
        .succeeds();
    cluster.create_web(3, &["--secret", "pw"]);
    let begun = Instant::now();
    cluster
        .skep(1, &["secret", "update", "pw", &new])
        .succeeds();
    let took = begun.elapsed();
    cluster.skep(1, &["service", "rm", "web"]).succeeds();
    figure(
        "M7: a secret gets other content, 3 tasks follow",
        "one command",
        format!("one command, {}", ms(took)),
        true,
        "three commands, a new name each time, the time of M3",
        "`secret update`, which waits for the rolling update",
    )
}

fn exhaustion(cluster: &Cluster) -> Figure {
    let network = ["network", "create", "--subnet", "10.99.0.0/28", "small"];
    cluster.skep(1, &network).succeeds();
    let create = [
        ["service", "create"],
        ["--name", "many"],
        ["--network", "small"],
        ["--replicas", "20"],
    ];
    let create = [create.as_flattened(), &[VOTE_IMAGE]].concat();
    let begun = Instant::now();
    let said = cluster.skep(1, &create);
    let took = begun.elapsed();
    let run = cluster.running(1, "many").map_or(0, |tasks| tasks.len());
    cluster.skep(1, &["service", "rm", "many"]).succeeds();
    figure(
        "M8: more tasks than addresses in the network",
        "they run",
        format!(
            "exit code {} after {}, {run} of 20 run",
            said.code,
            ms(took)
        ),
        said.code == 0 && run == 20,
        "tasks stay in NEW, without a word",
        "20 tasks on a network whose subnet, given by the user, has 16 addresses: it gets another \
         subnet; where the pool has none left, the tasks say so",
    )
}

//! How long until work goes on when a leader or a node is lost.

use crate::figures::{Figure, percentiles, spread};
use skep_e2e::{Cluster, From, wait_for};
use std::time::{Duration, Instant};

const ROUNDS: usize = 5;
const SOON: Duration = Duration::from_secs(60);

/// All of it, on three managers and a worker.
#[must_use]
pub fn measure() -> Vec<Figure> {
    eprintln!("losses: a swarm of three managers and a worker");
    let mut cluster = Cluster::swarm("lost", 3, 1);
    let mut killed = Vec::new();
    for round in 1..=ROUNDS {
        let leader = wait_for("a leader", SOON, || cluster.leader(1)).0;
        let other = leader % 3 + 1;
        let begun = Instant::now();
        cluster.kill_daemon(leader);
        killed.push(next_write(
            &cluster,
            other,
            &format!("killed-{round}"),
            begun,
        ));
        eprintln!(
            "losses: leader killed, round {round}: {:?}",
            killed[round - 1]
        );
        cluster.start_daemon(leader);
        cluster.await_daemon(leader);
        settle(&cluster);
    }
    let mut silent = Vec::new();
    for round in 1..=ROUNDS {
        let leader = wait_for("a leader", SOON, || cluster.leader(1)).0;
        let other = leader % 3 + 1;
        let begun = Instant::now();
        cluster.do_to("cut", leader);
        silent.push(next_write(
            &cluster,
            other,
            &format!("silent-{round}"),
            begun,
        ));
        eprintln!(
            "losses: leader silent, round {round}: {:?}",
            silent[round - 1]
        );
        cluster.do_to("mend", leader);
        settle(&cluster);
    }
    let options = ["-p", "8080:80", "--constraint", "node.role==worker"];
    cluster.create_web(1, &options);
    // It must be free to go elsewhere.
    cluster
        .skep(
            1,
            &[
                "service",
                "update",
                "--constraint-rm",
                "node.role==worker",
                "web",
            ],
        )
        .succeeds();
    let mut elsewhere = Vec::new();
    for round in 1..=ROUNDS {
        let host = wait_for("it runs", SOON, || {
            let tasks = cluster.running(1, "web")?;
            tasks
                .first()
                .map(|(_, host)| *host)
                .ok_or_else(|| "nowhere".to_owned())
        })
        .0;
        let asked = host % 4 + 1;
        let url = format!("http://{}:8080", cluster.address(asked));
        wait_for("it serves", SOON, || cluster.whoami(From::Outside, &url));
        let begun = Instant::now();
        cluster.do_to("cut", host);
        wait_for("it serves elsewhere", SOON, || {
            cluster.whoami_within(From::Outside, &url, 0.3)
        });
        elsewhere.push(begun.elapsed());
        eprintln!(
            "losses: node silent, round {round}: {:?}",
            elsewhere[round - 1]
        );
        cluster.do_to("mend", host);
        settle(&cluster);
    }
    cluster.finish();
    let figure = |promise, goal, times: &[Duration], limit: u64, how| Figure {
        promise,
        goal,
        measured: spread(times),
        kept: percentiles(times).1 < Duration::from_secs(limit),
        dockerd: None,
        how,
    };
    vec![
        figure(
            "leader killed -> next accepted write",
            "< 1 s",
            &killed,
            1,
            "KILL to the leader's daemon, then `network create` at another manager until it succeeds; \
             all rounds must keep it",
        ),
        figure(
            "leader silent -> next accepted write",
            "< 2 s",
            &silent,
            2,
            "the leader's cable is pulled, then as above",
        ),
        figure(
            "node silent -> its tasks serve elsewhere",
            "< 5 s",
            &elsewhere,
            5,
            "the cable of the only task's node is pulled, then requests to another node's port until one \
             is answered; each is given up after 0.3 s",
        ),
    ]
}

fn next_write(cluster: &Cluster, asked: usize, name: &str, begun: Instant) -> Duration {
    wait_for("the next write is accepted", SOON, || {
        let made = cluster.skep(asked, &["network", "create", "-d", "overlay", name]);
        // An earlier try may have been accepted without its answer.
        if made.err.contains("already exists") {
            Ok(String::new())
        } else {
            made.checked()
        }
    });
    begun.elapsed()
}

fn settle(cluster: &Cluster) {
    wait_for("all nodes are ready", SOON, || {
        let nodes = cluster.table(1, &["node", "ls"])?;
        let text = format!("{nodes:?}");
        let ready = text.matches("\"Ready\"").count();
        let managing = text.matches("\"Reachable\"").count() + text.matches("\"Leader\"").count();
        if (ready, managing) == (4, 3) {
            Ok(())
        } else {
            Err(text)
        }
    });
}

//! The voting application on three hosts, from deploy to rm, in one story: what a
//! user does on the first day, and what must be true meanwhile.

use skep_e2e::tables::{Row, cell};
use skep_e2e::{Cluster, Container, From, Steps, Traces, VOTE_IMAGE, holds_for, wait_for};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

const HOSTS: usize = 3;
const SOON: Duration = Duration::from_secs(90);

#[test]
fn the_voting_application_lives_on_three_hosts() {
    let steps = Steps::begin();
    let mut cluster = Cluster::start("voting", HOSTS);
    let alone: Vec<Traces> = (1..=HOSTS).map(|host| cluster.traces(host)).collect();
    cluster.form(HOSTS);
    // A node whose daemon is away for three heartbeats is taken for lost. What is
    // looked at here takes longer than three seconds on a busy machine.
    cluster.heartbeat(1, "60s");
    // The network of published ports stays once a port was published.
    let first = [
        "service", "create", "--name", "first", "--mode", "global", "-p", "9090:80", VOTE_IMAGE,
    ];
    cluster.change(1, &first).succeeds();
    cluster.change(1, &["service", "rm", "first"]).succeeds();
    wait_for("its containers are gone", SOON, || nothing_runs(&cluster));
    let before: Vec<Traces> = (1..=HOSTS).map(|host| cluster.traces(host)).collect();

    steps.step("stack deploy brings up five services");
    cluster.deploy_voting("vote");
    let names = cluster.read(1, &["stack", "services", "--format", "{{.Name}}", "vote"]);
    let names: BTreeSet<_> = names.succeeds().lines().into_iter().collect();
    let wanted = ["db", "redis", "result", "vote", "worker"].map(|s| format!("vote_{s}"));
    assert_eq!(names, wanted.into_iter().collect());

    steps.step("service scale vote=5 puts five on all hosts");
    cluster
        .change(2, &["service", "scale", "vote=5"])
        .succeeds();
    let tasks = cluster.running(3, "vote_vote").expect("service ps works");
    let hosts: BTreeSet<_> = tasks.iter().map(|(_, host)| *host).collect();
    assert_eq!(tasks.len(), 5, "{tasks:?}");
    assert_eq!(hosts.len(), HOSTS, "spread over the hosts: {tasks:?}");
    println!(
        "{}",
        cluster.read(1, &["service", "ps", "vote"]).succeeds().out
    );

    steps.step("a vote at every node reaches PostgreSQL and the result page");
    a_vote_reaches_the_count(&cluster);

    steps.step("every node answers for every container and keeps the client's address");
    every_node_answers(&cluster);

    steps.step("names and virtual addresses work across nodes");
    names_and_addresses_work(&cluster);

    steps.step("what is on other networks cannot be reached");
    networks_are_apart(&cluster);

    steps.step("service logs come from all nodes");
    wait_for("the worker's line is there", SOON, || {
        let logs = cluster.skep(1, &["service", "logs", "vote_worker"]);
        match logs.checked()? {
            lines if lines.contains("wrote a of e2e-") => Ok(()),
            lines => Err(lines),
        }
    });
    wait_for("all five speak", SOON, || {
        let pages = cluster.skep(2, &["service", "logs", "vote_vote"]);
        let pages = pages.checked()?;
        let speakers: BTreeSet<_> = pages.lines().map(|l| l.split('|').next()).collect();
        match speakers.len() {
            5 => Ok(()),
            _ => Err(pages),
        }
    });

    steps.step("kill -9 of each daemon in turn restarts no container");
    a_killed_daemon_takes_up_its_containers(&mut cluster);

    steps.step("a rolling update changes every task and the page stays up");
    a_rolling_update(&cluster);

    steps.step("after stack rm nothing is left in any host");
    cluster.change(1, &["stack", "rm", "vote"]).succeeds();
    as_it_was(&cluster, &before);
    for kind in ["service", "network", "stack"] {
        let listed = cluster.read(1, &[kind, "ls"]).succeeds();
        assert!(!listed.out.contains("vote"), "{listed}");
    }

    steps.step("after swarm leave a host is as before it ever joined");
    for host in 1..=HOSTS {
        cluster
            .skep(host, &["swarm", "leave", "--force"])
            .succeeds();
    }
    as_it_was(&cluster, &alone);

    steps.step("after the end nothing is left on the machine");
    cluster.finish();
}

fn nothing_runs(cluster: &Cluster) -> Result<(), String> {
    let left: Vec<_> = (1..=HOSTS).flat_map(|h| cluster.containers(h)).collect();
    if left.is_empty() {
        Ok(())
    } else {
        Err(format!("{left:?}"))
    }
}

/// Waits until no host holds more than it did.
fn as_it_was(cluster: &Cluster, before: &[Traces]) {
    for (host, before) in (1..).zip(before) {
        wait_for(&format!("host {host} is as it was"), SOON, || {
            let more = cluster.traces(host).beyond(before);
            if more.is_empty() {
                Ok(())
            } else {
                Err(format!("{more:#?}"))
            }
        });
    }
}

fn counts(cluster: &Cluster, node: usize) -> Result<(u64, u64), String> {
    let url = format!("http://{}:8081/counts", cluster.address(node));
    let answer = cluster.get(From::Outside, &url)?.json()?;
    let number = |key: &str| answer[key].as_u64().ok_or_else(|| answer.to_string());
    Ok((number("a")?, number("b")?))
}

fn a_vote_reaches_the_count(cluster: &Cluster) {
    for node in 1..=HOSTS {
        let choice = if node == 1 { 'b' } else { 'a' };
        let voter = format!("e2e-{node}");
        wait_for("a vote is taken", SOON, || {
            cluster.vote(From::Outside, node, &voter, choice)
        });
    }
    for node in 1..=HOSTS {
        wait_for("the result page counts it", SOON, || {
            match counts(cluster, node)? {
                (2, 1) => Ok(()),
                other => Err(format!("it shows {other:?}")),
            }
        });
    }
    // And the table itself.
    let (_, host) = one_task(cluster, "vote_db");
    let database = container(cluster, "vote_db", host);
    let query = "select string_agg(id || vote, ',' order by id) from votes";
    let rows = cluster.inside(
        &database,
        &[
            "setpriv",
            "--reuid=70",
            "psql",
            "-Atc",
            query,
            "-U",
            "postgres",
            "-h",
            "127.0.0.1",
        ],
    );
    assert_eq!(rows.succeeds().text(), "e2e-1b,e2e-2a,e2e-3a");
}

fn every_node_answers(cluster: &Cluster) {
    for node in 1..=HOSTS {
        let url = format!("http://{}:8080", cluster.address(node));
        let mut answered = BTreeSet::new();
        wait_for(&format!("node {node} reaches all five"), SOON, || {
            let (hostname, client) = cluster.whoami(From::Outside, &url)?;
            assert_eq!(client, cluster.outside(), "the client's own address");
            answered.insert(hostname);
            let missing = 5 - answered.len();
            if missing == 0 {
                Ok(())
            } else {
                Err(format!("{missing} did not answer"))
            }
        });
    }
    // From another node, and a node from itself.
    let url = format!("http://{}:8080", cluster.address(2));
    for from in 1..=HOSTS {
        let (_, client) = wait_for("a node answers a node", SOON, || {
            cluster.whoami(From::Host(from), &url)
        })
        .0;
        if from != 2 {
            assert_eq!(client, cluster.address(from), "a neighbour's own address");
        }
        wait_for(&format!("on 127.0.0.1 of host {from}"), SOON, || {
            cluster.whoami(From::Host(from), "http://127.0.0.1:8080")
        });
    }
}

/// What a Python program prints in a container, that asks for names so patiently.
fn python(cluster: &Cluster, container: &Container, patience: &str, program: &str) -> String {
    let patience = format!("RES_OPTIONS={patience}");
    let done = cluster.inside(container, &["env", &patience, "python3", "-c", program]);
    done.succeeds().text().to_owned()
}

/// For names that somebody has.
const PATIENT: &str = "timeout:5 attempts:4";
/// A name that nobody has is asked for outside, where nobody answers: once is enough.
const HASTY: &str = "timeout:1 attempts:1";

fn names_and_addresses_work(cluster: &Cluster) {
    let votes = containers(cluster, "vote_vote");
    let program = "import socket\n\
        vip = socket.gethostbyname('redis')\n\
        c = socket.create_connection(('redis', 6379), 20); c.sendall(b'PING\\r\\n')\n\
        assert c.recv(9).startswith(b'+PONG')\n\
        tasks = sorted({i[4][0] for i in socket.getaddrinfo('tasks.vote', 80, socket.AF_INET, socket.SOCK_STREAM)})\n\
        for address in tasks:\n\
        \x20   socket.create_connection((address, 80), 20).close()\n\
        assert socket.gethostbyname('vote') not in tasks\n\
        print(vip, *tasks)";
    let answers = votes.iter().map(|c| python(cluster, c, PATIENT, program));
    let answers: BTreeSet<_> = answers.collect();
    assert_eq!(answers.len(), 1, "the same from everywhere: {answers:?}");
    let words = answers.first().map_or(0, |a| a.split(' ').count());
    assert_eq!(words, 1 + 5, "redis and five tasks: {answers:?}");
    // The outside has names, too, and is not hidden by ours.
    let program = format!(
        "import socket; socket.create_connection(('{}', 5000), 20).close()",
        cluster.outside()
    );
    python(cluster, &votes[0], PATIENT, &program);
}

fn networks_are_apart(cluster: &Cluster) {
    let worker = containers(cluster, "vote_worker").remove(0);
    let program = "import socket\n\
        found = {i[4][0] for n in ('db', 'tasks.db') for i in socket.getaddrinfo(n, 5432, socket.AF_INET, socket.SOCK_STREAM)}\n\
        for address in found:\n\
        \x20   socket.create_connection((address, 5432), 20).close()\n\
        print(*found)";
    let addresses = python(cluster, &worker, PATIENT, program);
    assert!(!addresses.is_empty());
    let program = format!(
        "import socket\n\
        for name in ('db', 'tasks.db', 'result'):\n\
        \x20   try: print('resolved', name, socket.gethostbyname(name))\n\
        \x20   except socket.gaierror: pass\n\
        for address in '{addresses}'.split():\n\
        \x20   try: socket.create_connection((address, 5432), 2); print('connected', address)\n\
        \x20   except OSError: pass"
    );
    let votes = containers(cluster, "vote_vote");
    let program = &program;
    std::thread::scope(|scope| {
        for vote in &votes {
            scope.spawn(move || {
                let reached = python(cluster, vote, HASTY, program);
                assert_eq!(reached, "", "from {vote:?}");
            });
        }
    });
    // Nor from the outside, by way of any node.
    for address in addresses.split(' ') {
        let direct = cluster.get(From::Outside, &format!("http://{address}:5432/"));
        assert!(direct.is_err(), "{direct:?}");
    }
}

fn one_task(cluster: &Cluster, service: &str) -> (String, usize) {
    let tasks = cluster.running(1, service).expect("service ps works");
    assert_eq!(tasks.len(), 1, "{service}: {tasks:?}");
    tasks.into_iter().next().expect("there is one")
}

/// The containers of a service, by what their kernels say.
fn containers(cluster: &Cluster, service: &str) -> Vec<Container> {
    let tasks = cluster.running(1, service).expect("service ps works");
    let found: Vec<_> = tasks
        .iter()
        .filter_map(|(task, host)| cluster.container_of(*host, task))
        .collect();
    assert_eq!(found.len(), tasks.len(), "{service}: {tasks:?} {found:?}");
    assert!(!found.is_empty(), "{service} runs nowhere");
    found
}

fn container(cluster: &Cluster, service: &str, host: usize) -> Container {
    let all = containers(cluster, service);
    let found = all.into_iter().find(|c| c.host == host);
    found.unwrap_or_else(|| panic!("{service} is not on host {host}"))
}

/// Task ids with their states, of all services.
fn tasks(cluster: &Cluster) -> BTreeMap<String, String> {
    let rows: Vec<Row> = cluster
        .table(1, &["stack", "ps", "--no-trunc", "vote"])
        .expect("stack ps works");
    let state = |row: &Row| {
        let state = cell(row, "CURRENT STATE")
            .split(' ')
            .next()
            .unwrap_or_default();
        (cell(row, "ID").to_owned(), state.to_owned())
    };
    rows.iter().map(state).collect()
}

fn a_killed_daemon_takes_up_its_containers(cluster: &mut Cluster) {
    let all = |cluster: &Cluster| -> Vec<Container> {
        (1..=HOSTS).flat_map(|h| cluster.containers(h)).collect()
    };
    let (containers, planned) = (all(cluster), tasks(cluster));
    assert!(containers.len() >= 9, "{containers:?}");
    for host in 1..=HOSTS {
        let url = format!("http://{}:8080", cluster.address(host));
        let local: BTreeSet<_> = cluster
            .containers(host)
            .iter()
            .map(|c| cluster.inside(c, &["hostname"]).text().to_owned())
            .collect();
        cluster.kill_daemon(host);
        // What is there goes on without it. Only WireGuard's engine is in the daemon:
        // what must cross to another node waits until it is back.
        wait_for("a local container answers", SOON, || {
            let (hostname, _) = cluster.whoami_within(From::Outside, &url, 2.0)?;
            if local.contains(&hostname) {
                Ok(())
            } else {
                Err(format!("{hostname} did"))
            }
        });
        assert_eq!(
            all(cluster),
            containers,
            "without the daemon of host {host}"
        );
        cluster.start_daemon(host);
        cluster.await_daemon(host);
        let mut answered = BTreeSet::new();
        let (_, took) = wait_for("every container is reached again", SOON, || {
            answered.insert(cluster.whoami(From::Outside, &url)?.0);
            if answered.len() == 5 {
                Ok(())
            } else {
                Err(format!("{answered:?}"))
            }
        });
        println!("host {host}: all containers were reached {took:?} after its daemon answered");
        wait_for("the node is ready again", SOON, || {
            let nodes = cluster.table(host, &["node", "ls"])?;
            let ready = nodes.iter().all(|n| cell(n, "STATUS") == "Ready");
            if ready && nodes.len() == HOSTS {
                Ok(())
            } else {
                Err(format!("{nodes:#?}"))
            }
        });
    }
    // Nobody is taken for lost who still sleeps for the long period.
    cluster.heartbeat(1, "5s");
    holds_for("every node stays ready", Duration::from_secs(20), || {
        let nodes = cluster.table(1, &["node", "ls"])?;
        let ready = nodes.iter().filter(|n| cell(n, "STATUS") == "Ready");
        if ready.count() == HOSTS {
            Ok(())
        } else {
            Err(format!("{nodes:#?}"))
        }
    });
    holds_for("no container restarts", Duration::from_secs(2), || {
        if all(cluster) == containers {
            Ok(())
        } else {
            Err(format!("{:#?}", all(cluster)))
        }
    });
    assert_eq!(tasks(cluster), planned, "the same tasks in the same states");
    // They are watched again: one that dies is replaced.
    let victim = container(cluster, "vote_vote", 2);
    let pid = rustix::process::Pid::from_raw(victim.pid).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("it can be killed");
    wait_for("what dies after that is replaced", SOON, || {
        let running = cluster.running(1, "vote_vote")?;
        let lives = |(task, host): &(String, usize)| cluster.container_of(*host, task).is_some();
        if running.len() == 5 && running.iter().all(lives) {
            Ok(())
        } else {
            Err(format!("{running:?}"))
        }
    });
}

fn a_rolling_update(cluster: &Cluster) {
    let old: BTreeSet<_> = containers(cluster, "vote_vote")
        .into_iter()
        .map(|c| c.id)
        .collect();
    let url = format!("http://{}:8080", cluster.address(3));
    let (mut answered, mut failed) = (0_usize, Vec::new());
    let (mut last, mut gap) = (Instant::now(), Duration::ZERO);
    std::thread::scope(|scope| {
        let update = scope.spawn(|| {
            let option = [
                "service",
                "update",
                "--env-add",
                "OPTION_A=Bees",
                "vote_vote",
            ];
            cluster.change(1, &option).succeeds()
        });
        while !update.is_finished() {
            match cluster.whoami(From::Outside, &url) {
                Ok(_) => {
                    answered += 1;
                    gap = gap.max(last.elapsed());
                    last = Instant::now();
                }
                Err(reason) => failed.push(reason),
            }
        }
        gap = gap.max(last.elapsed());
        let done = update.join().expect("the update succeeds");
        println!("{}", done.out);
    });
    println!(
        "during the update: {answered} requests answered, {} failed, none answered for {gap:?}",
        failed.len()
    );
    // The service has no health check, so a task counts as soon as its process runs, a
    // moment before it listens: some connections are refused. A few may hang or break off
    // while the machine stands still.
    let refused = |reason: &&String| reason.contains("Couldn't connect");
    let others: Vec<_> = failed.iter().filter(|r| !refused(r)).collect();
    assert!(others.len() <= 5, "{others:#?}");
    assert!(gap < Duration::from_secs(20), "no answer for {gap:?}");
    assert!(
        failed.len() <= 20 + answered / 4,
        "{answered} answered, {} failed",
        failed.len()
    );
    let new: BTreeSet<_> = containers(cluster, "vote_vote")
        .into_iter()
        .map(|c| c.id)
        .collect();
    assert_eq!(new.len(), 5);
    assert!(new.is_disjoint(&old), "{new:?} {old:?}");
    for _ in 0..10 {
        let (page, _) = wait_for("the page is there", SOON, || {
            cluster.get(From::Outside, &url)
        });
        assert!(page.body.contains("Bees"), "{}", page.body);
    }
    // What was counted is still counted.
    wait_for("the count stands", SOON, || {
        counts(cluster, 1).and_then(|c| {
            if c == (2, 1) {
                Ok(())
            } else {
                Err(format!("{c:?}"))
            }
        })
    });
}

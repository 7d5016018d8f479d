//! Managers that lose their log, their address or each other, and a swarm that
//! comes back from a backup.

use skep_e2e::tables::{Row, cell};
use skep_e2e::{Cluster, Container, Steps, wait_for};
use std::fs;
use std::time::Duration;

/// How long anything may take here.
const SOON: Duration = Duration::from_secs(90);
/// How long a question may take that cannot be answered: three seconds, and much
/// of what a busy machine may need to start the program.
const HONEST: Duration = Duration::from_secs(20);

const WORKER: usize = 4;

#[test]
fn a_swarm_survives_the_loss_of_its_managers() {
    let steps = Steps::begin();
    let mut cluster = Cluster::swarm("recovery", 3, 1);
    // No node is given up whose daemon is away for a while: what runs is compared.
    cluster.heartbeat(1, "20s");
    cluster.create_web(4, &[]);
    let network = ["network", "create", "-d", "overlay", "kept"];
    cluster.change(1, &network).succeeds();

    steps.step("the leader is demoted by its own word, and is a manager again");
    let leader = cluster.leader(1).expect("there is a leader");
    let demoted = ["node", "demote", &host(&cluster, leader)];
    cluster.change(leader, &demoted).succeeds();
    let next = others(leader)[0];
    wait_for("another leads", SOON, || {
        managers(&cluster, next, 2)?;
        cluster.leader(next)
    });
    seat(&cluster, next, leader);

    steps.step("a manager with a damaged log goes on as an agent and says so");
    let lost = follower(&cluster, 1);
    let other = others(lost)[0];
    let before = containers(&cluster);
    cluster.kill_daemon(lost);
    damage(&cluster, lost);
    cluster.start_daemon(lost);
    cluster.await_daemon(lost);
    let words = ["damaged at byte", "log-", "node demote"];
    cluster.skep(lost, &["node", "ls"]).fails(1, &words);
    let info = cluster.skep(lost, &["info"]).succeeds().out;
    assert!(words.iter().all(|word| info.contains(word)), "{info}");

    steps.step("demoted and promoted it has a new log");
    reseat(&cluster, other, lost);

    steps.step("a manager whose log is gone does not come back empty");
    cluster.kill_daemon(lost);
    fs::remove_dir_all(cluster.data_dir(lost).join("raft")).expect("the log can be removed");
    cluster.start_daemon(lost);
    cluster.await_daemon(lost);
    let words = ["does not hold the raft log", "node demote"];
    cluster.skep(lost, &["node", "ls"]).fails(1, &words);
    reseat(&cluster, other, lost);
    assert_eq!(containers(&cluster), before, "no container was touched");

    steps.step("a manager that comes back at another address is found");
    cluster.kill_daemon(lost);
    let old = cluster.address(lost).to_owned();
    let new = moved(&old);
    let net = old.rsplit_once('.').expect("an address has dots").0;
    for command in [
        format!("ip addr del {old}/24 dev eth0"),
        format!("ip addr add {new}/24 dev eth0"),
        format!("ip route replace default via {net}.1"),
    ] {
        let words: Vec<_> = command.split(' ').collect();
        cluster.exec(lost, &words).succeeds();
    }
    cluster.start_daemon(lost);
    cluster.await_daemon(lost);
    wait_for("the others reach it there", SOON, || {
        let known = cluster.skep(other, &["node", "inspect", &host(&cluster, lost)]);
        match known.checked()?.contains(&format!("{new}:2377")) {
            true => managers(&cluster, other, 3),
            false => Err("at the old address".to_owned()),
        }
    });
    assert_eq!(containers(&cluster), before, "no container was touched");

    steps.step("a manager that leaves shrinks the quorum");
    let refused = cluster.skep(lost, &["swarm", "leave"]);
    refused.fails(1, &["participating as a manager", "--force"]);
    cluster
        .skep(lost, &["swarm", "leave", "--force"])
        .succeeds();
    wait_for("two managers are left", SOON, || {
        managers(&cluster, other, 2)
    });
    wait_for("its tasks run elsewhere", SOON, || cluster.converged(other));
    // The next one that is lost is to be missed soon.
    cluster.heartbeat(other, "5s");

    steps.step("a backup is made, of which nothing can be read");
    let folder = cluster.folder().to_owned();
    let key = folder.join("passphrase");
    fs::write(&key, "correct horse\n").expect("a file can be written");
    let key = key.to_string_lossy().into_owned();
    let file = folder.join("swarm.backup").to_string_lossy().into_owned();
    let backup = ["swarm", "backup", "--passphrase-file", &key, "-o", &file];
    cluster.change(other, &backup).succeeds();
    cluster.skep(other, &backup).fails(1, &["exists"]);
    let sealed = fs::read(&file).expect("the backup is there");
    assert!(
        !sealed.windows(4).any(|w| w == b"kept"),
        "names are not seen"
    );

    steps.step("without a majority a read says so soon, and stale ones are there");
    let fallen = others(lost)[1];
    let before: Vec<_> = [other, WORKER]
        .iter()
        .flat_map(|h| cluster.containers(*h))
        .collect();
    cluster.kill_daemon(fallen);
    wait_for("the leader is gone", SOON, || {
        let asked = cluster.skep(other, &["node", "ls"]);
        assert!(asked.took < HONEST, "{asked}");
        match asked.code != 0 && asked.err.contains("--stale") {
            true => Ok(()),
            false => Err(asked.to_string()),
        }
    });
    let stale = cluster.skep(other, &["node", "ls", "--stale"]).succeeds();
    assert!(stale.err.contains("may be old"), "{stale}");
    assert!(stale.out.contains(&host(&cluster, fallen)), "{stale}");

    steps.step("the survivor makes the swarm anew, and the rest follows it");
    let anew = ["swarm", "init", "--force-new-cluster"];
    cluster.skep(WORKER, &anew).fails(1, &["manager"]);
    let made = cluster.skep(other, &anew).succeeds();
    assert!(made.out.contains("is now a manager"), "{made}");
    wait_for("one manager", SOON, || managers(&cluster, other, 1));
    wait_for("the worker follows", SOON, || ready(&cluster, other, 2));
    wait_for("all tasks run", SOON, || cluster.converged(other));
    let after: Vec<_> = [other, WORKER]
        .iter()
        .flat_map(|h| cluster.containers(*h))
        .collect();
    let stopped: Vec<_> = before.iter().filter(|c| !after.contains(c)).collect();
    assert!(
        stopped.is_empty(),
        "what lives keeps what it runs: {stopped:?}"
    );

    steps.step("a former manager that comes back is a worker");
    cluster.start_daemon(fallen);
    cluster.await_daemon(fallen);
    wait_for("it is one", SOON, || {
        ready(&cluster, other, 3)?;
        let info = cluster.skep(fallen, &["info"]).checked()?;
        match info.contains("Is Manager: false") {
            true => managers(&cluster, other, 1),
            false => Err(info),
        }
    });
    wait_for("its log is gone", SOON, || {
        match cluster.data_dir(fallen).join("raft").exists() {
            false => Ok(()),
            true => Err("it is there".to_owned()),
        }
    });
    let promote = ["node", "promote", &host(&cluster, fallen)];
    cluster.change(other, &promote).succeeds();
    wait_for("it can be one again", SOON, || managers(&cluster, other, 2));

    steps.step("backups that cannot be restored leave nothing behind");
    for manager in [fallen, other] {
        cluster
            .skep(manager, &["swarm", "leave", "--force"])
            .succeeds();
    }
    let wrong = folder.join("wrong");
    fs::write(&wrong, "correct horse!\n").expect("a file can be written");
    let wrong = wrong.to_string_lossy().into_owned();
    let half = folder.join("half");
    fs::write(&half, &sealed[..sealed.len() / 2]).expect("a file can be written");
    let half = half.to_string_lossy().into_owned();
    for (key, file, word) in [(&wrong, &file, "passphrase"), (&key, &half, "copy")] {
        let restore = ["swarm", "restore", "--passphrase-file", key, file];
        cluster.skep(other, &restore).fails(1, &[word]);
        cluster
            .skep(other, &["node", "ls"])
            .fails(1, &["swarm init"]);
    }

    steps.step("restored, it is the same swarm, and its worker comes back");
    let restore = ["swarm", "restore", "--passphrase-file", &key, &file];
    cluster.skep(other, &restore).succeeds();
    let networks = cluster.read(other, &["network", "ls"]).succeeds().out;
    assert!(networks.contains("kept"), "{networks}");
    wait_for("the worker comes back", SOON, || ready(&cluster, other, 2));
    wait_for("all tasks run", SOON, || cluster.converged(other));
    wait_for("one manager", SOON, || managers(&cluster, other, 1));
    cluster.finish();
}

/// The managers but this one.
fn others(this: usize) -> Vec<usize> {
    (1..=3).filter(|host| *host != this).collect()
}

fn follower(cluster: &Cluster, asked: usize) -> usize {
    let leader = cluster.leader(asked).expect("there is a leader");
    others(leader)[0]
}

fn moved(address: &str) -> String {
    let (net, last) = address.rsplit_once('.').expect("an address has dots");
    let last: u8 = last.parse().expect("a number");
    format!("{net}.{}", last + 100)
}

fn host(cluster: &Cluster, number: usize) -> String {
    cluster
        .exec(number, &["hostname"])
        .succeeds()
        .text()
        .to_owned()
}

fn containers(cluster: &Cluster) -> Vec<Container> {
    (1..=cluster.count())
        .flat_map(|host| cluster.containers(host))
        .collect()
}

/// Flips a bit in the middle of what the first log file holds.
fn damage(cluster: &Cluster, host: usize) {
    let folder = cluster.data_dir(host).join("raft");
    let files = fs::read_dir(&folder).expect("the log's folder is there");
    let mut logs: Vec<_> = files
        .filter_map(|file| Some(file.ok()?.path()))
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("log-") && !name.ends_with("spare")
        })
        .collect();
    logs.sort();
    let first = logs.first().expect("there is a log");
    let mut bytes = fs::read(first).expect("the log can be read");
    // What is preallocated is zero.
    let used = bytes
        .iter()
        .rposition(|b| *b != 0)
        .expect("it is not empty");
    bytes[used / 2] ^= 1;
    fs::write(first, bytes).expect("the log can be written");
}

/// Demotes and promotes a manager at another, and waits for it.
fn reseat(cluster: &Cluster, at: usize, which: usize) {
    let name = host(cluster, which);
    cluster.change(at, &["node", "demote", &name]).succeeds();
    wait_for("it has lost its seat", SOON, || managers(cluster, at, 2));
    seat(cluster, at, which);
}

/// Promotes a node at a manager, and waits for it.
fn seat(cluster: &Cluster, at: usize, which: usize) {
    let name = host(cluster, which);
    cluster.change(at, &["node", "promote", &name]).succeeds();
    wait_for("it has a seat", SOON, || managers(cluster, at, 3));
    wait_for("it answers again", SOON, || managers(cluster, which, 3));
}

/// Whether there are so many managers, and all of them answer.
fn managers(cluster: &Cluster, asked: usize, count: usize) -> Result<(), String> {
    let nodes = cluster.table(asked, &["node", "ls"])?;
    let role = |row: &&Row| !cell(row, "MANAGER STATUS").is_empty();
    let answers = |row: &&Row| ["Leader", "Reachable"].contains(&cell(row, "MANAGER STATUS"));
    let (all, answering) = (
        nodes.iter().filter(role).count(),
        nodes.iter().filter(answers).count(),
    );
    match (all, answering) == (count, count) {
        true => Ok(()),
        false => Err(format!("{nodes:#?}")),
    }
}

/// Whether so many nodes are ready.
fn ready(cluster: &Cluster, asked: usize, count: usize) -> Result<(), String> {
    let nodes = cluster.table(asked, &["node", "ls"])?;
    let ready = nodes.iter().filter(|n| cell(n, "STATUS") == "Ready");
    match ready.count() == count {
        true => Ok(()),
        false => Err(format!("{nodes:#?}")),
    }
}

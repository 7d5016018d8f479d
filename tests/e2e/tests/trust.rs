//! Certificates and keys: the root CA is replaced while nodes are away, and they
//! find their way back; managers that restart wait to be unlocked.

use skep_e2e::{Cluster, Container, Output, Programs, Steps, command, wait_for};
use std::fs;
use std::process::Command;
use std::time::Duration;

/// How long anything may take here.
const SOON: Duration = Duration::from_secs(90);

const AWAY_MANAGER: usize = 3;
const AWAY_WORKER: usize = 4;

#[test]
fn roots_and_keys_change_while_nodes_are_away() {
    let steps = Steps::begin();
    let mut cluster = Cluster::swarm("trust", 3, 1);
    let old_root = cluster.read(1, &["swarm", "ca"]).succeeds().out;
    let old_token = token(&cluster, 1);
    wait_for("all have shown their certificates", SOON, || {
        tls(&cluster, 1, &["Ready"; 4])
    });

    steps.step("a manager and a worker lose power, and the root CA is replaced");
    cluster.kill_host(AWAY_MANAGER);
    cluster.kill_host(AWAY_WORKER);
    another_leads(&cluster, AWAY_MANAGER);
    let rotated = cluster.skep(1, &["swarm", "ca", "--rotate"]).succeeds();
    println!("the rotation took {:?}", rotated.took);
    for words in [
        "desired root digest: sha256:",
        "rotated TLS certificates:",
        "rotated CA certificates:",
        "2/4 nodes",
        "BEGIN CERTIFICATE",
    ] {
        assert!(rotated.out.contains(words), "{words}: {rotated}");
    }
    assert!(rotated.err.contains("did not follow"), "{rotated}");
    let new_root = cluster.read(2, &["swarm", "ca"]).succeeds().out;
    assert_ne!(new_root, old_root);
    assert!(rotated.out.ends_with(&new_root), "{rotated}");
    let new_token = token(&cluster, 2);
    let digest = |token: &str| token.split('-').nth(2).map(str::to_owned);
    assert_ne!(
        digest(&new_token),
        digest(&old_token),
        "tokens pin the root"
    );

    steps.step("those that were away follow when they are back");
    cluster.start_host(AWAY_MANAGER);
    cluster.start_host(AWAY_WORKER);
    wait_for("all have followed", SOON, || {
        tls(&cluster, 1, &["Ready"; 4])
    });
    // Asked of the one that was away: it takes part in the group again.
    wait_for("the manager has caught up", SOON, || {
        let read = cluster.skep(AWAY_MANAGER, &["swarm", "ca"]).checked()?;
        if read == new_root {
            return Ok(());
        }
        Err("it still names the old root".to_owned())
    });

    steps.step("all of them restart under the new root");
    for host in 1..=4 {
        cluster.kill_daemon(host);
        cluster.start_daemon(host);
        cluster.await_daemon(host);
    }
    wait_for("all are ready", SOON, || {
        let args = ["node", "ls", "--format", "{{.Status}}"];
        let states = cluster.skep(1, &args).checked()?;
        same(&states, &["Ready"; 4])
    });

    autolock(&mut cluster, &steps);
    cluster.finish();
}

fn autolock(cluster: &mut Cluster, steps: &Steps) {
    const MANAGERS: [usize; 3] = [1, 2, 3];
    const HOST: usize = 2;
    // No node is given up while a person looks for the key.
    cluster.heartbeat(1, "60s");
    cluster.create_web(4, &[]);

    steps.step("autolock is turned on, and every manager's keys are sealed");
    // Who turns it on is told the key, and nobody else: after a try without an answer
    // it is turned off first.
    let (on, _) = wait_for("it is turned on", SOON, || {
        let turn = |to| cluster.skep(3, &["swarm", "update", to]).checked();
        turn("--autolock=false").and_then(|_| turn("--autolock=true"))
    });
    let first = key(cluster, 1);
    assert!(on.contains(&first), "{on}");
    for host in MANAGERS {
        wait_for("its keys are sealed", SOON, || sealed(cluster, host));
    }
    assert!(!cluster.data_dir(AWAY_WORKER).join("node/raft.key").exists());
    unlock(cluster, 1, &first).fails(1, &["swarm is not locked"]);

    steps.step("a manager that restarts is locked; its containers go on");
    let before = containers(cluster);
    restart(cluster, HOST);
    let words = [
        "Swarm is encrypted and needs to be unlocked",
        "skep swarm unlock",
    ];
    cluster.skep(HOST, &["node", "ls"]).fails(1, &words);
    cluster
        .skep(HOST, &["swarm", "unlock-key"])
        .fails(1, &words);
    let info = cluster.skep(HOST, &["info"]).succeeds();
    assert!(info.out.contains("Swarm: locked"), "{info}");
    cluster
        .skep(HOST, &["swarm", "leave"])
        .fails(1, &["encrypted and locked", "--force"]);
    let wrong = format!("SWMKEY-1-{}", "A".repeat(43));
    let invalid = "could not be unlocked: invalid key provided";
    unlock(cluster, HOST, &wrong).fails(1, &[invalid]);
    for (typed, code, said) in [
        (format!("{first}\x03"), 1, "cancelled"),
        (format!("{wrong}\r"), 1, invalid),
        (format!("{first}\r"), 0, ""),
    ] {
        let shown = type_key(cluster, HOST, &typed);
        assert!(shown.code == code && shown.out.contains(said), "{shown}");
        assert!(!shown.out.contains("SWMKEY"), "it is shown: {shown}");
        let again = shown
            .out
            .split_whitespace()
            .filter(|mode| ["echo", "icanon", "isig"].contains(mode));
        assert_eq!(again.count(), 3, "the terminal is as it was: {shown}");
    }
    takes_part(cluster, HOST);

    steps.step("a manager that was down while the key changed needs the old one");
    cluster.kill_daemon(HOST);
    another_leads(cluster, HOST);
    let rotate = ["swarm", "unlock-key", "--rotate", "-q"];
    let second = cluster.change(1, &rotate).succeeds().text().to_owned();
    assert_ne!(first, second);
    cluster.start_daemon(HOST);
    cluster.await_daemon(HOST);
    unlock(cluster, HOST, &second).fails(1, &["invalid key provided", "the one from before"]);
    let before_it_follows = keys(cluster, HOST);
    unlock(cluster, HOST, &first).succeeds();
    takes_part(cluster, HOST);

    steps.step("then it follows, and needs the new one");
    wait_for("its keys are sealed anew", SOON, || {
        match keys(cluster, HOST) == before_it_follows {
            true => Err("under the old key".to_owned()),
            false => sealed(cluster, HOST),
        }
    });
    restart(cluster, HOST);
    unlock(cluster, HOST, &first).fails(1, &["invalid key provided"]);
    unlock(cluster, HOST, &second).succeeds();
    takes_part(cluster, HOST);
    assert_eq!(key(cluster, HOST), second);
    assert_eq!(containers(cluster), before, "no container was touched");

    leave_locked(cluster, steps);
    let before = containers(cluster);
    steps.step("autolock is turned off");
    cluster
        .change(HOST, &["swarm", "update", "--autolock=false"])
        .succeeds();
    for host in MANAGERS {
        wait_for("it is not locked any more", SOON, || {
            match sealed(cluster, host) {
                Ok(()) => Err("its keys are sealed".to_owned()),
                Err(_) => Ok(()),
            }
        });
    }
    restart(cluster, HOST);
    takes_part(cluster, HOST);
    let none = cluster.read(1, &["swarm", "unlock-key"]);
    none.fails(1, &["no unlock key is set"]);
    assert_eq!(containers(cluster), before, "no container was touched");
}

/// A node whose key is lost is not lost itself.
fn leave_locked(cluster: &mut Cluster, steps: &Steps) {
    const HOST: usize = 3;
    steps.step("a locked manager leaves, and nothing of the swarm is left on it");
    let id = ["info", "--format", "{{.Swarm.NodeID}}"];
    let id = cluster.skep(HOST, &id).succeeds().text().to_owned();
    restart(cluster, HOST);
    assert!(!cluster.containers(HOST).is_empty());
    cluster
        .skep(HOST, &["swarm", "leave", "--force"])
        .succeeds();
    assert_eq!(cluster.containers(HOST), []);
    for gone in ["node", "raft"] {
        assert!(!cluster.data_dir(HOST).join(gone).exists(), "{gone}");
    }
    // Also not after a start.
    restart(cluster, HOST);
    let info = cluster.skep(HOST, &["info"]).succeeds();
    assert!(info.out.contains("Swarm: inactive"), "{info}");

    steps.step("it makes a swarm of its own, leaves that, and joins again");
    let address = cluster.address(HOST).to_owned();
    let init = ["swarm", "init", "--advertise-addr", &address];
    cluster.skep(HOST, &init).succeeds();
    cluster.read(HOST, &["node", "ls"]).succeeds();
    cluster
        .skep(HOST, &["swarm", "leave", "--force"])
        .succeeds();
    another_leads(cluster, HOST);
    cluster.change(1, &["node", "demote", &id]).succeeds();
    cluster
        .change(1, &["node", "rm", "--force", &id])
        .succeeds();
    cluster.join(HOST, "manager").succeeds();
    takes_part(cluster, HOST);
    wait_for("its keys are sealed", SOON, || sealed(cluster, HOST));
    wait_for("all tasks run", SOON, || cluster.converged(1));
}

/// It may have led: what it was just being asked would be in doubt.
fn another_leads(cluster: &Cluster, gone: usize) {
    wait_for("another one leads", SOON, || {
        match cluster.leader(1)? == gone {
            true => Err("the one that is gone".to_owned()),
            false => Ok(()),
        }
    });
}

fn restart(cluster: &mut Cluster, host: usize) {
    cluster.kill_daemon(host);
    cluster.start_daemon(host);
    cluster.await_daemon(host);
}

fn key(cluster: &Cluster, host: usize) -> String {
    let shown = cluster.read(host, &["swarm", "unlock-key", "-q"]);
    shown.succeeds().text().to_owned()
}

/// `skep swarm unlock` with the key on its standard input.
fn unlock(cluster: &Cluster, host: usize, key: &str) -> Output {
    let script = r#"echo "$1" | exec "$2" -H "$3" swarm unlock"#;
    let mut shell = Command::new("sh");
    shell.args(["-c", script, "unlock", key]);
    shell.arg(Programs::find().skep()).arg(cluster.socket(host));
    command::run(&mut shell, SOON)
}

/// `skep swarm unlock` on a terminal, where this is typed once it asks; and then what
/// the modes of that terminal are.
fn type_key(cluster: &Cluster, host: usize, keys: &str) -> Output {
    let program = Programs::find().skep().to_owned();
    let line = format!(
        "'{}' -H '{}' swarm unlock; code=$?; stty -a; exit $code",
        program.display(),
        cluster.socket(host)
    );
    let mut script = Command::new("script");
    script.args(["-q", "-e", "-c", &line, "/dev/null"]);
    command::converse(&mut script, "Enter unlock key: ", keys, SOON)
}

/// The file with a manager's keys.
fn keys(cluster: &Cluster, host: usize) -> Result<String, String> {
    let path = cluster.data_dir(host).join("node/raft.key");
    fs::read_to_string(path).map_err(|error| error.to_string())
}

/// Whether a manager's files hold none of its keys in the clear.
fn sealed(cluster: &Cluster, host: usize) -> Result<(), String> {
    let own = cluster.data_dir(host).join("node/certificates/node.pem");
    let own = fs::read_to_string(own).map_err(|error| error.to_string())?;
    match keys(cluster, host)?.starts_with("{\"sealed\"") && !own.contains("PRIVATE KEY") {
        true => Ok(()),
        false => Err("keys are in the clear".to_owned()),
    }
}

fn takes_part(cluster: &Cluster, host: usize) {
    wait_for("the manager takes part", SOON, || {
        cluster.skep(host, &["node", "ls"]).checked()
    });
}

fn containers(cluster: &Cluster) -> Vec<Container> {
    (1..=cluster.count())
        .flat_map(|host| cluster.containers(host))
        .collect()
}

fn token(cluster: &Cluster, host: usize) -> String {
    let args = ["swarm", "join-token", "-q", "worker"];
    cluster.read(host, &args).succeeds().out.trim().to_owned()
}

fn tls(cluster: &Cluster, host: usize, expected: &[&str]) -> Result<(), String> {
    let args = ["node", "ls", "--format", "{{.TLSStatus}}"];
    same(&cluster.skep(host, &args).checked()?, expected)
}

fn same(lines: &str, expected: &[&str]) -> Result<(), String> {
    if lines.lines().eq(expected.iter().copied()) {
        return Ok(());
    }
    Err(format!("expected {expected:?}:\n{lines}"))
}

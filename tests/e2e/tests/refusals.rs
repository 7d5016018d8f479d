//! What users get wrong, and what strangers try: a clear message, an exit code that
//! is not zero, and nothing half-made.

use skep_e2e::programs::root;
use skep_e2e::tables::cell;
use skep_e2e::{Cluster, Output, Steps, wait_for};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(90);

#[test]
fn what_is_wrong_is_refused_with_a_reason_and_leaves_nothing() {
    let steps = Steps::begin();
    let cluster = Cluster::start("refusals", 2);

    steps.step("a command that needs a swarm says how to get one");
    for command in [&["node", "ls"][..], &["service", "ls"], &["stack", "ls"]] {
        cluster
            .skep(1, command)
            .fails(1, &["swarm init", "swarm join"]);
    }

    steps.step("a daemon that is not there is named");
    let nobody = cluster.folder().join("nobody.sock");
    let socket = format!("unix://{}", nobody.display());
    let mut skep = Command::new(skep_e2e::Programs::find().skep());
    let asked = skep_e2e::command::run(skep.args(["-H", &socket, "node", "ls"]), SOON);
    asked.fails(1, &["nobody.sock"]);

    steps.step("a second init");
    let own = cluster.address(1).to_owned();
    let init = ["swarm", "init", "--advertise-addr", &own];
    cluster.skep(1, &init).succeeds();
    cluster
        .skep(1, &init)
        .fails(1, &["already part of a swarm"]);
    let nodes = cluster.table(1, &["node", "ls"]).expect("node ls works");
    assert_eq!(nodes.len(), 1, "{nodes:?}");

    steps.step("joins that cannot be");
    joins_that_cannot_be(&cluster);

    steps.step("a certificate of another swarm, or none");
    strangers_are_refused(&cluster);

    steps.step("broken stack files name file, line and key");
    broken_stack_files(&cluster);

    steps.step("services that do not exist, and names that are taken");
    cluster
        .skep(1, &["service", "ps", "ghost"])
        .fails(1, &["ghost"]);
    cluster
        .skep(1, &["service", "scale", "ghost=2"])
        .fails(1, &["ghost"]);

    cluster
        .skep(1, &["service", "scale", "ghost"])
        .fails(2, &["ghost", "service=replicas"]);
    cluster
        .skep(1, &["network", "create", "-d", "overlay", "twice"])
        .succeeds();
    cluster
        .skep(1, &["network", "create", "-d", "overlay", "twice"])
        .fails(1, &["twice", "already exists"]);
    cluster.skep(1, &["network", "rm", "twice"]).succeeds();
    let misspelt = cluster.skep(1, &["sevice", "ls"]);
    assert_ne!(misspelt.code, 0, "{misspelt}");

    steps.step("an image that is nowhere");
    // Docker Hub is out of reach here: that is tried again, and said meanwhile.
    let far = [
        "service",
        "create",
        "--detach",
        "--name",
        "far",
        "nowhere/at-all:1",
    ];
    cluster.skep(1, &far).succeeds();
    let unknown = format!("{}/nowhere/at-all:1", cluster.registry());
    failing_service(&cluster, &[&unknown], &["nowhere/at-all:1", "not found"]);

    steps.step("a command that the image does not have");
    failing_service(
        &cluster,
        &["--entrypoint", "no-such-program", "redis:alpine"],
        &["no-such-program"],
    );

    steps.step("a program that ends with an error");
    failing_service(&cluster, &["redis:alpine", "sh", "-c", "exit 7"], &["7"]);

    steps.step("an image that cannot be had now is explained while it is tried again");
    wait_for("service ps tells the reason", SOON * 3, || {
        let rows = cluster.table(1, &["service", "ps", "--no-trunc", "far"])?;
        let words = ["nowhere/at-all:1", "docker.io", "not found at mirror"];
        let told = |row| words.iter().all(|w| cell(row, "ERROR").contains(w));
        if rows.iter().any(told) {
            Ok(())
        } else {
            Err(format!("{rows:#?}"))
        }
    });
    let update = ["service", "update", "--force", "--timeout", "2s", "far"];
    cluster
        .skep(1, &update)
        .fails(4, &["timed out after 2s", "continues in background"]);
    cluster.skep(1, &["service", "rm", "far"]).succeeds();
    cluster.finish();
}

/// The files that a node has written about swarms, with their sizes.
fn swarm_files(cluster: &Cluster, host: usize) -> Vec<String> {
    let mut found = Vec::new();
    for part in ["node", "raft"] {
        walk(&cluster.data_dir(host).join(part), &mut found);
    }
    found.sort();
    found
}

fn walk(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            walk(&path, found);
        } else {
            found.push(path.display().to_string());
        }
    }
}

fn joins_that_cannot_be(cluster: &Cluster) {
    let before = swarm_files(cluster, 2);
    let token = cluster
        .read(1, &["swarm", "join-token", "-q", "worker"])
        .succeeds();
    let token = token.text();
    let manager = format!("{}:2377", cluster.address(1));
    let join = |token: &str, manager: &str| -> Output {
        let joined = cluster.skep(2, &["swarm", "join", "--token", token, manager]);
        assert!(joined.took < Duration::from_secs(30), "{joined}");
        joined
    };
    // The secret is not the one.
    let turned = |text: &str, at: usize| -> String {
        let other = |c: char| if c == '0' { '1' } else { '0' };
        text.char_indices()
            .map(|(i, c)| if i == at { other(c) } else { c })
            .collect()
    };
    join(&turned(token, token.len() - 2), &manager).fails(1, &["token"]);
    // The digest is that of another root certificate: whoever answers there is not
    // the swarm that was meant.
    join(&turned(token, 12), &manager).fails(1, &["fingerprint", "join-token"]);
    join("SWMTKN-1-nonsense", &manager).fails(1, &["token"]);
    // Nobody has the address; nobody listens.
    let nobody = cluster
        .address(1)
        .rsplit_once('.')
        .map(|(net, _)| format!("{net}.99:2377"));
    let nobody = nobody.expect("an address has dots");
    join(token, &nobody).fails(1, &[&nobody]);
    let closed = format!("{}:2399", cluster.address(1));
    join(token, &closed).fails(1, &[&closed]);
    // It was rotated: who had it before cannot use it any more.
    let rotate = ["swarm", "join-token", "--rotate", "-q", "worker"];
    let rotated = cluster.skep(1, &rotate).succeeds();
    assert_ne!(rotated.text(), token);
    join(token, &manager).fails(1, &["rotated", "join-token worker"]);

    assert_eq!(swarm_files(cluster, 2), before, "nothing half-made");
    let nodes = cluster.table(1, &["node", "ls"]).expect("node ls works");
    assert_eq!(nodes.len(), 1, "nobody joined: {nodes:?}");
    cluster.skep(2, &["node", "ls"]).fails(1, &["swarm join"]);
}

/// Opens TLS to the port between nodes and waits for what the manager says to it.
fn knock(cluster: &Cluster, address: &str, with: &str) -> Output {
    let ask = format!(
        "sleep 5 | timeout 20 openssl s_client -connect {address}:2377 -tls1_3 -alpn h2 -quiet {with} 2>&1"
    );
    cluster.exec(2, &["sh", "-c", &ask])
}

fn strangers_are_refused(cluster: &Cluster) {
    let folder = cluster.folder().join("stranger");
    fs::create_dir(&folder).expect("a folder can be made");
    let (key, cert) = (folder.join("key.pem"), folder.join("cert.pem"));
    let (key, cert) = (key.to_string_lossy(), cert.to_string_lossy());
    let there = cluster.address(1);
    // One that claims to be a manager, signed by itself.
    let subject = "/O=swarm/OU=skep-manager/CN=stranger";
    let make = [
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-subj",
        subject,
        "-days",
        "30",
        "-keyout",
        &key,
        "-out",
        &cert,
    ];
    let mut openssl = Command::new("openssl");
    skep_e2e::command::run(openssl.args(make), SOON).succeeds();
    let foreign = knock(cluster, there, &format!("-cert {cert} -key {key}"));
    assert!(foreign.out.contains("alert"), "refused in TLS: {foreign}");
    // A manager of another swarm.
    let own = cluster.address(2).to_owned();
    cluster
        .skep(2, &["swarm", "init", "--advertise-addr", &own])
        .succeeds();
    let identity = cluster.data_dir(2).join("node/certificates/node.pem");
    let (key, cert) = (identity.to_string_lossy(), identity.to_string_lossy());
    let foreign = knock(cluster, there, &format!("-cert {cert} -key {key}"));
    assert!(foreign.out.contains("alert"), "refused in TLS: {foreign}");
    // At home it is let in: it is not for its form that it is refused.
    let home = knock(cluster, &own, &format!("-cert {cert} -key {key}"));
    assert!(!home.out.contains("alert"), "{home}");
    cluster.skep(2, &["swarm", "leave", "--force"]).succeeds();
    cluster.skep(2, &["node", "ls"]).fails(1, &["swarm join"]);
}

fn broken_stack_files(cluster: &Cluster) {
    let deploy = |name: &str| -> Output {
        let file = root().join("stacks/testdata/broken").join(name);
        cluster.skep(
            1,
            &["stack", "deploy", "-c", &file.to_string_lossy(), "broken"],
        )
    };
    for (name, words) in [
        ("unknown-key.yml", &["unknown-key.yml:"][..]),
        ("bad-ports.yml", &["bad-ports.yml:", "ports"]),
        ("undeclared.yml", &["undeclared.yml:"]),
        ("bad-indent.yml", &["bad-indent.yml:"]),
    ] {
        let refused = deploy(name).fails(2, words);
        let place = refused.err.split(name).nth(1).unwrap_or_default();
        let line = place
            .trim_start_matches(':')
            .split(':')
            .next()
            .unwrap_or_default();
        assert!(line.parse::<u32>().is_ok(), "the line is named: {refused}");
    }
    let missing = cluster.skep(1, &["stack", "deploy", "-c", "/no/such/file.yml", "broken"]);
    assert_ne!(missing.code, 0, "{missing}");
    assert!(missing.err.contains("/no/such/file.yml"), "{missing}");
    for kind in ["stack", "service", "network", "secret", "config"] {
        let listed = cluster.read(1, &[kind, "ls"]).succeeds();
        assert!(!listed.out.contains("broken"), "nothing was made: {listed}");
    }
}

/// Creates a service that cannot run; the program must say why and fail, and
/// `service ps` must tell the reason.
fn failing_service(cluster: &Cluster, what: &[&str], words: &[&str]) {
    let mut create = vec![
        "service",
        "create",
        "--name",
        "failing",
        "--restart-max-attempts",
        "1",
        "--restart-delay",
        "100ms",
    ];
    create.extend(what);
    let created = cluster.skep(1, &create);
    assert_ne!(created.code, 0, "{created}");
    let said = format!("{}{}", created.out, created.err);
    for word in words {
        assert!(said.contains(word), "{word:?} must be said: {created}");
    }
    wait_for("service ps tells the reason", SOON, || {
        let rows = cluster.table(1, &["service", "ps", "--no-trunc", "failing"])?;
        let told = rows
            .iter()
            .any(|row| words.iter().all(|w| cell(row, "ERROR").contains(w)));
        if told {
            Ok(())
        } else {
            Err(format!("{rows:#?}"))
        }
    });
    cluster.skep(1, &["service", "rm", "failing"]).succeeds();
    wait_for("nothing of it is left", SOON, || {
        let left: Vec<_> = (1..=cluster.count())
            .flat_map(|h| cluster.containers(h))
            .collect();
        if left.is_empty() {
            Ok(())
        } else {
            Err(format!("{left:?}"))
        }
    });
}

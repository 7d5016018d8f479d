//! A person far from the managers: a certificate, contexts that hold it, what they are good
//! for, and how that ends.

use skep_e2e::{Cluster, Output, Programs, Steps, command, wait_for};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long anything may take here.
const SOON: Duration = Duration::from_secs(90);
/// Where the person is: no manager, and no socket of one.
const AWAY: usize = 4;

/// A person with a folder of contexts.
struct Person<'a> {
    cluster: &'a Cluster,
    folder: PathBuf,
}

impl Person<'_> {
    fn skep(&self, arguments: &[&str]) -> Output {
        self.skep_with(&[], arguments)
    }

    /// With variables.
    fn skep_with(&self, variables: &[&str], arguments: &[&str]) -> Output {
        let mut skep = self.cluster.exec_command(AWAY);
        skep.arg("env")
            .args(["-u", "SKEP_HOST", "-u", "SKEP_CONTEXT", "-u", "SKEP_CERT"]);
        skep.arg(format!("SKEP_CONFIG={}", self.folder.display()));
        skep.args(variables)
            .arg(Programs::find().skep())
            .args(arguments);
        command::run(&mut skep, SOON)
    }

    fn names(&self, arguments: &[&str]) -> Vec<String> {
        let words = [arguments, &["--format", "{{.Name}}"]].concat();
        self.skep(&words).succeeds().lines()
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in text")
}

#[test]
fn a_person_with_a_certificate_uses_the_swarm_from_afar() {
    let steps = Steps::begin();
    let cluster = Cluster::swarm("remote", 3, 1);
    let folder = cluster.folder().join("alice");
    let file = cluster.folder().join("alice.pem");
    let address = |host: usize| cluster.address(host).to_owned();
    let [first, second, third] = [1, 2, 3].map(address);
    let host = format!("tcp://{first},{second}:2377,{third}");

    steps.step("an admin has a certificate made, and its file is for one pair of eyes");
    let create = ["swarm", "client", "create", "alice", "-o", text(&file)];
    let made = cluster.skep(1, &create).succeeds();
    assert!(
        made.out
            .contains("Client alice may change the swarm until 20"),
        "{made}"
    );
    assert!(made.out.contains("skep context create"), "{made}");
    let mode = fs::metadata(&file)
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    cluster
        .skep(1, &create)
        .fails(1, &["exists; name another file"]);
    let again = ["swarm", "client", "create", "alice", "-o", "-"];
    cluster
        .skep(1, &again)
        .fails(1, &["skep swarm client rm alice"]);
    let row = [
        "swarm",
        "client",
        "ls",
        "--format",
        "{{.Name}} {{.Role}} {{.Expires}}",
    ];
    assert_eq!(
        cluster.skep(2, &row).succeeds().text(),
        "alice admin in 3 months"
    );

    let alice = Person {
        cluster: &cluster,
        folder,
    };
    contexts(&alice, &steps, &host, &file);

    steps.step("what can be done on a manager can be done from afar");
    let create = [
        "service",
        "create",
        "--name",
        "web",
        "--detach",
        skep_e2e::VOTE_IMAGE,
    ];
    alice.skep(&create).succeeds();
    assert_eq!(alice.names(&["service", "ls"]), ["web"]);
    assert_eq!(
        alice.skep(&["node", "ls", "-q"]).succeeds().lines().len(),
        4
    );
    let own = alice.skep(&["node", "inspect", "self", "--format", "{{.Status.Addr}}"]);
    assert_eq!(
        own.succeeds().text(),
        first,
        "the first that answers is asked"
    );
    let server = alice.skep(&["version", "--format", "{{.Server.Version}}"]);
    assert_eq!(server.succeeds().text(), env!("CARGO_PKG_VERSION"));
    let join = alice.skep(&["swarm", "join-token", "worker"]).succeeds();
    assert!(join.out.contains(&format!("{first}:2377")), "{join}");
    for of_one_machine in [&["info"][..], &["image", "ls"], &["swarm", "leave"]] {
        alice
            .skep(of_one_machine)
            .fails(2, &["about one machine", &first]);
    }

    read_only(&alice, &steps, &host);

    steps.step("the root CA is replaced, and the certificate is still good");
    cluster
        .change(1, &["swarm", "ca", "--rotate", "-q"])
        .succeeds();
    wait_for("alice is still let in", SOON, || {
        alice.skep(&["node", "ls"]).checked()
    });
    let format = ["swarm", "client", "ls", "-q"];
    assert_eq!(alice.skep(&format).succeeds().lines(), ["alice"]);

    steps.step("her certificate ends, and she is told when and what to do");
    let library = format!(
        "LD_PRELOAD=/usr/lib/{}-linux-gnu/faketime/libfaketimeMT.so.1",
        std::env::consts::ARCH
    );
    let later = [library.as_str(), "FAKETIME=+91d"];
    alice.skep_with(&later, &["node", "ls"]).fails(
        1,
        &[
            "certificate of client alice ended at 20",
            "skep swarm client create alice",
        ],
    );
    let errors = ["context", "ls", "--format", "{{.Name}}: {{.Error}}"];
    let listed = alice.skep_with(&later, &errors).succeeds();
    assert!(
        listed
            .out
            .contains("prod: the certificate of client alice ended"),
        "{listed}"
    );

    steps.step("she is removed, and all that she has open ends at once");
    let events = std::thread::scope(|scope| {
        let events = scope.spawn(|| alice.skep(&["events"]));
        // Until it watches for sure: what it tells of is in its output below.
        wait_for("a change is told", SOON, || {
            let label = format!("n{}", std::process::id());
            cluster
                .skep(2, &["node", "update", "--label-add", &label, "self"])
                .checked()?;
            cluster
                .skep(2, &["node", "update", "--label-rm", &label, "self"])
                .checked()
        });
        cluster
            .change(2, &["swarm", "client", "rm", "alice"])
            .succeeds();
        events.join().expect("it ends")
    });
    assert_ne!(events.code, 0, "{events}");
    wait_for("she is let in nowhere", SOON, || {
        // Under the root that was replaced, and so by TLS already.
        refused(
            &alice.skep(&["node", "ls"]),
            "ended there since the root CA was replaced",
        )
    });
    assert!(!cluster.skep(1, &row).succeeds().out.contains("alice"));
    drop(alice);
    cluster.finish();
}

fn contexts(alice: &Person<'_>, steps: &Steps, host: &str, file: &Path) {
    steps.step("contexts hold it, and say whom commands speak to");
    alice
        .skep(&["-H", host, "node", "ls"])
        .fails(2, &["takes the certificate of a client", "--cert"]);
    let cert = ["-H", host, "--cert", text(file), "node", "ls"];
    alice.skep(&cert).succeeds();
    let by_variables = [
        format!("SKEP_HOST={host}"),
        format!("SKEP_CERT={}", text(file)),
    ];
    let by_variables = by_variables.each_ref().map(String::as_str);
    alice.skep_with(&by_variables, &["node", "ls"]).succeeds();

    let create = ["context", "create", "prod", "--description", "far away"];
    let create = [&create[..], &["--host", host]].concat();
    alice
        .skep(&create)
        .fails(2, &["takes the certificate of a client"]);
    let create = [&create[..], &["--cert", text(file)]].concat();
    assert_eq!(alice.skep(&create).succeeds().text(), "prod");
    alice.skep(&create).fails(2, &["exists"]);
    alice.skep(&["--context", "prod", "node", "ls"]).succeeds();
    alice
        .skep_with(&["SKEP_CONTEXT=prod"], &["node", "ls"])
        .succeeds();
    alice
        .skep(&["--context", "prd", "node", "ls"])
        .fails(2, &["\"prd\" does not exist"]);
    let both = ["--context", "prod", "-H", "/a", "node", "ls"];
    alice.skep(&both).fails(2, &["give one of them"]);

    assert_eq!(
        alice.skep(&["context", "show"]).succeeds().text(),
        "default"
    );
    alice.skep(&["context", "use", "prod"]).succeeds();
    assert_eq!(alice.skep(&["context", "show"]).succeeds().text(), "prod");
    let listed = alice.skep(&["context", "ls"]).succeeds();
    assert!(
        listed.out.contains("prod *") && listed.out.contains("far away"),
        "{listed}"
    );
    let shown = alice.skep(&["context", "inspect"]).succeeds();
    assert!(shown.out.contains("\"Name\": \"alice\""), "{shown}");
    assert!(!shown.out.contains("PRIVATE"), "{shown}");
    // A variable counts for more, and that is said.
    let elsewhere = ["SKEP_HOST=/nowhere.sock"];
    let other = alice.skep_with(&elsewhere, &["node", "ls"]);
    other.fails(1, &["/nowhere.sock"]);
    let warned = alice
        .skep_with(&elsewhere, &["context", "use", "prod"])
        .succeeds();
    assert!(warned.err.contains("SKEP_HOST is set"), "{warned}");

    let export = alice.folder.join("prod.skepcontext");
    alice
        .skep(&["context", "export", "prod", text(&export)])
        .succeeds();
    let mode = fs::metadata(&export)
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    alice
        .skep(&["context", "import", "again", text(&export)])
        .succeeds();
    alice.skep(&["--context", "again", "node", "ls"]).succeeds();
    alice.skep(&["context", "rm", "again"]).succeeds();
    alice
        .skep(&["context", "rm", "prod"])
        .fails(1, &["is in use"]);
    assert_eq!(alice.names(&["context", "ls"]), ["default", "prod"]);
}

fn read_only(alice: &Person<'_>, steps: &Steps, host: &str) {
    steps.step("who may only look changes nothing, and sees nothing that would let them");
    // Made from afar, too.
    let file = alice.folder.join("watcher.pem");
    let create = [
        "swarm",
        "client",
        "create",
        "watcher",
        "--role",
        "read-only",
    ];
    alice
        .skep(&[&create[..], &["-o", text(&file)]].concat())
        .succeeds();
    let create = [
        "context",
        "create",
        "watch",
        "--host",
        host,
        "--cert",
        text(&file),
    ];
    alice.skep(&create).succeeds();
    let watch = |words: &[&str]| alice.skep(&[&["--context", "watch"], words].concat());
    wait_for("the watcher is let in", SOON, || {
        watch(&["service", "ls"]).checked()
    });
    watch(&["service", "scale", "--detach", "web=2"]).fails(1, &["client watcher may only look"]);
    for secret in [
        &["swarm", "join-token", "-q", "manager"][..],
        &["swarm", "unlock-key"],
    ] {
        let hidden = watch(secret).fails(1, &["shown to clients that may only look"]);
        assert_eq!(hidden.out, "");
    }

    alice.skep(&["swarm", "client", "rm", "watcher"]).succeeds();
    wait_for("the watcher is let in nowhere", SOON, || {
        refused(&watch(&["service", "ls"]), "there is no client \"watcher\"")
    });
}

/// Whether each of the three managers says this.
fn refused(output: &Output, words: &str) -> Result<(), String> {
    match output.code == 1 && output.err.matches(words).count() == 3 {
        true => Ok(()),
        false => Err(output.to_string()),
    }
}

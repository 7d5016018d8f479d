//! Stacks: whose services wait for each other, and what a deploy that waits for them says and
//! ends with; what a stack was before, and the way back to it; two deploys at once.

use skep_e2e::{Cluster, Steps};
use std::fs;
use std::thread;

/// The page needs what the migration leaves in the database, or ends with 9.
const STACK: &str = r#"
services:
  web:
    image: redis:alpine
    command: ["sh", "-c", "test \"$$(redis-cli -h db get version)\" = ${VERSION} || exit 9; exec sleep 1000"]
    stop_grace_period: 0s
    depends_on:
      migrate: {condition: service_completed_successfully}
      db: {condition: service_healthy}
    deploy: {replicas: 2, update_config: {monitor: 0s, parallelism: 0}}
  migrate:
    image: redis:alpine
    command: ["sh", "-c", "sleep 1; ${SCRIPT}"]
    depends_on: {db: {condition: service_healthy}}
    deploy: {mode: replicated-job, restart_policy: {condition: none}}
  db:
    image: redis:alpine
    stop_grace_period: 0s
    healthcheck: {test: ["CMD", "redis-cli", "ping"], interval: 1s, start_period: 1s}
    deploy: {update_config: {monitor: 0s}}
"#;

#[test]
fn services_start_when_what_they_depend_on_is_there() {
    let steps = Steps::begin();
    let cluster = Cluster::swarm("stacks", 1, 1);
    let folder = cluster.data_dir(1);
    let deploy = |version: &str, script: &str, options: &[&str]| {
        let text = STACK.replace("${VERSION}", version);
        let text = text.replace("${SCRIPT}", script);
        let path = folder.join("stack.yml");
        fs::write(&path, text).expect("a file");
        let file = path.to_string_lossy().into_owned();
        let fixed = ["stack", "deploy", "-c", &file];
        cluster.skep(1, &[&fixed[..], options, &["shop"]].concat())
    };
    let tasks = |service: &str| {
        let listed = ["service", "ps", "-q", service];
        cluster.read(1, &listed).succeeds().lines().len()
    };
    let set = |version: &str| format!("redis-cli -h db set version {version}");
    let waits_for = |service: &str| {
        let shown = ["service", "inspect", "--format", "{{.WaitsFor}}", service];
        cluster.read(1, &shown).succeeds().out.trim().to_owned()
    };

    steps.step("all of it comes up in its order, and no task was started in vain");
    deploy("one", &set("one"), &[]).succeeds();
    assert_eq!((tasks("shop_web"), tasks("shop_migrate")), (2, 1));

    steps.step("an update waits for the migration that comes with it");
    deploy("two", &set("two"), &[]).succeeds();
    assert_eq!((tasks("shop_web"), tasks("shop_migrate")), (4, 2));

    steps.step("a migration that fails is said, and what serves goes on");
    let said = deploy("three", "exit 3", &[]);
    said.fails(1, &["shop_migrate", "exit code 3", "shop_web"]);
    let waits = waits_for("shop_web");
    assert!(
        waits.contains("shop_migrate to complete, which failed"),
        "{waits}"
    );
    assert_eq!(tasks("shop_web"), 4);
    let explained = cluster.read(1, &["service", "inspect", "--pretty", "shop_web"]);
    let explained = explained.succeeds();
    assert!(
        explained.out.contains("waits for shop_migrate"),
        "{explained}"
    );

    for (name, code, word) in [
        ("shop_web", 1, "shop_migrate"),
        ("shop_migrate", 1, "non-zero exit (3)"),
        ("shop_db", 0, "1 of 1 tasks run as they should"),
    ] {
        let why = cluster.skep(1, &["why", name]);
        println!("{}", why.out);
        assert!(why.code == code && why.out.contains(word), "{why}");
    }

    steps.step("one that mends it lets the update begin");
    deploy("three", &set("three"), &[]).succeeds();
    assert_eq!(waits_for("shop_web"), "<no value>");
    assert_eq!(tasks("shop_web"), 6);

    steps.step("a deploy that cannot end in its time says so");
    let slow = format!("sleep 60; {}", set("four"));
    deploy("four", &slow, &["--timeout", "3s"]).fails(4, &["shop_web", "shop_migrate"]);

    steps.step("services that wait for each other are refused before anything is sent");
    let path = folder.join("ring.yml");
    let ring =
        "services:\n  a: {image: redis, depends_on: [b]}\n  b: {image: redis, depends_on: [a]}\n";
    fs::write(&path, ring).expect("a file");
    let file = path.to_string_lossy().into_owned();
    let refused = cluster.skep(1, &["stack", "deploy", "-c", &file, "ring"]);
    refused.fails(2, &["SK0509", "a waits for b waits for a"]);
    let stacks = cluster.read(1, &["stack", "ls", "--format", "{{.Name}}"]);
    assert_eq!(stacks.succeeds().out.trim(), "shop");
    cluster.finish();
}

/// A service that serves on a port of its own, by an image and with a config.
fn page(key: &str, port: u16, text: &str) -> String {
    format!(
        "  {key}:\n    image: redis:alpine\n    command: [\"sh\", \"-c\", \"exec sleep 1000\"]\n    \
         stop_grace_period: 0s\n    environment: {{SAYS: \"{text}\"}}\n    configs: [page]\n    \
         ports: [\"{port}:80\"]\n    deploy: {{update_config: {{monitor: 0s, parallelism: 0}}}}\n"
    )
}

#[test]
fn a_stack_goes_back_to_what_it_was() {
    let steps = Steps::begin();
    let cluster = Cluster::swarm("stack-history", 3, 0);
    let folder = cluster.data_dir(1);
    let write = |name: &str, services: &str, rest: &str, content: &str| {
        fs::write(folder.join(format!("{name}.txt")), content).expect("a file");
        let configs = format!("configs: {{page: {{file: ./{name}.txt}}}}\n");
        let path = folder.join(format!("{name}.yml"));
        fs::write(&path, format!("services:\n{services}{rest}{configs}")).expect("a file");
        path.to_string_lossy().into_owned()
    };
    let deploy = |host: usize, file: &str| {
        let command = ["stack", "deploy", "--prune", "-c", file, "shop"];
        cluster.skep(host, &command)
    };
    let history = || {
        let form = "{{.Revision}} {{.Cause}} {{.Changes}} {{.Outcome}}";
        let listed = cluster.read(2, &["stack", "history", "--format", form, "shop"]);
        listed.succeeds().lines()
    };
    let asked = |service: &str, what: &str| {
        let shown = ["service", "inspect", "--format", what, service];
        cluster.read(1, &shown).succeeds().out.trim().to_owned()
    };
    let port = |service: &str| {
        asked(
            service,
            "{{range .Spec.EndpointSpec.Ports}}{{.PublishedPort}}{{end}}",
        )
    };
    let says = |service: &str| {
        asked(
            service,
            "{{join .Spec.TaskTemplate.ContainerSpec.Env \" \"}}",
        )
    };

    steps.step("two services exchange their ports in one deploy");
    let first = page("web", 8081, "one") + &page("api", 8082, "one");
    let one = write("one", &first, "", "good");
    deploy(1, &one).succeeds();
    let second = page("web", 8082, "two") + &page("api", 8081, "two") + &page("new", 8083, "two");
    let two = write("two", &second, "", "other");
    deploy(1, &two).succeeds();
    assert_eq!([port("shop_web"), port("shop_api")], ["8082", "8081"]);
    assert_eq!(
        history(),
        [
            "1 deployed +config shop_page, +network shop_default, +shop_api, +shop_web completed",
            "2 deployed ~config shop_page, ~shop_api, +shop_new, ~shop_web completed",
        ]
    );

    steps.step("a plan tells of a revision that changes no object");
    let three = write("two", &second, "volumes: {data: {}}\n", "other");
    let plan = cluster.read(1, &["stack", "plan", "--prune", "-c", &three, "shop"]);
    let plan = plan.fails(2, &[]);
    assert!(
        plan.out.contains("+ declare volume shop_data") && plan.out.contains("to revision 3"),
        "{plan}"
    );

    steps.step("revisions, and what is now, are told apart");
    let same = cluster.read(1, &["stack", "diff", "shop", "2"]).succeeds();
    assert!(same.out.contains("are the same"), "{same}");
    let differ = cluster.read(3, &["stack", "diff", "shop", "1", "2"]);
    let differ = differ.fails(2, &[]);
    for line in [
        "~ config shop_page",
        "      Content",
        "+ service shop_new",
        "\"SAYS=two\"",
    ] {
        assert!(differ.out.contains(line), "{line}: {differ}");
    }
    let none = cluster.read(1, &["stack", "diff", "shop", "7"]);
    none.fails(1, &["no revision 7", "kept are 1, 2"]);

    steps.step("a dry run goes back to nothing");
    let dry = cluster.read(2, &["stack", "rollback", "--dry-run", "shop"]);
    let dry = dry.fails(2, &[]);
    for line in [
        "as revision 1",
        "- remove service shop_new",
        "~ update config shop_page",
    ] {
        assert!(dry.out.contains(line), "{line}: {dry}");
    }
    assert_eq!(history().len(), 2);

    steps.step("a rollback is all of it, content and ports too, and waits");
    let back = cluster.skep(2, &["stack", "rollback", "shop"]).succeeds();
    assert!(
        back.out.contains("Going back to revision 1, as revision 3"),
        "{back}"
    );
    assert_eq!([port("shop_web"), port("shop_api")], ["8081", "8082"]);
    assert_eq!(
        [says("shop_web"), says("shop_api")],
        ["SAYS=one", "SAYS=one"]
    );
    let content = ["config", "inspect", "--pretty", "shop_page"];
    let content = cluster.read(1, &content).succeeds();
    assert!(content.out.contains("good"), "{content}");
    let gone = cluster.read(1, &["service", "inspect", "shop_new"]);
    gone.fails(1, &["no such service"]);
    let like = cluster
        .read(1, &["stack", "diff", "shop", "1", "3"])
        .succeeds();
    assert!(like.out.contains("are the same"), "{like}");

    steps.step("one that failed is passed over, and what is alike too");
    let bad = page("web", 8081, "bad") + &page("api", 8082, "bad");
    let bad = bad.replace("exec sleep 1000", "exit 3");
    let bad = write("bad", &bad, "", "bad");
    let failed = cluster.skep(1, &["stack", "deploy", "--prune", "-c", &bad, "shop"]);
    assert_ne!(failed.code, 0, "{failed}");
    cluster
        .skep(1, &["stack", "rollback", "--to", "3", "shop"])
        .succeeds();
    let dry = cluster.read(1, &["stack", "rollback", "--dry-run", "shop"]);
    let dry = dry.fails(2, &[]);
    assert!(dry.out.contains("as revision 2"), "{dry}");
    let by_hand = ["service", "update", "--env-add", "SAYS=hand", "shop_web"];
    cluster.change(1, &by_hand).succeeds();
    let hand = cluster
        .read(1, &["stack", "diff", "shop", "5"])
        .fails(2, &[]);
    assert!(hand.out.contains("\"SAYS=hand\""), "{hand}");

    steps.step("of two deploys at once, at two managers, one comes whole after the other");
    let file = |name: &str, other: &str| {
        let services = page("web", 8081, name) + &page(other, 8082, name);
        write(name, &services, "", name)
    };
    let (left, right) = (file("left", "api"), file("right", "db"));
    for round in 0..3 {
        let before = history().len();
        let (a, b) = thread::scope(|scope| {
            let a = scope.spawn(|| deploy(1, &left));
            let b = scope.spawn(|| deploy(2, &right));
            (a.join().expect("a deploy"), b.join().expect("a deploy"))
        });
        // Who waits may see the other's.
        for done in [&a, &b] {
            assert!(!done.err.contains("was not deployed"), "{done}");
        }
        let revisions = history();
        assert!(
            revisions.len() > before || before == 11,
            "{round}: {revisions:?}"
        );
        let says = says("shop_web");
        let other = match says.as_str() {
            "SAYS=left" => ["shop_api", "shop_web"],
            "SAYS=right" => ["shop_db", "shop_web"],
            says => panic!("{says}"),
        };
        let listed = ["service", "ls", "--format", "{{.Name}}"];
        let mut found = cluster.read(3, &listed).succeeds().lines();
        found.sort();
        assert_eq!(found, other, "round {round}");
        assert_eq!(
            asked(
                other[0],
                "{{join .Spec.TaskTemplate.ContainerSpec.Env \" \"}}"
            ),
            says
        );
        // In base64.
        let content = [
            "config",
            "inspect",
            "--format",
            "{{.Spec.Data}}",
            "shop_page",
        ];
        let content = cluster.read(3, &content).succeeds();
        let expected = if says == "SAYS=left" {
            "bGVmdA=="
        } else {
            "cmlnaHQ="
        };
        assert_eq!(content.text(), expected, "round {round}");
    }
    cluster.finish();
}

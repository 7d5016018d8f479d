//! Stacks whose services wait for each other: what is started when, and what a deploy
//! that waits for them says and ends with.

use skep_e2e::{Cluster, Steps};
use std::fs;

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

//! A secret and a config that get other content under the same name: by hand, by a
//! deploy, and back.

use skep_e2e::{Cluster, Steps, wait_for};
use std::fs;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);

const STACK: &str = r#"
services:
  web:
    image: redis:alpine
    command: ["sh", "-c", "while :; do sleep 1; done"]
    environment: ["VERSION=${VERSION}"]
    stop_grace_period: 0s
    secrets: [key]
    configs: [{source: page, target: /page}]
    deploy: {replicas: 2, update_config: {monitor: 0s, order: start-first}}
secrets:
  key: {file: ./key}
configs:
  page: {file: ./page}
"#;

#[test]
fn secrets_and_configs_rotate_under_their_name() {
    let steps = Steps::begin();
    let cluster = Cluster::swarm("rotation", 1, 1);
    let folder = cluster.data_dir(1);
    let write = |file: &str, text: &str| {
        let path = folder.join(file);
        fs::write(&path, text).expect("a file");
        path.to_string_lossy().into_owned()
    };
    let stack = |version: &str| write("stack.yml", &STACK.replace("${VERSION}", version));
    // What the containers of both hosts have in a file, once they all have that.
    let have = |file: &str, content: &str, count: usize| {
        wait_for(&format!("{file} is {content}"), SOON, || {
            let all = (1..=2).flat_map(|host| cluster.containers(host));
            let read = all.map(|container| cluster.inside(&container, &["cat", file]));
            let texts: Vec<String> = read.filter(|o| o.code == 0).map(|o| o.out).collect();
            match texts.len() == count && texts.iter().all(|text| text == content) {
                true => Ok(()),
                false => Err(format!("{texts:?}")),
            }
        });
    };
    let revisions = |service: &str| {
        let history = ["service", "rollout", "history", service];
        cluster.table(1, &history).expect("its revisions").len()
    };
    write("key", "one");
    write("page", "first");
    let deploy = ["stack", "deploy", "-c", &stack("1"), "shop"].map(str::to_owned);
    let deploy = deploy.each_ref().map(String::as_str);
    let plan = || {
        let mut words = deploy;
        words[1] = "plan";
        cluster.skep(1, &words)
    };
    let planned = plan().fails(2, &[]);
    for words in [
        "create secret shop_key",
        "create service shop_web",
        "shop_web.2",
    ] {
        assert!(planned.out.contains(words), "{planned}");
    }
    cluster.skep(1, &deploy).succeeds();
    assert!(plan().succeeds().out.contains("2 tasks go on"));
    let other = [
        "service",
        "create",
        "--name",
        "other",
        "--secret",
        "shop_key",
        "--update-monitor",
        "0s",
        "--stop-grace-period",
        "0s",
        "redis:alpine",
        "sh",
        "-c",
        "while :; do sleep 1; done",
    ];
    cluster.skep(1, &other).succeeds();
    have("/run/secrets/key", "one", 2);
    have("/run/secrets/shop_key", "one", 1);

    steps.step("by hand: every service that uses it follows");
    let two = write("two", "two");
    cluster
        .skep(1, &["secret", "update", "shop_key", &two])
        .succeeds();
    have("/run/secrets/key", "two", 2);
    have("/run/secrets/shop_key", "two", 1);
    let shown = cluster
        .skep(1, &["secret", "inspect", "shop_key"])
        .succeeds()
        .out;
    assert!(
        shown.contains("\"Generation\": 2") && shown.contains("SupersededAt"),
        "{shown}"
    );
    let listed = cluster.table(1, &["secret", "ls"]).expect("the secrets");
    assert_eq!(listed.len(), 1, "{listed:?}");

    steps.step("a deploy with other content and another image is one rollout");
    write("key", "three");
    write("page", "second");
    let before = revisions("shop_web");
    stack("2");
    let planned = plan().fails(2, &[]);
    for words in ["update secret shop_key", "update service shop_web", "other"] {
        assert!(planned.out.contains(words), "{planned}");
    }
    let said = cluster.skep(1, &deploy).succeeds();
    assert!(said.out.contains("Updating secret shop_key"), "{said}");
    assert!(said.out.contains("Updating config shop_page"), "{said}");
    assert_eq!(revisions("shop_web"), before + 1);
    have("/run/secrets/key", "three", 2);
    have("/page", "second", 2);
    // Also where somebody else uses it.
    have("/run/secrets/shop_key", "three", 1);
    // Once more it changes nothing.
    let said = cluster.skep(1, &deploy).succeeds();
    assert!(!said.out.contains("Updating"), "{said}");

    steps.step("a rollback gets the old content");
    cluster
        .skep(1, &["service", "rollback", "shop_web"])
        .succeeds();
    have("/run/secrets/key", "two", 2);
    have("/page", "first", 2);

    steps.step("what is in use stays, and no content is in a log");
    let used = ["in use by the following services: "];
    cluster
        .skep(1, &["secret", "rm", "shop_key"])
        .fails(1, &used);
    for (host, content) in [(1, "three"), (2, "three"), (1, "second"), (2, "second")] {
        assert!(!cluster.log_tail(host).contains(content));
    }
    cluster
        .skep(1, &["stack", "rm", "shop"])
        .fails(1, &["other"]);
    cluster.skep(1, &["service", "rm", "other"]).succeeds();
    cluster.skep(1, &["stack", "rm", "shop"]).succeeds();
    assert!(
        cluster
            .table(1, &["secret", "ls"])
            .expect("the secrets")
            .is_empty()
    );
    cluster.finish();
}

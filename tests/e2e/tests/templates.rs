//! Templates on several hosts: each task finds its own node, service and place in its
//! host name, environment, mounts and configs.

use skep_e2e::tables::cell;
use skep_e2e::{Cluster, Steps, wait_for};
use std::fs;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(90);
const IMAGE: &str = "redis:alpine";

const STACK: &str = r#"
services:
  web:
    image: redis:alpine
    command: ["sh", "-c", "while :; do sleep 1; done"]
    hostname: "{{.Service.Name}}-{{.Node.Hostname}}"
    environment:
      WHO: "{{.Node.Hostname}} {{.Node.Labels.zone}} {{.Node.Platform.OS}} {{.Task.Slot}}"
      TIER: "{{index .Service.Labels \"a.tier\"}}"
    volumes:
      - "data:/data/{{.Node.Labels.zone}}"
    secrets: [key]
    configs: [{source: page, target: /page}]
    deploy: {mode: global, labels: {a.tier: front}}
volumes:
  data: {name: "data-{{.Node.Hostname}}"}
secrets:
  key: {file: ./key}
configs:
  page: {file: ./page, template_driver: golang}
"#;

#[test]
fn every_task_finds_its_own_node() {
    let steps = Steps::begin();
    let cluster = Cluster::swarm("templates", 1, 2);
    let nodes = cluster.table(1, &["node", "ls"]).expect("the nodes");
    let name = |host: usize| {
        let ends = format!("-h{host}");
        let mut names = nodes.iter().map(|row| cell(row, "HOSTNAME"));
        names
            .find(|name| name.ends_with(&ends))
            .expect("its name")
            .to_owned()
    };
    for host in 1..=3 {
        let zone = format!("zone=z{host}");
        cluster
            .skep(1, &["node", "update", "--label-add", &zone, &name(host)])
            .succeeds();
    }

    steps.step("what is no template is refused with its place");
    let wrong = [
        "service",
        "create",
        "--name",
        "wrong",
        "--env",
        "A=b {{.Node.Name}}",
        IMAGE,
    ];
    cluster
        .skep(1, &wrong)
        .fails(2, &["env A", "column 5", ".Node.Hostname"]);
    let folder = cluster.data_dir(1);
    let write = |file: &str, text: &str| {
        let path = folder.join(file);
        fs::write(&path, text).expect("a file");
        path.to_string_lossy().into_owned()
    };
    let page = write("page", "{{if true}}\n{{.Nope}}{{end}}");
    let wrong = [
        "config",
        "create",
        "--template-driver",
        "golang",
        "wrong",
        &page,
    ];
    cluster
        .skep(1, &wrong)
        .fails(1, &["'wrong' is not a template", "line 2, column 3"]);

    steps.step("a stack of templates, on three hosts");
    write(
        "page",
        "{{.Node.Hostname}} {{.Node.ID}} {{secret \"key\"}} {{env \"TIER\"}}\n",
    );
    write("key", "hush");
    let stack = write("stack.yml", STACK);
    cluster
        .skep(1, &["stack", "deploy", "-c", &stack, "shop"])
        .succeeds();
    for host in 1..=3 {
        let containers = cluster.containers(host);
        let [container] = &containers[..] else {
            panic!("one on host {host}: {containers:?}");
        };
        let own = name(host);
        let id = nodes
            .iter()
            .find(|row| cell(row, "HOSTNAME") == own)
            .map(|row| cell(row, "ID"));
        let id = id.expect("its id").trim_end_matches([' ', '*']).to_owned();
        let inside = |command: &[&str]| cluster.inside(container, command).succeeds().out;
        assert_eq!(inside(&["hostname"]), format!("shop_web-{own}\n"));
        let environment = fs::read_to_string(format!("/proc/{}/environ", container.pid));
        let environment = environment.expect("its environment");
        let who = format!("WHO={own} z{host} linux {id}");
        assert!(
            environment.split('\0').any(|line| line == who),
            "{who}: {environment}"
        );
        assert_eq!(
            inside(&["cat", "/page"]),
            format!("{own} {id} hush front\n")
        );
        inside(&["touch", &format!("/data/z{host}/seen")]);
        let volume = cluster.data_dir(host).join(format!("volumes/data-{own}"));
        let found = fs::read_dir(&volume).map(|mut entries| entries.any(|_| true));
        assert!(found.unwrap_or_default(), "{volume:?}");
    }

    steps.step("a label that is missing fails the task, and says which");
    let slot = [
        "service",
        "create",
        "--detach",
        "--name",
        "rack",
        "--restart-condition",
        "none",
    ];
    let asks = ["--env", "RACK={{.Node.Labels.rack}}", IMAGE];
    cluster.skep(1, &[&slot[..], &asks].concat()).succeeds();
    wait_for("the task says what is missing", SOON, || {
        let said = cluster
            .skep(1, &["service", "ps", "--no-trunc", "rack"])
            .checked()?;
        match said.contains("has no label rack") {
            true => Ok(()),
            false => Err(said),
        }
    });
    cluster.finish();
}

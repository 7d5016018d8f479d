//! A stack whose services share what their node has: each looks at it from inside and
//! is done when it is as the file says.

use skep_e2e::{Cluster, Steps};
use std::fs;

const STACK: &str = r#"
x-once: &once {mode: replicated-job, restart_policy: {condition: none}}
services:
  namespaces:
    image: redis:alpine
    pid: host
    ipc: host
    uts: host
    command: ["sh", "-c", "grep -qx skep-shim /proc/*/comm && test -n \"$$(hostname)\""]
    deploy: *once
  apart:
    image: redis:alpine
    ipc: none
    command: ["sh", "-c", "! grep -qx skep-shim /proc/*/comm && ! test -e /dev/shm"]
    deploy: *once
  devices:
    image: redis:alpine
    devices: ["/dev/fuse:/dev/other:rw"]
    security_opt: [no-new-privileges]
    group_add: [4242]
    command: ["sh", "-c", ": <>/dev/other && grep -q 'NoNewPrivs:.1' /proc/self/status && id -G | grep 4242"]
    deploy: *once
  privileged:
    image: redis:alpine
    privileged: true
    command: ["sh", "-c", "mount -t tmpfs none /tmp && test -e /dev/fuse"]
    deploy: *once
  init:
    image: redis:alpine
    init: true
    command: ["sh", "-c", "grep -x skep-init /proc/1/comm && test $$$$ != 1"]
    deploy: *once
"#;

#[test]
fn services_have_what_of_their_node_they_ask_for() {
    let steps = Steps::begin();
    let cluster = Cluster::swarm("isolation", 1, 0);
    let folder = cluster.data_dir(1);
    let skep = |verb: &str, name: &str, text: &str| {
        let path = folder.join("stack.yml");
        fs::write(&path, text).expect("a file");
        let file = path.to_string_lossy().into_owned();
        cluster.skep(1, &["stack", verb, "-c", &file, name])
    };

    steps.step("each finds what its file says");
    let said = skep("deploy", "own", STACK).succeeds();
    assert!(!said.text().contains("warning"), "{said}");

    steps.step("the managers keep it as it was said");
    skep("plan", "own", STACK).succeeds();

    steps.step("a device that the node does not have is named");
    let missing = STACK.replace("/dev/fuse:", "/dev/skep-none:");
    skep("deploy", "other", &missing).fails(1, &["/dev/skep-none", "does not have it"]);

    steps.step("a setting of the node is refused before anything is made");
    let text = "services:\n  a: {image: redis:alpine, sysctls: {vm.swappiness: 1}}\n";
    skep("deploy", "third", text).fails(2, &["SK0421", "vm.swappiness"]);
    cluster.finish();
}

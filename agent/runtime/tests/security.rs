//! What a container may do on its node where its spec asks for more, or less,
//! than the usual.

mod node;

use node::{Node, TestResult};
use skep_types::ContainerSpec;
use std::fs;
use std::os::unix::fs::MetadataExt;

/// What a shell says of a container with this spec.
async fn said(
    edit: impl FnOnce(&mut ContainerSpec),
    line: &str,
) -> Result<String, Box<dyn std::error::Error>> {
    let node = Node::new();
    let mut request = node.request(&format!("exec 2>&1; {line}"));
    edit(&mut request.spec);
    let (_, output) = node.finish(request).await?;
    assert_eq!(node.leftovers(), [""; 0]);
    Ok(output)
}

fn devices(texts: &[&str]) -> Vec<skep_types::Device> {
    texts.iter().flat_map(|text| text.parse()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_is_there_with_the_access_that_was_given() -> TestResult {
    let line = "stat -c '%F %t:%T %a' /dev/fuse /dev/loops/control; \
                : <>/dev/fuse && echo both; : </dev/loops/control && echo read; \
                (: >/dev/loops/control) || echo no more";
    let output = said(
        |spec| spec.devices = devices(&["/dev/fuse", "/dev/loop-control:/dev/loops/control:r"]),
        line,
    )
    .await?;
    let mode = |path| fs::metadata(path).map(|found| found.mode() & 0o7777);
    let (fuse, control) = (mode("/dev/fuse")?, mode("/dev/loop-control")?);
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines[0], format!("character special file a:e5 {fuse:o}"));
    assert_eq!(lines[1], format!("character special file a:ed {control:o}"));
    assert_eq!(lines[2..4], ["both", "read"]);
    assert!(lines[4].ends_with("Operation not permitted"), "{output}");
    assert_eq!(lines[5], "no more");
    let output = said(|_| {}, "ls /dev/fuse").await?;
    assert!(output.contains("No such file"), "{output}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_lets_a_container_use_what_it_makes_itself() -> TestResult {
    let line = "mknod /tmp/fuse c 10 229 && : </tmp/fuse && echo opened";
    let output = said(|_| {}, line).await?;
    assert!(output.contains("Operation not permitted"), "{output}");
    for rule in ["c 10:229 r", "a 10:* r"] {
        let rule = rule.parse()?;
        let output = said(|spec| spec.device_rules = vec![rule], line).await?;
        assert_eq!(output, "opened\n");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_the_node_lacks_is_a_reason_not_to_start() -> TestResult {
    let node = Node::new();
    let mut request = node.request("true");
    request.spec.devices = devices(&["/dev/skep-none"]);
    let refused = node.run(request).await.map(drop).map_err(|e| e.chain());
    let reason = refused.err().unwrap_or_default();
    assert!(
        reason.starts_with("device /dev/skep-none: this node does not have it: "),
        "{reason}"
    );
    assert_eq!(node.leftovers(), [""; 0]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_privileged_container_may_do_all_that_its_node_may() -> TestResult {
    let line = "grep -E '^(CapEff|Seccomp):' /proc/self/status; mount -t tmpfs x /tmp && echo mounted; \
                mount | grep -c -E ' on /proc/'; \
                mount | grep ' on /sys ' | grep -o -E '[(,]r[ow],' ; \
                test -w /proc/sys/kernel/domainname && echo settings; \
                : <>/dev/fuse && echo device; stat -c %a /dev/loop-control";
    let output = said(|spec| spec.privileged = true, line).await?;
    let lines: Vec<&str> = output.lines().collect();
    let mode = fs::metadata("/dev/loop-control")?.mode() & 0o7777;
    let mode = format!("{mode:o}");
    let status = fs::read_to_string("/proc/self/status")?;
    let ours = status
        .lines()
        .find_map(|line| line.strip_prefix("CapPrm:\t"));
    let all_of_ours = format!("CapEff:\t{}", ours.unwrap_or_default());
    let all = [
        &all_of_ours,
        "Seccomp:\t0",
        "mounted",
        "0",
        "(rw,",
        "settings",
        "device",
        &mode,
    ];
    assert_eq!(lines, all);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn options_take_single_protections_away_or_add_one() -> TestResult {
    let line = "grep -E '^(NoNewPrivs|Seccomp):' /proc/self/status; mount | grep -c ' on /proc/'";
    let fields = |output: String| -> Vec<String> {
        let last = |line: &str| line.rsplit('\t').next().map(str::to_owned);
        output.lines().filter_map(last).collect()
    };
    let usual = fields(said(|_| {}, line).await?);
    assert_eq!(usual[..2], ["0", "2"]);
    assert_ne!(usual[2], "0");
    let fixed = fields(said(|spec| spec.no_new_privileges = true, line).await?);
    assert_eq!(fixed[..2], ["1", "2"]);
    let open = fields(said(|spec| spec.seccomp_unconfined = true, line).await?);
    assert_eq!(open, ["0", "0", &usual[2]]);
    let open = fields(said(|spec| spec.system_paths_unconfined = true, line).await?);
    assert_eq!(open, ["0", "2", "0"]);
    Ok(())
}

#[test]
fn devices_are_the_same_where_cgroup_v2_is_all_there_is() -> TestResult {
    node::as_on_cgroup_v2(&[
        "a_device_is_there_with_the_access_that_was_given",
        "a_privileged_container_may_do_all_that_its_node_may",
        "a_rule_lets_a_container_use_what_it_makes_itself",
    ])
}

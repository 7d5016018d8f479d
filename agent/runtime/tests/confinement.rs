//! What a container may not do, for process 1 and for commands beside it.

mod node;

use node::{Node, TestResult};
use skep_agent_runtime::{Error, ExecResult};
use std::time::{Duration, Instant};

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

fn shell(line: &str) -> Vec<String> {
    ["/bin/sh", "-c", line].map(str::to_owned).to_vec()
}

/// The fields of /proc/self/status that say how a process is confined.
const CONFINEMENT: &str = "grep -E '^(Uid|Gid|Groups|Cap[A-Z][a-z]+|NoNewPrivs|Seccomp|SigIgn|SigBlk):' /proc/self/status";

#[tokio::test(flavor = "multi_thread")]
async fn namespaces_cannot_be_made_inside_nor_beside_a_container() -> TestResult {
    let node = Node::new();
    // busybox's unshare uses unshare(2); the exit code is its own.
    let (task, _) = node
        .run(node.request("unshare -U true 2>&1; echo init $?; exec sleep 600"))
        .await?;
    node.until_output(&task, "init 1").await?;
    let output = node.output(&task).await?;
    assert!(output.contains("Operation not permitted"), "{output}");
    let exec = node
        .runtime
        .exec(&task, &words("unshare -U true"), Duration::from_secs(20))
        .await?;
    match exec {
        ExecResult::Exited { code, output } => {
            assert_eq!(code, 1);
            assert!(output.contains("Operation not permitted"), "{output}");
        }
        other => panic!("{other:?}"),
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_beside_a_container_is_confined_as_its_first_process() -> TestResult {
    let node = Node::new();
    for user in ["", "web"] {
        let mut request = node.request(&format!("{CONFINEMENT}; echo end; exec sleep 600"));
        request.spec.user = user.into();
        let (task, _) = node.run(request).await?;
        node.until_output(&task, "end").await?;
        let first = node.output(&task).await?;
        let beside = node
            .runtime
            .exec(
                &task,
                &shell(&format!("{CONFINEMENT}; echo end")),
                Duration::from_secs(20),
            )
            .await?;
        assert_eq!(
            beside,
            ExecResult::Exited {
                code: 0,
                output: first.clone()
            }
        );
        assert!(first.contains("Seccomp:\t2"), "{first}");
        assert!(first.contains("CapBnd:\t00000000a80425fb"), "{first}");
        assert!(first.contains("CapInh:\t0000000000000000"), "{first}");
        assert!(first.contains("SigIgn:\t0000000000000000"), "{first}");
        let effective = if user.is_empty() {
            "CapEff:\t00000000a80425fb"
        } else {
            assert!(first.contains("Uid:\t1000\t1000"), "{first}");
            assert!(first.contains("Groups:\t1001 2000"), "{first}");
            "CapEff:\t0000000000000000"
        };
        assert!(first.contains(effective), "{first}");
        node.runtime.remove(&task).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_beyond_the_list_cannot_be_used() -> TestResult {
    let node = Node::new();
    // Making the node is allowed, using it is not: /dev/fuse.
    let (_, output) = node
        .finish(node.request(
            "exec 2>&1; mknod /tmp/fuse c 10 229 && cat /tmp/fuse; cat /dev/null && echo ok",
        ))
        .await?;
    assert!(output.contains("Operation not permitted"), "{output}");
    assert!(output.ends_with("ok\n"), "{output}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn capabilities_and_the_filter_follow_the_spec() -> TestResult {
    let node = Node::new();
    let mut request = node.request("unshare -m true && echo made; grep CapEff /proc/self/status");
    request.spec.cap_drop = vec!["ALL".into()];
    request.spec.cap_add = vec!["SYS_ADMIN".into()];
    let (_, output) = node.finish(request).await?;
    assert_eq!(output, "made\nCapEff:\t0000000000200000\n");
    let mut request = node.request("true");
    request.spec.cap_add = vec!["FLY".into()];
    let refused = node.run(request).await.map(drop).map_err(|e| e.chain());
    assert_eq!(refused, Err("\"FLY\" is not a capability".into()));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_of_the_spec_are_added_to_those_of_the_user() -> TestResult {
    let node = Node::new();
    let mut request = node.request("id -G");
    request.spec.user = "web".into();
    request.spec.groups = vec!["root".into(), "44".into()];
    let (_, output) = node.finish(request).await?;
    assert_eq!(output, "1001 0 44 2000\n");
    let mut request = node.request("true");
    request.spec.groups = vec!["video".into()];
    let refused = node.run(request).await.map(drop).map_err(|e| e.chain());
    let reason = "unable to find group video: no matching entries in group file";
    assert_eq!(refused, Err(reason.into()));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_pipe_ends_the_writer_silently() -> TestResult {
    let node = Node::new();
    let (_, output) = node.finish(node.request("yes | head -n 1")).await?;
    assert_eq!(output, "y\n");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_takes_too_long_is_killed() -> TestResult {
    let node = Node::new();
    let (task, _) = node.run(node.request("exec sleep 600")).await?;
    let began = Instant::now();
    let result = node
        .runtime
        .exec(
            &task,
            &shell("echo begun; sleep 600"),
            Duration::from_secs(5),
        )
        .await?;
    assert_eq!(
        result,
        ExecResult::TimedOut {
            output: "begun\n".into()
        }
    );
    assert!(began.elapsed() < Duration::from_secs(30));
    let missing = node
        .runtime
        .exec(&task, &words("nosuch"), Duration::from_secs(20))
        .await;
    assert_eq!(
        missing.map_err(|e| e.chain()),
        Err("exec: \"nosuch\": executable file not found in $PATH".into())
    );
    let result = node
        .runtime
        .exec(&task, &shell("exit 5"), Duration::from_secs(20))
        .await?;
    assert!(matches!(result, ExecResult::Exited { code: 5, .. }));
    node.runtime.remove(&task).await?;
    assert!(matches!(
        node.runtime
            .exec(&task, &words("true"), Duration::from_secs(20))
            .await,
        Err(Error::NotFound(_))
    ));
    assert_eq!(node.leftovers(), [""; 0]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_reach_the_kernel() -> TestResult {
    let node = Node::new();
    let mut request =
        node.request("ulimit -n; cat /proc/self/oom_score_adj; echo end; exec sleep 600");
    request.resources.memory_limit = skep_types::ByteCount(64 << 20);
    request.resources.cpu_limit = skep_types::NanoCpus(500_000_000);
    request.resources.pids_limit = Some(20);
    request.spec.oom_score_adj = 500;
    request.spec.ulimits = vec![skep_types::Ulimit {
        name: "nofile".into(),
        soft: 100,
        hard: 200,
    }];
    let (task, started) = node.run(request).await?;
    node.until_output(&task, "end").await?;
    assert_eq!(node.output(&task).await?, "100\n500\nend\n");
    let stats = node.runtime.stats(&task).await?;
    assert_eq!(stats.memory_limit_bytes, Some(64 << 20));
    assert_eq!(stats.pids, Some(1));
    assert!(stats.cpu_nanos.is_some_and(|nanos| nanos > 0), "{stats:?}");
    assert!(stats.memory_bytes.is_some_and(|b| b > 0), "{stats:?}");
    let cgroup = node.cgroup(&task);
    let read = |dir: &std::path::Path, file| std::fs::read_to_string(dir.join(file));
    if let (Some(cpu), Some(pids)) = (cgroup.controller("cpu"), cgroup.controller("pids")) {
        assert_eq!(read(cpu, "cpu.cfs_quota_us")?, "50000\n");
        assert_eq!(read(pids, "pids.max")?, "20\n");
    }
    if let (true, Some(dir)) = (cgroup.is_unified(), cgroup.unified()) {
        assert_eq!(read(dir, "cpu.max")?, "50000 100000\n");
        assert_eq!(read(dir, "pids.max")?, "20\n");
    }
    // The shim itself must not be the first to go.
    let shim = node::parent_of(started.pid)?;
    let score = std::fs::read_to_string(format!("/proc/{shim}/oom_score_adj"))?;
    assert!(score.trim().parse::<i32>()? <= 0, "{score}");
    node.runtime.remove(&task).await?;
    assert!(node.runtime.stats(&task).await.is_err());
    Ok(())
}

#[test]
fn the_same_holds_where_cgroup_v2_is_all_there_is() -> TestResult {
    node::as_on_cgroup_v2(&[
        "a_broken_pipe_ends_the_writer_silently",
        "a_command_beside_a_container_is_confined_as_its_first_process",
        "a_command_that_takes_too_long_is_killed",
        "devices_beyond_the_list_cannot_be_used",
        "namespaces_cannot_be_made_inside_nor_beside_a_container",
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_do_not_inherit_how_many_files_the_daemon_may_open() -> TestResult {
    let node = Node::new();
    let request = node.request("ulimit -Sn; ulimit -Hn; echo end; exec sleep 600");
    let (task, _) = node.run(request).await?;
    node.until_output(&task, "end").await?;
    let (_, hard) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE)?;
    let said = format!("{}\n{hard}\nend\n", node::OPEN_FILES);
    assert_eq!(node.output(&task).await?, said);
    // Nor what is run beside it.
    let command = shell("test $(ulimit -Sn) = 900");
    let exit = node.runtime.exec(&task, &command, Duration::from_secs(20));
    assert!(matches!(exit.await?, ExecResult::Exited { code: 0, .. }));
    node.runtime.remove(&task).await?;
    Ok(())
}

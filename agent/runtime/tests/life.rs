//! Containers from making to removing, with real ones.

mod node;

use node::{Node, TestResult};
use skep_agent_runtime::{AdoptedState, Error, LogOptions};
use skep_types::ByteCount;
use std::time::{Duration, Instant};
use tokio_stream::StreamExt;

#[tokio::test(flavor = "multi_thread")]
async fn a_container_runs_and_leaves_its_code_and_its_output() -> TestResult {
    let node = Node::new();
    let (task, started) = node
        .run(node.request("echo out; echo err >&2; exit 7"))
        .await?;
    let record = node.runtime.wait(&task).await?;
    assert_eq!((record.code, record.signal, record.oom), (7, None, false));
    assert!(started.pid >= 0);
    let lines: Vec<_> = node
        .runtime
        .logs(&task, LogOptions::default())?
        .collect::<Result<Vec<_>, _>>()
        .await?;
    let mut seen: Vec<_> = lines
        .iter()
        .map(|line| (line.is_stderr, line.text.as_str()))
        .collect();
    seen.sort_unstable();
    assert_eq!(seen, [(false, "out\n"), (true, "err\n")]);
    node.runtime.remove(&task).await?;
    node.runtime.remove(&task).await?;
    assert_eq!(node.leftovers(), [""; 0]);
    assert!(!node.cgroup(&task).exists());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_that_ends_a_container_is_told() -> TestResult {
    let node = Node::new();
    let (task, _) = node
        .run(node.request("trap - USR1; echo ready; exec sleep 600"))
        .await?;
    node.until_output(&task, "ready").await?;
    node.runtime
        .stop(&task, Some("SIGKILL".parse()?), Duration::from_secs(20))
        .await?;
    let record = node.runtime.wait(&task).await?;
    assert_eq!((record.code, record.signal), (137, Some(9)));
    node.runtime.remove(&task).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_asks_first_and_kills_after_the_grace_period() -> TestResult {
    let node = Node::new();
    let (polite, _) = node
        .run(node.request("trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.02; done"))
        .await?;
    node.until_output(&polite, "ready").await?;
    node.runtime
        .stop(&polite, None, Duration::from_secs(20))
        .await?;
    let record = node.runtime.wait(&polite).await?;
    assert_eq!((record.code, record.signal), (3, None));
    assert_eq!(node.output(&polite).await?, "ready\nbye\n");

    let (deaf, _) = node
        .run(node.request("trap '' TERM; echo ready; while :; do sleep 0.02; done"))
        .await?;
    node.until_output(&deaf, "ready").await?;
    node.runtime
        .stop(&deaf, None, Duration::from_millis(200))
        .await?;
    let record = node.runtime.wait(&deaf).await?;
    assert_eq!(
        (record.code, record.signal, record.oom),
        (137, Some(9), false)
    );
    // Once more is no error.
    node.runtime.stop(&deaf, None, Duration::ZERO).await?;
    for task in [polite, deaf] {
        node.runtime.remove(&task).await?;
    }
    assert_eq!(node.leftovers(), [""; 0]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn running_out_of_memory_is_told_apart() -> TestResult {
    let node = Node::new();
    let mut request = node.request("head -c 200000000 /dev/zero | tail");
    request.spec.command = vec!["/bin/tail".into(), "/dev/zero".into()];
    request.resources.memory_limit = ByteCount(16 << 20);
    let (record, _) = node.finish(request).await?;
    assert_eq!(
        (record.code, record.signal, record.oom),
        (137, Some(9), true)
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_cannot_be_made_leaves_a_reason_and_nothing_else() -> TestResult {
    let node = Node::new();
    let refused = async |change: &dyn Fn(&mut skep_agent_runtime::ContainerRequest)| {
        let mut request = node.request("true");
        change(&mut request);
        let task = request.task;
        match node.run(request).await {
            Err(error @ Error::Start { .. }) => {
                // It was made, so it is there to be looked at until removed.
                let removed = node.runtime.remove(&task).await;
                assert!(removed.is_ok(), "{removed:?}");
                error.chain()
            }
            Err(error) => error.chain(),
            Ok(_) => "it ran".to_owned(),
        }
    };
    assert_eq!(
        refused(&|r| r.spec.command = vec!["nosuch".into()]).await,
        "exec: \"nosuch\": executable file not found in $PATH"
    );
    assert_eq!(
        refused(&|r| r.spec.command = vec!["/no/such".into()]).await,
        "exec: \"/no/such\": stat /no/such: no such file or directory"
    );
    assert_eq!(
        refused(&|r| r.spec.command = vec!["/etc/passwd".into()]).await,
        "exec: \"/etc/passwd\": permission denied"
    );
    assert_eq!(
        refused(&|r| r.spec.command = vec!["/etc".into()]).await,
        "exec: \"/etc\": is a directory"
    );
    assert_eq!(
        refused(&|r| r.spec.user = "nobody".into()).await,
        "unable to find user nobody: no matching entries in passwd file"
    );
    assert_eq!(
        refused(&|r| r.spec.command.clear()).await,
        "no command specified, neither by the service nor by its image"
    );
    assert_eq!(
        refused(&|r| r.resources.memory_limit = ByteCount(1000)).await,
        "a memory limit of 1000 bytes is below the minimum of 6 MiB"
    );
    let sysctl = |r: &mut skep_agent_runtime::ContainerRequest| {
        r.spec.sysctls.insert("vm.swappiness".into(), "1".into());
    };
    assert_eq!(
        refused(&sysctl).await,
        "the setting vm.swappiness of the kernel is the node's, not the container's"
    );
    let no_network = refused(&|r| r.netns = Some("/run/netns/skep-none".into())).await;
    assert_eq!(
        no_network,
        "network namespace /run/netns/skep-none does not exist"
    );
    let broken = node.layer().join("bin/broken");
    std::fs::write(&broken, "#!/no/interpreter\n")?;
    std::fs::set_permissions(&broken, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    assert_eq!(
        refused(&|r| r.spec.command = vec!["/bin/broken".into()]).await,
        "exec: \"/bin/broken\": no such file or directory"
    );
    assert_eq!(node.leftovers(), [""; 0]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_outlives_the_daemon_and_is_found_again() -> TestResult {
    let mut node = Node::new();
    let running = node.request("echo ready; while [ ! -e /tmp/go ]; do sleep 0.02; done; exit 9");
    let created = node.request("exit 4");
    let created_task = created.task;
    node.runtime.create(created).await?;
    let (task, started) = node.run(running).await?;
    node.until_output(&task, "ready").await?;
    node.runtime = node.restarted();
    let mut adopted = node.runtime.adopt().await?;
    adopted.retain(|found| found.task == task);
    assert_eq!(adopted[0].state, AdoptedState::Running { pid: started.pid });
    std::fs::write(format!("/proc/{}/root/tmp/go", started.pid), "")?;
    assert_eq!(node.runtime.wait(&task).await?.code, 9);
    // A container that only waited can be started by the next daemon.
    node.runtime.start(&created_task).await?;
    assert_eq!(node.runtime.wait(&created_task).await?.code, 4);
    node.runtime = node.restarted();
    for found in node.runtime.adopt().await? {
        assert!(matches!(found.state, AdoptedState::Exited(_)), "{found:?}");
        node.runtime.remove(&found.task).await?;
    }
    assert_eq!(node.leftovers(), [""; 0]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_dies_with_its_shim() -> TestResult {
    let node = Node::new();
    let (task, started) = node.run(node.request("echo ready; sleep 600")).await?;
    node.until_output(&task, "ready").await?;
    let shim = node::parent_of(started.pid)?;
    let command = std::fs::read_to_string(format!("/proc/{shim}/cmdline"))?;
    assert!(command.starts_with("skep-shim\0monitor"), "{command:?}");
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(shim),
        nix::sys::signal::Signal::SIGKILL,
    )?;
    let record = node.runtime.wait(&task).await?;
    assert_eq!(record.code, 137);
    assert!(record.error.is_some());
    let end = Instant::now() + Duration::from_secs(10);
    while std::path::Path::new(&format!("/proc/{}", started.pid)).exists() {
        assert!(Instant::now() < end, "the container lives on");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    node.runtime.remove(&task).await?;
    assert_eq!(node.leftovers(), [""; 0]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_lost_its_shim_while_no_daemon_ran_is_lost() -> TestResult {
    let mut node = Node::new();
    let (task, _) = node.run(node.request("echo ready; sleep 600")).await?;
    node.until_output(&task, "ready").await?;
    node.cgroup(&task).kill_all(Duration::from_secs(10))?;
    node.runtime.wait(&task).await?;
    // As if the machine had lost power before the record was written.
    std::fs::remove_file(node.bundle(&task).join("exit.json"))?;
    node.runtime = node.restarted();
    let found = node.runtime.adopt().await?;
    assert_eq!(found[0].state, AdoptedState::Lost);
    assert_eq!(node::mounts_below(&node.bundle(&task)).len(), 0);
    assert_eq!(node.output(&task).await?, "ready\n");
    node.runtime.remove(&task).await?;
    assert_eq!(node.leftovers(), [""; 0]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn removing_a_running_container_leaves_nothing() -> TestResult {
    let node = Node::new();
    let (task, _) = node
        .run(node.request("(sleep 600 &); echo ready; sleep 600"))
        .await?;
    node.until_output(&task, "ready").await?;
    // What it has mounted is its own affair.
    assert_eq!(node.mounts(), [""; 0]);
    node.runtime.remove(&task).await?;
    assert_eq!(node.leftovers(), [""; 0]);
    assert!(!node.cgroup(&task).exists());
    assert!(matches!(
        node.runtime.wait(&task).await,
        Err(Error::NotFound(_))
    ));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_has_one_container() -> TestResult {
    let node = Node::new();
    let request = node.request("sleep 600");
    let task = request.task;
    node.runtime.create(request.clone()).await?;
    assert!(matches!(
        node.runtime.create(request).await,
        Err(Error::Exists(_))
    ));
    node.runtime.remove(&task).await?;
    assert_eq!(node.leftovers(), [""; 0]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_and_an_open_input_are_there_when_asked_for() -> TestResult {
    let node = Node::new();
    let mut request = node.request("tty -s && echo terminal; echo > /dev/tty; echo err >&2; cat");
    request.spec.tty = true;
    let (terminal, _) = node.run(request).await?;
    node.until_output(&terminal, "err").await?;
    let output = node.output(&terminal).await?;
    assert_eq!(output, "terminal\r\n\r\nerr\r\n");
    let mut request = node.request("echo ready; cat; echo over");
    request.spec.open_stdin = true;
    let (open, _) = node.run(request).await?;
    node.until_output(&open, "ready").await?;
    for task in [terminal, open] {
        // Both wait for input that does not come.
        let waiting = tokio::time::timeout(Duration::from_millis(300), node.runtime.wait(&task));
        assert!(waiting.await.is_err());
        node.runtime.remove(&task).await?;
    }
    let (_, output) = node.finish(node.request("cat; echo over")).await?;
    assert_eq!(output, "over\n");
    assert_eq!(node.leftovers(), [""; 0]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_time_signal_can_ask_to_stop() -> TestResult {
    let node = Node::new();
    let mut request = node.request("trap 'exit 5' 37; echo ready; while :; do sleep 0.02; done");
    request.image.config.stop_signal = Some("SIGRTMIN+3".into());
    let (task, _) = node.run(request).await?;
    node.until_output(&task, "ready").await?;
    node.runtime
        .stop(&task, None, Duration::from_secs(20))
        .await?;
    assert_eq!(node.runtime.wait(&task).await?.code, 5);
    node.runtime.remove(&task).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_in_use_until_its_last_container_is_removed() -> TestResult {
    let node = Node::new();
    assert!(node.runtime.images_in_use()?.is_empty());
    let mut request = node.request("true");
    request.image.id = "sha256:one".into();
    let (task, _) = node.run(request).await?;
    node.runtime.wait(&task).await?;
    let used: Vec<_> = node.restarted().images_in_use()?.into_iter().collect();
    assert_eq!(used, ["sha256:one"]);
    node.runtime.remove(&task).await?;
    assert!(node.runtime.images_in_use()?.is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_removes_the_cgroup_of_the_node_once_it_is_empty() -> TestResult {
    let node = Node::new();
    let parent = skep_agent_shim_api::Cgroup::locate(&node.parent)?;
    let (task, _) = node.run(node.request("exec sleep 600")).await?;
    node.runtime.close().await?;
    assert!(node.cgroup(&task).exists());
    node.runtime.remove(&task).await?;
    assert!(parent.exists());
    node.runtime.close().await?;
    assert!(!parent.exists());
    // It is made again where it is needed.
    let (record, _) = node.finish(node.request("exit 3")).await?;
    assert_eq!(record.code, 3);
    Ok(())
}

//! What becomes of containers when a disk is full, and when a daemon or a
//! supervisor is stopped or killed midway.

mod node;

use nix::mount::{MsFlags, mount};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use node::{Node, TestResult};
use skep_agent_runtime::{AdoptedState, ExecResult};
use skep_types::TaskId;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// Waits for a file to be there and to have content.
async fn content_of(path: &Path) -> String {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        if let Ok(text) = fs::read_to_string(path)
            && text.ends_with('\n')
        {
            return text.trim().to_owned();
        }
        assert!(Instant::now() < end, "{} is not written", path.display());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Leaves a daemon dead in the middle of a create: its supervisor lives and
/// makes no container before there is a file named "go". Its process id.
async fn cut_off_create(node: &Node, shell: &str) -> Result<(TaskId, i32), std::io::Error> {
    let [script, begun, go] = ["slow-shim", "begun", "go"].map(|name| node.dir.path().join(name));
    let text = format!(
        "#!/bin/sh\necho $$ > {}\nwhile [ ! -e {} ]; do sleep 0.02; done\nexec {} \"$@\"\n",
        begun.display(),
        go.display(),
        node::shim().display(),
    );
    fs::write(&script, text)?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    let request = node.request(shell);
    let task = request.task;
    let runtime = node.with_shim(&script);
    let daemon = tokio::runtime::Runtime::new()?;
    daemon.spawn(async move { runtime.create(request).await });
    let pid = content_of(&begun).await;
    daemon.shutdown_background();
    Ok((task, pid.parse().unwrap_or(0)))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_is_told_though_the_disk_is_full() -> TestResult {
    let node = Node::new();
    let tasks = node.data().join("tasks");
    let (kind, none) = (Some("tmpfs"), MsFlags::empty());
    mount(kind, &tasks, kind, none, Some("size=2m,mode=700"))?;
    let shell = "echo ready; while [ ! -e /tmp/go ]; do sleep 0.02; done; exit 7";
    let (task, started) = node.run(node.request(shell)).await?;
    node.until_output(&task, "ready").await?;
    fs::write(format!("/proc/{}/root/tmp/go.new", started.pid), "")?;
    let full = fs::write(tasks.join("filler"), vec![0; 4 << 20]);
    assert!(full.is_err(), "the disk is not full");
    let waiting = tokio::spawn({
        let runtime = node.runtime.clone();
        async move { runtime.wait(&task).await }
    });
    let root = format!("/proc/{}/root/tmp", started.pid);
    fs::rename(format!("{root}/go.new"), format!("{root}/go"))?;
    assert_eq!(waiting.await??.code, 7);
    node.runtime.remove(&task).await?;
    fs::remove_file(tasks.join("filler"))?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_is_told_though_it_cannot_be_recorded() -> TestResult {
    let node = Node::new();
    let request = node.request("exit 7");
    let task = request.task;
    node.runtime.create(request).await?;
    fs::create_dir(node.bundle(&task).join("exit.json.new"))?;
    let (ended, started) = tokio::join!(node.runtime.wait(&task), async {
        node.runtime.start(&task).await
    });
    started?;
    assert_eq!(ended?.code, 7);
    // Nobody knows any more how it ended, but that it did.
    assert_eq!(node.runtime.wait(&task).await?.code, 137);
    node.runtime.remove(&task).await?;
    Ok(())
}

#[tokio::test]
async fn a_create_that_has_only_just_begun_is_waited_for() -> TestResult {
    let node = Node::new();
    let request = node.request("exit 0");
    let task = request.task;
    tokio::select! {
        biased;
        made = node.runtime.create(request.clone()) => return Ok(made?),
        // Nobody wants it any more, after its first step.
        () = std::future::ready(()) => {}
    }
    node.runtime.remove(&task).await?;
    // Nothing of it comes after that.
    node.runtime.create(request).await?;
    node.runtime.remove(&task).await?;
    assert_eq!(node.leftovers(), Vec::<String>::new());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_is_being_made_is_waited_for_by_the_next_daemon() -> TestResult {
    let node = Node::new();
    let (task, _) = cut_off_create(&node, "exit 4").await?;
    let next = node.restarted();
    let go = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        fs::write(node.dir.path().join("go"), "")
    };
    let (found, written) = tokio::join!(next.adopt(), go);
    written?;
    let found = found?;
    assert!(
        matches!(found[0].state, AdoptedState::Created { .. }),
        "{found:?}"
    );
    next.start(&task).await?;
    assert_eq!(next.wait(&task).await?.code, 4);
    next.remove(&task).await?;
    assert_eq!(node.leftovers(), [""; 0]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_makes_a_container_in_a_bundle_that_was_removed() -> TestResult {
    let node = Node::new();
    let (task, shim) = cut_off_create(&node, "exit 4").await?;
    node.restarted().remove(&task).await?;
    // What nobody has waited for is still in the table, without a command.
    let command = fs::read_to_string(format!("/proc/{shim}/cmdline")).unwrap_or_default();
    assert_eq!(command, "");
    assert_eq!(node.leftovers(), [""; 0]);
    Ok(())
}

#[tokio::test]
async fn a_container_whose_shim_does_not_answer_is_left_alone() -> TestResult {
    let node = Node::new();
    let (task, started) = node.run(node.request("echo ready; exec sleep 600")).await?;
    node.until_output(&task, "ready").await?;
    let shim = Pid::from_raw(node::parent_of(started.pid)?);
    kill(shim, Signal::SIGSTOP)?;
    // The clock jumps to the next limit whenever there is nothing to do.
    tokio::time::pause();
    let next = node.restarted();
    let found = next.adopt().await;
    tokio::time::resume();
    kill(shim, Signal::SIGCONT)?;
    assert_eq!(found?[0].state, AdoptedState::Running { pid: 0 });
    assert_eq!(next.start(&task).await?, started);
    next.remove(&task).await?;
    assert_eq!(node.leftovers(), [""; 0]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_outlives_a_polite_signal_to_its_shim() -> TestResult {
    let node = Node::new();
    let shell = "trap 'exit 3' TERM; echo ready; while :; do sleep 0.02; done";
    let (task, started) = node.run(node.request(shell)).await?;
    node.until_output(&task, "ready").await?;
    let shim = Pid::from_raw(node::parent_of(started.pid)?);
    for signal in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT] {
        kill(shim, signal)?;
    }
    node.runtime
        .stop(&task, None, Duration::from_secs(20))
        .await?;
    assert_eq!(node.runtime.wait(&task).await?.code, 3);
    node.runtime.remove(&task).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_whose_shim_hangs_is_stopped_all_the_same() -> TestResult {
    let node = Node::new();
    let (task, started) = node.run(node.request("echo ready; exec sleep 600")).await?;
    node.until_output(&task, "ready").await?;
    let shim = Pid::from_raw(node::parent_of(started.pid)?);
    kill(shim, Signal::SIGSTOP)?;
    let stop = node.runtime.stop(&task, None, Duration::from_secs(600));
    tokio::time::timeout(Duration::from_secs(120), stop).await??;
    assert_eq!(node.runtime.wait(&task).await?.code, 137);
    assert!(node.cgroup(&task).processes().is_empty());
    node.runtime.remove(&task).await?;
    assert_eq!(node.leftovers(), [""; 0]);
    Ok(())
}

#[tokio::test]
async fn a_command_that_is_never_begun_ends_with_its_time() -> TestResult {
    let node = Node::new();
    let (task, _) = node.run(node.request("echo ready; exec sleep 600")).await?;
    node.until_output(&task, "ready").await?;
    let script = node.dir.path().join("stuck-shim");
    fs::write(&script, "#!/bin/sh\nexec sleep 60\n")?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    let stuck = node.with_shim(&script);
    // The clock jumps to the next limit whenever there is nothing to do.
    tokio::time::pause();
    let command = ["true".to_owned()];
    let outcome = stuck.exec(&task, &command, Duration::from_secs(1)).await;
    tokio::time::resume();
    let output = String::new();
    assert_eq!(outcome?, ExecResult::TimedOut { output });
    node.runtime.remove(&task).await?;
    assert_eq!(node.leftovers(), [""; 0]);
    Ok(())
}

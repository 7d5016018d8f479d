//! Containers with an init process, and what is different without one.

mod node;

use node::{Node, TestResult};
use skep_agent_runtime::{ExecResult, Runtime, StopSignal};
use skep_types::TaskId;
use std::time::{Duration, Instant};

/// Leaves a process behind that has ended, and waits until its status was taken.
const ORPHAN: &str = "sh -c 'true & echo $! >/tmp/orphan'; left=/proc/$(cat /tmp/orphan); n=0; \
                      while test -e $left -a $n -lt 200; do sleep 0.05; n=$((n+1)); done; \
                      test -e $left || echo gone";

fn node() -> Node {
    let node = Node::new();
    node.with_libraries_of_the_shim();
    node
}

async fn stopped(runtime: &Runtime, task: &TaskId) -> Result<Duration, skep_agent_runtime::Error> {
    let began = Instant::now();
    let grace = Duration::from_secs(60);
    runtime.stop(task, Some(StopSignal::TERM), grace).await?;
    Ok(began.elapsed())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_behind_is_reaped() -> TestResult {
    let node = node();
    let mut request = node.request(&format!("cat /proc/1/cmdline; echo; echo $$; {ORPHAN}"));
    request.spec.init = Some(true);
    let (record, output) = node.finish(request).await?;
    assert_eq!(record.code, 0);
    let lines: Vec<&str> = output.lines().collect();
    assert!(
        lines[0].starts_with("skep-init\0/bin/sh\0/bin/sh\0-c\0"),
        "{output}"
    );
    assert_ne!(lines[1], "1");
    assert_eq!(lines[2..], ["gone"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_knows_no_signals_ends_by_them() -> TestResult {
    let node = node();
    let mut request = node.request("echo up; exec sleep 600");
    request.spec.init = Some(true);
    let (task, _) = node.run(request).await?;
    node.until_output(&task, "up").await?;
    assert!(stopped(&node.runtime, &task).await? < Duration::from_secs(30));
    assert_eq!(node.runtime.wait(&task).await?.code, 143);
    node.runtime.remove(&task).await?;
    assert_eq!(node.leftovers(), [""; 0]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_and_the_code_are_those_of_the_program() -> TestResult {
    let node = node();
    let mut request = node.request(
        "trap 'echo usr1' USR1; trap 'echo bye; exit 9' TERM; echo up; \
         while :; do sleep 0.05; done",
    );
    request.spec.init = Some(true);
    let (task, started) = node.run(request).await?;
    node.until_output(&task, "up").await?;
    let first = nix::unistd::Pid::from_raw(started.pid);
    nix::sys::signal::kill(first, nix::sys::signal::Signal::SIGUSR1)?;
    node.until_output(&task, "usr1").await?;
    stopped(&node.runtime, &task).await?;
    assert_eq!(node.runtime.wait(&task).await?.code, 9);
    assert!(node.output(&task).await?.ends_with("bye\n"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_init_is_confined_and_does_not_lead_to_the_node() -> TestResult {
    let node = node();
    let fields = "grep -E '^(Uid|Cap[A-Z][a-z]+|NoNewPrivs|Seccomp):' /proc";
    let line = format!(
        "grep -E '^Sig(Blk|Ign)' /proc/self/status; {fields}/1/status >/tmp/1; \
         {fields}/self/status | diff /tmp/1 - && echo alike; \
         cat /proc/1/exe >/dev/null 2>&1 || echo hidden; exec sleep 600"
    );
    let mut request = node.request(&line);
    request.spec.init = Some(true);
    request.spec.no_new_privileges = true;
    let (task, _) = node.run(request).await?;
    node.until_output(&task, "hidden").await?;
    let output = node.output(&task).await?;
    let none = "0000000000000000";
    assert_eq!(
        output,
        format!("SigBlk:\t{none}\nSigIgn:\t{none}\nalike\nhidden\n")
    );
    // What runs beside it has the environment and no init.
    let command = ["/bin/sh", "-c", "readlink /proc/self/exe; echo $HOSTNAME"];
    let command = command.map(str::to_owned);
    let limit = Duration::from_secs(20);
    match node.runtime.exec(&task, &command, limit).await? {
        ExecResult::Exited { code: 0, output } => {
            assert!(output.starts_with("/bin/busybox\n"), "{output}");
        }
        other => panic!("{other:?}"),
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_not_there_is_told_as_without_init() -> TestResult {
    let node = node();
    let mut request = node.request("true");
    request.spec.init = Some(true);
    request.spec.command = vec!["nosuch".into()];
    let refused = node.run(request).await.map(drop).map_err(|e| e.chain());
    let reason = "exec: \"nosuch\": executable file not found in $PATH";
    assert_eq!(refused, Err(reason.into()));
    Ok(())
}

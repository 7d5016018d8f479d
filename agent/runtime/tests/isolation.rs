//! What a container shares with its node where it asks for that, and what goes
//! with it when it ends.

mod node;

use node::{Node, TestResult};
use skep_types::{ContainerSpec, Ipc};
use std::fs;
use std::path::Path;
use std::time::Duration;

fn share_all(spec: &mut ContainerSpec) {
    spec.host_pid = true;
    spec.ipc = Ipc::Host;
    spec.host_uts = true;
}

/// Links to the namespaces of a process, such as `ipc:[4026531839]`.
fn namespaces(of: &str) -> Result<String, std::io::Error> {
    let kinds = ["pid", "ipc", "uts"].iter();
    let links = kinds.map(|kind| fs::read_link(format!("/proc/{of}/ns/{kind}")));
    let links = links.map(|link| link.map(|link| format!("{}\n", link.display())));
    links.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_shares_the_namespaces_that_it_asks_for() -> TestResult {
    let node = Node::new();
    let mut request = node.request(
        "for n in pid ipc uts; do readlink /proc/self/ns/$n; done; hostname; echo $HOSTNAME; \
         stat -c %d /dev/shm; ls -d /proc/$$",
    );
    share_all(&mut request.spec);
    let name = fs::read_to_string("/proc/sys/kernel/hostname")?;
    request.hostname = name.trim_end().to_owned();
    let name = request.hostname.clone();
    let (record, output) = node.finish(request).await?;
    let device = std::os::unix::fs::MetadataExt::dev(&fs::metadata("/dev/shm")?);
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines[..3].join("\n") + "\n", namespaces("self")?);
    assert_eq!(lines[3..5], [&name, &name]);
    assert_eq!(lines[5], device.to_string());
    assert_eq!(record.code, 0, "it finds itself under its own number");
    // And nothing where nothing is asked for.
    let request = node.request("for n in pid ipc uts; do readlink /proc/self/ns/$n; done");
    let (_, output) = node.finish(request).await?;
    let node_has = namespaces("self")?;
    for line in output.lines() {
        assert!(!node_has.contains(line), "{line}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_without_shared_memory_has_no_place_for_it() -> TestResult {
    let node = Node::new();
    let mut request = node.request("readlink /proc/self/ns/ipc; mount | grep -c /dev/shm");
    request.spec.ipc = Ipc::NoShm;
    let (_, output) = node.finish(request).await?;
    let (ipc, mounts) = output.trim_end().split_once('\n').ok_or("two lines")?;
    assert!(!namespaces("self")?.contains(ipc), "{ipc}");
    assert_eq!(mounts, "0");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_goes_on_among_the_nodes_processes_when_a_container_ends() -> TestResult {
    let node = Node::new();
    // The first process ends and leaves one that holds the output open.
    let mut request = node.request("setsid sleep 600 & echo $!; exit 3");
    request.spec.host_pid = true;
    let task = request.task;
    let (record, output) = node.finish(request).await?;
    assert_eq!(record.code, 3);
    let left = format!("/proc/{}", output.trim_end());
    assert!(!Path::new(&left).exists(), "{left} goes on");
    assert_eq!(node.leftovers(), [""; 0]);
    // Nor when it is stopped or its supervisor is killed.
    let mut request = node.request("setsid sleep 600 & exec sleep 600");
    request.spec.host_pid = true;
    request.task = task;
    let (task, started) = node.run(request).await?;
    let shim = node::parent_of(started.pid)?;
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(shim),
        nix::sys::signal::Signal::SIGKILL,
    )?;
    let record = tokio::time::timeout(Duration::from_secs(30), node.runtime.wait(&task)).await??;
    assert_eq!(record.code, 137);
    assert!(node.cgroup(&task).processes().is_empty());
    node.runtime.remove(&task).await?;
    assert_eq!(node.leftovers(), [""; 0]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_beside_a_container_is_where_that_is() -> TestResult {
    let node = Node::new();
    let mut request = node.request("exec sleep 600");
    share_all(&mut request.spec);
    let (task, _) = node.run(request).await?;
    let command = "for n in pid ipc uts; do readlink /proc/self/ns/$n; done";
    let command = ["/bin/sh", "-c", command].map(str::to_owned);
    let limit = Duration::from_secs(20);
    let result = node.runtime.exec(&task, &command, limit).await?;
    let output = namespaces("self")?;
    let all = skep_agent_runtime::ExecResult::Exited { code: 0, output };
    assert_eq!(result, all);
    node.runtime.remove(&task).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_of_the_node_are_not_a_containers_to_make() -> TestResult {
    let node = Node::new();
    let mut request = node.request("cat /proc/sys/kernel/shmmni");
    request.spec.sysctls = [("kernel.shmmni".to_owned(), "77".to_owned())].into();
    let (_, output) = node.finish(request).await?;
    assert_eq!(output, "77\n");
    for (name, ipc) in [
        ("vm.swappiness", Ipc::Private),
        ("kernel.shmmni", Ipc::Host),
    ] {
        let mut request = node.request("true");
        request.spec.sysctls = [(name.to_owned(), "77".to_owned())].into();
        request.spec.ipc = ipc;
        let refused = node.run(request).await.map(drop).map_err(|e| e.chain());
        let reason = format!("the setting {name} of the kernel is the node's, not the container's");
        assert_eq!(refused, Err(reason));
    }
    assert_ne!(fs::read_to_string("/proc/sys/kernel/shmmni")?, "77\n");
    Ok(())
}

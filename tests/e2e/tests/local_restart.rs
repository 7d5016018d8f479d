//! A worker that no manager hears starts again by itself what ends: the same task, once;
//! also after its machine was off.

use skep_e2e::tables::cell;
use skep_e2e::{Cluster, Container, Steps, holds_for, wait_for};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(120);
const WORKER: usize = 2;

#[test]
fn a_task_is_started_again_while_no_manager_is_there() {
    let steps = Steps::begin();
    let mut cluster = Cluster::swarm("localrestart", 1, 1);
    let here = ["--constraint", "node.role==worker", "--restart-delay", "1s"];
    cluster.create_web(1, &here);
    let task = only_task(&cluster);
    let before = only(&cluster, WORKER).expect("it runs");

    steps.step("the manager's daemon is killed, then the container: it runs again");
    cluster.kill_daemon(1);
    end(&before);
    let again = another(&cluster, &before);
    assert!(cluster.container_of(WORKER, &task).is_some(), "{again:?}");

    steps.step("the manager is back: it is the same task, once");
    cluster.start_daemon(1);
    cluster.await_daemon(1);
    is_kept(&cluster, &task, "1", &again);

    steps.step("without the manager, the worker loses its power: it runs again");
    cluster.kill_daemon(1);
    cluster.kill_host(WORKER);
    cluster.start_host(WORKER);
    let anew = another(&cluster, &again);

    steps.step("the manager is back: it is the same task still, or what replaced it");
    cluster.start_daemon(1);
    cluster.await_daemon(1);
    is_kept(&cluster, &task, "2", &anew);

    steps.step("with a manager that hears, another task follows");
    end(&anew);
    wait_for("another task runs", SOON, || {
        match cluster.running(1, "web")?.as_slice() {
            [(id, WORKER)] if *id != task => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    cluster.finish();
}

fn end(container: &Container) {
    let pid = rustix::process::Pid::from_raw(container.pid).expect("a process");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("it can be killed");
}

fn only_task(cluster: &Cluster) -> String {
    let running = cluster.running(1, "web").expect("service ps works");
    assert_eq!(running.len(), 1, "{running:?}");
    running[0].0.clone()
}

fn only(cluster: &Cluster, host: usize) -> Result<Container, String> {
    match cluster.containers(host).as_slice() {
        [one] if one.is_started() => Ok(one.clone()),
        other => Err(format!("{other:?}")),
    }
}

/// The container that runs instead.
fn another(cluster: &Cluster, before: &Container) -> Container {
    let mut found = None;
    wait_for("another container runs", SOON, || {
        let one = only(cluster, WORKER)?;
        if one == *before {
            return Err("the one of before".to_owned());
        }
        found = Some(one);
        Ok(())
    });
    found.expect("it was waited for")
}

/// The managers take the task for what it is, and nothing is started beside it.
fn is_kept(cluster: &Cluster, task: &str, restarts: &str, container: &Container) {
    let format = "{{.ID}} {{.CurrentState}} restarts={{.LocalRestarts}} {{.Message}}";
    let ps = ["service", "ps", "--no-trunc", "--format", format, "web"];
    let told = || {
        let shown = cluster.read(1, &ps).succeeds().out;
        match shown.lines().collect::<Vec<_>>().as_slice() {
            [one]
                if one.starts_with(task)
                    && one.contains("Running")
                    && !one.contains("not ready")
                    && !one.contains("node down")
                    && one.contains(&format!("restarts={restarts} "))
                    && one.contains("before: ") =>
            {
                Ok(())
            }
            other => Err(format!("{other:?}")),
        }
    };
    wait_for("the task is told to run", SOON, told);
    holds_for("it is the only one", Duration::from_secs(10), || {
        told()?;
        let one = only(cluster, WORKER)?;
        (one == *container)
            .then_some(())
            .ok_or_else(|| format!("another container: {one:?}"))
    });
    let nodes = cluster.table(1, &["node", "ls"]).expect("node ls works");
    assert!(nodes.iter().all(|node| cell(node, "STATUS") == "Ready"));
}

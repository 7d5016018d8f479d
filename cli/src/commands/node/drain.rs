//! `skep node drain`.

use crate::client::{Client, Host};
use crate::error::CliError;
use crate::flags;
use crate::output::{note, say};
use crate::progress::{Board, Line, Patience, next, until, watch};
use anyhow::{Result, anyhow, bail};
use skep_proto::{id_bytes, pb};
use skep_types::{Availability, NodeId, NodeState, Task, TaskState};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

/// Most tasks of jobs that are named.
const JOBS_SHOWN: usize = 3;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:\n  skep node drain --deadline 10m node-2")]
pub struct Args {
    /// Stop what is left after this long, whatever its services say: 1h where nothing is
    /// said, 0 for at once. Until then tasks are moved as updates of their services
    /// change them: as many at a time as `--update-parallelism` says (0 is all), in its order
    #[arg(long, value_name = "DURATION", value_parser = flags::duration)]
    deadline: Option<Duration>,
    /// Do not wait until the tasks have left
    #[arg(short, long)]
    detach: bool,
    /// Give up waiting after this long, e.g. 5m
    #[arg(long, value_name = "DURATION", value_parser = flags::duration)]
    timeout: Option<Duration>,
    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
    /// Host name, id or `self`
    #[arg(value_name = "NODE", required = true)]
    nodes: Vec<String>,
}

/// Drains all, and waits until their tasks have left.
pub async fn run(args: Args, host: &Host) -> Result<()> {
    let client = host.connect().await?;
    let mut leaving = Vec::new();
    for key in &args.nodes {
        let drain = super::edit(&client, key, |spec| {
            spec.availability = Availability::Drain;
            spec.drain_deadline = args.deadline;
            Ok(())
        });
        let (node, _) = drain.await?;
        say!("{key}")?;
        leaving.push(Leaving {
            node: node.id,
            name: node.description.hostname,
            total: 0,
        });
    }
    match args.detach {
        true => Ok(()),
        false => wait(&client, leaving, &args).await,
    }
}

/// A node that is waited for.
struct Leaving {
    node: NodeId,
    name: String,
    /// Most tasks it was seen to have.
    total: usize,
}

async fn wait(client: &Client, mut leaving: Vec<Leaving>, args: &Args) -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let deadline = args.timeout.map(|timeout| Instant::now() + timeout);
    let mut events = watch(client);
    let mut board = Board::default();
    let mut patience = Patience::default();
    loop {
        let look = async {
            match look(client, &mut leaving).await {
                Ok(lines) => {
                    patience.renew();
                    if !args.quiet {
                        board.show(lines.into_iter().map(Line::from).collect())?;
                    }
                }
                Err(error) => patience.bear(error)?,
            }
            if leaving.is_empty() {
                return Ok::<_, anyhow::Error>(true);
            }
            next(&mut events).await;
            Ok(false)
        };
        tokio::select! {
            done = look => if done? {
                return Ok(());
            },
            _ = interrupt.recv() => {
                note!("Operation continuing in background.");
                for node in &leaving {
                    note!("Use `skep node ps {}` to check progress.", node.name);
                }
                return Err(CliError::Interrupted.into());
            }
            () = until(deadline) => {
                let timeout = args.timeout.unwrap_or_default();
                let names: Vec<&str> = leaving.iter().map(|l| l.name.as_str()).collect();
                let text = format!(
                    "timed out after {timeout:?}: tasks are left on {}; the drain continues in \
                     background",
                    names.join(", ")
                );
                return Err(CliError::TimedOut(text).into());
            }
        }
    }
}

/// How far each node is; those that are done are waited for no more.
async fn look(client: &Client, leaving: &mut Vec<Leaving>) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    let mut done = Vec::new();
    for node in leaving.iter_mut() {
        let request = pb::ReadRequest {
            nodes: true,
            tasks: true,
            task_node: id_bytes(node.node),
            ..Default::default()
        };
        let view = client.read_now(request).await?;
        let name = &node.name;
        let found = view.nodes.get(&node.node);
        let found = &found
            .ok_or_else(|| anyhow!("node {name} was removed"))?
            .node;
        if found.spec.availability != Availability::Drain {
            bail!("node {name} is not drained any more");
        }
        if found.status.state == NodeState::Down {
            lines.push(format!(
                "{name}: it is down: its tasks are replaced, and stop when it is back"
            ));
            done.push(node.node);
            continue;
        }
        let left: Vec<Task> = view.tasks.into_iter().filter(may_run).collect();
        node.total = node.total.max(left.len());
        if left.is_empty() {
            lines.push(format!("{name}: drained"));
            done.push(node.node);
            continue;
        }
        let mut services: Vec<_> = left.iter().map(|task| task.service).collect();
        services.dedup();
        let request = pb::ReadRequest {
            tasks: true,
            task_services: services.into_iter().map(id_bytes).collect(),
            ..Default::default()
        };
        let others = client.read_now(request).await?.tasks;
        lines.push(line(node, &left, &others));
    }
    leaving.retain(|node| !done.contains(&node.node));
    Ok(lines)
}

fn may_run(task: &Task) -> bool {
    task.status.state >= TaskState::Assigned && !task.status.state.is_terminal()
}

/// `node-2: 3 of 7 tasks left: web.2 stops; web waits for web.1, which is pending: ..`.
fn line(node: &Leaving, left: &[Task], others: &[Task]) -> String {
    let stopping = left.iter().filter(|task| !task.is_live()).count();
    let mut parts = vec![format!(
        "{}: {} of {} tasks left",
        node.name,
        left.len(),
        node.total
    )];
    if stopping > 0 {
        parts.push(format!("{stopping} stopping"));
    }
    // Tasks of jobs are not moved: they may run to their end.
    let jobs = left.iter().filter(|task| task.run > 0 && task.is_live());
    let mut names: Vec<String> = jobs.map(Task::name).collect();
    let more = names.len().saturating_sub(JOBS_SHOWN);
    names.truncate(JOBS_SHOWN);
    if !names.is_empty() {
        let more = match more {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        parts.push(format!("{}{more} may run to the end", names.join(", ")));
    }
    // What came elsewhere and is not there yet, one of each service.
    let mut waited: BTreeMap<&str, String> = BTreeMap::new();
    let is_coming = |task: &&Task| {
        task.run == 0 && task.is_live() && task.node != Some(node.node) && !task.status.is_ready()
    };
    for task in others.iter().filter(is_coming) {
        let service = left.iter().any(|here| here.service == task.service);
        let why = match task.status.error.is_empty() {
            true => String::new(),
            false => format!(": {}", task.status.error),
        };
        if service {
            let text = format!("{} is {}{why}", task.name(), task.status.state);
            waited.entry(&task.service_name).or_insert(text);
        }
    }
    parts.extend(waited.into_values());
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn a_drain_tells_what_is_left_and_what_it_waits_for() {
        let web = testing::service(7, "web", 3);
        let db = testing::service(8, "db", 1);
        let mut view = testing::swarm(vec![web, db]);
        view.add(0, 1, 1, TaskState::Running);
        view.add(0, 2, 1, TaskState::Running).desired = TaskState::Shutdown;
        view.add(0, 2, 0, TaskState::Pending).status.error = "no suitable node".to_owned();
        view.add(0, 3, 0, TaskState::Pending);
        view.add(1, 1, 2, TaskState::Starting).run = 1;
        let here = |task: &&Task| task.node == Some(NodeId::from_bits(1));
        let left: Vec<Task> = view.tasks.iter().filter(here).cloned().collect();
        let node = Leaving {
            node: NodeId::from_bits(1),
            name: "one".to_owned(),
            total: 4,
        };
        assert_eq!(
            line(&node, &left, &view.tasks),
            "one: 2 of 4 tasks left; 1 stopping; web.2 is pending: no suitable node"
        );
        let mut left = left;
        for slot in 1..=5 {
            let task = view.add(1, slot, 1, TaskState::Running);
            task.run = 1;
            left.push(task.clone());
        }
        assert_eq!(
            line(&node, &left, &view.tasks),
            "one: 7 of 4 tasks left; 1 stopping; db.1, db.2, db.3 and 2 more may run to the end; \
             web.2 is pending: no suitable node"
        );
    }
}

//! `skep service logs`.

use crate::client::Host;
use crate::error::{CliError, usage};
use crate::find::{self, FindError};
use crate::human::{parse_moment, timestamp_ns};
use crate::output::{note, now_ms, raw};
use crate::view::View;
use anyhow::{Result, bail};
use skep_proto::{id, id_bytes, pb};
use skep_types::{Task, TaskId};
use std::collections::BTreeMap;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:\n  skep service logs -f --tail 20 web")]
pub struct Args {
    /// Go on with what comes
    #[arg(short, long)]
    follow: bool,
    /// Lines from the end of each task's log; `all` for all
    #[arg(short = 'n', long, value_name = "NUMBER", default_value = "all")]
    tail: String,
    /// Lines since then: 10m, or 2026-01-31T08:00:00Z
    #[arg(
        long,
        value_name = "TIME",
        default_value = "",
        hide_default_value = true
    )]
    since: String,
    /// Lines until then
    #[arg(
        long,
        value_name = "TIME",
        default_value = "",
        hide_default_value = true
    )]
    until: String,
    /// Show when each line was printed
    #[arg(short, long)]
    timestamps: bool,
    /// Lines as they are, without the task's name
    #[arg(long)]
    raw: bool,
    /// Do not cut ids
    #[arg(long)]
    no_trunc: bool,
    /// Show ids instead of names
    #[arg(long)]
    no_resolve: bool,
    /// Leave the ids of tasks out
    #[arg(long)]
    no_task_ids: bool,
    /// Accepted for compatibility, without effect: lines have no details here
    #[arg(long, hide = true)]
    details: bool,
    /// Name or id of a service, or id of a task
    #[arg(value_name = "SERVICE|TASK")]
    target: String,
}

/// Prints.
pub async fn run(args: Args, host: &Host) -> Result<()> {
    let options = options(&args)?;
    if args.details {
        note!("warning: --details has no effect: log drivers add nothing to lines here");
    }
    let client = host.connect().await?;
    let all = pb::ReadRequest {
        services: true,
        tasks: true,
        nodes: true,
        ..Default::default()
    };
    let mut view = client.read(all.clone()).await?;
    let mut request = pb::LogsRequest {
        options: Some(options),
        ..Default::default()
    };
    match find::service(&view.services, &args.target) {
        Ok(service) => request.services.push(id_bytes(service.id)),
        Err(FindError::NotFound { .. }) => {
            let task = find::find("task", &args.target, &view.tasks, |task| {
                (task.id.to_string(), "")
            });
            match task {
                Ok(task) => request.tasks.push(id_bytes(task.id)),
                Err(FindError::NotFound { key, .. }) => bail!("no such task or service: {key}"),
                Err(error) => return Err(error.into()),
            }
        }
        Err(error) => return Err(error.into()),
    }
    let stream = client.control().logs(request).await;
    let mut stream = stream.map_err(CliError::from)?.into_inner();
    let mut prefixes = Prefixes::default();
    let mut incomplete = false;
    while let Some(line) = stream.message().await.map_err(CliError::from)? {
        if !line.problem.is_empty() {
            note!("skep: {}", line.problem);
            incomplete = true;
            continue;
        }
        let mut text = String::new();
        if args.timestamps {
            text.push_str(&timestamp_ns(u128::from(line.at_ns)));
            text.push(' ');
        }
        if !args.raw {
            let task: TaskId = id(&line.task, "logs.task")?;
            if prefixes.lacks(&view, task) {
                // Younger than the view. Without its name, its lines still count.
                match client.read(all.clone()).await {
                    Ok(newer) => view = newer,
                    Err(error) => note!("skep: cannot read the name of task {task}: {error:#}"),
                }
            }
            text.push_str(prefixes.of(&view, task, &args));
        }
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(&line.data);
        if !bytes.ends_with(b"\n") {
            bytes.push(b'\n');
        }
        match line.stderr {
            true => error_bytes(&bytes),
            false => raw(&bytes)?,
        }
    }
    match incomplete {
        true => bail!("incomplete log stream: not every node could be asked"),
        false => Ok(()),
    }
}

/// What a task wrote to its standard error goes to ours.
fn error_bytes(bytes: &[u8]) {
    use std::io::Write as _;
    // Where that fails there is nobody to tell.
    let _ = std::io::stderr().lock().write_all(bytes);
}

fn options(args: &Args) -> Result<pb::LogOptions> {
    let now = now_ms();
    let moment = |text: &str| match text {
        "" => Ok(0),
        text => parse_moment(text, now).map_err(usage),
    };
    let tail = match args.tail.as_str() {
        "all" | "-1" => None,
        number => match number.parse() {
            Ok(number) => Some(number),
            Err(_) => return Err(usage(format!("{number:?} is not a number of lines"))),
        },
    };
    Ok(pb::LogOptions {
        follow: args.follow,
        tail,
        since_ms: moment(&args.since)?,
        until_ms: moment(&args.until)?,
    })
}

/// What stands before a line: `web.1.abc123@node1    | `, all equally wide.
#[derive(Debug, Default)]
struct Prefixes {
    known: BTreeMap<TaskId, String>,
    width: usize,
}

impl Prefixes {
    /// Whether nothing is known of a task. Asked again after [`Prefixes::of`], the
    /// answer is no: a swarm is read at most once for a task.
    fn lacks(&self, view: &View, task: TaskId) -> bool {
        !self.known.contains_key(&task) && !view.tasks.iter().any(|known| known.id == task)
    }

    fn of(&mut self, view: &View, task: TaskId, args: &Args) -> &str {
        if !self.known.contains_key(&task) {
            let found = view.tasks.iter().find(|known| known.id == task);
            let name = found.map_or_else(|| task.to_string(), |task| name(view, task, args));
            // As wide as the widest that can come from what is there now.
            let widest = view
                .tasks
                .iter()
                .filter(|other| found.is_some_and(|found| found.service == other.service))
                .map(|other| self::name(view, other, args).chars().count())
                .max();
            self.width = self
                .width
                .max(widest.unwrap_or(0))
                .max(name.chars().count());
            let width = self.width;
            self.known.insert(task, format!("{name:<width$}    | "));
        }
        self.known.get(&task).map_or("", String::as_str)
    }
}

fn name(view: &View, task: &Task, args: &Args) -> String {
    let mut name = match (args.no_resolve, task.slot.0, task.node) {
        (true, 0, _) => task.service.to_string(),
        (true, slot, _) => format!("{}.{slot}", task.service),
        (false, ..) => task.name(),
    };
    if !args.no_task_ids {
        name.push('.');
        name.push_str(&crate::human::id(&task.id.to_string(), args.no_trunc));
    }
    if let Some(node) = task.node {
        name.push('@');
        match args.no_resolve {
            true => name.push_str(&node.to_string()),
            false => name.push_str(&view.hostname(node)),
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{service, swarm};
    use clap::Parser as _;
    use skep_types::TaskState;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn the_swarm_is_read_once_for_a_task_that_stays_unknown() -> Result<()> {
        let Line { args } = Line::try_parse_from(["logs", "--details", "-f", "web"])?;
        let mut view = swarm(vec![service(1, "web", 1)]);
        let here = view.add(0, 1, 1, TaskState::Running).id;
        let gone = TaskId::from_bits(99);
        let mut prefixes = Prefixes::default();
        assert!(!prefixes.lacks(&view, here));
        assert!(prefixes.lacks(&view, gone));
        assert!(prefixes.of(&view, gone, &args).contains(&gone.to_string()));
        assert!(!prefixes.lacks(&view, gone));
        Ok(())
    }
}

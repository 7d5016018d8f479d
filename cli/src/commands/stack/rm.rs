//! `skep stack rm`.

use super::asked::{SERVICE, refused, tell};
use crate::client::{Client, Host};
use crate::error::{CliError, refusal};
use crate::flags;
use crate::output::note;
use crate::progress::{Board, Line, Patience, next, until, watch};
use crate::style::stdout_draws;
use crate::view::View;
use anyhow::{Result, bail};
use bytes::Bytes;
use skep_proto::pb;
use skep_proto::pb::change::Change;
use skep_types::Task;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;
use tonic::Code;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(visible_aliases = ["remove", "down"], before_help = "Example:\n  skep stack rm vote")]
pub struct Args {
    /// Do not wait until the tasks have stopped
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true", hide_default_value = true, hide_possible_values = true)]
    detach: bool,
    /// Give up waiting after this long, e.g. 5m
    #[arg(long, value_name = "DURATION", value_parser = flags::duration)]
    timeout: Option<Duration>,
    /// Names of stacks
    #[arg(value_name = "STACK", required = true)]
    stacks: Vec<String>,
}

/// Things that are named where they are told.
const MOST_NAMED: usize = 3;

/// Removes all that is of the stacks, and waits until their tasks have stopped.
pub async fn run(args: Args, host: &Host) -> Result<()> {
    let client = host.connect().await?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let deadline = args.timeout.map(|timeout| Instant::now() + timeout);
    let mut removal = Removal::of(&args.stacks);
    tokio::select! {
        done = removal.run(&client, args.detach) => done?,
        _ = interrupt.recv() => {
            note!("{}", removal.left());
            return Err(CliError::Interrupted.into());
        }
        () = until(deadline) => {
            let timeout = args.timeout.unwrap_or_default();
            let text = format!("timed out after {timeout:?}: {}", removal.left());
            return Err(CliError::TimedOut(text).into());
        }
    }
    match removal.failed.is_empty() {
        true => Ok(()),
        false => bail!("failed to remove: {}", removal.failed.join(", ")),
    }
}

/// How far removing is.
struct Removal<'a> {
    /// Stacks that are not removed yet, in order.
    stacks: VecDeque<&'a str>,
    /// Services that were removed.
    services: Vec<Bytes>,
    /// Stacks that could not be removed.
    failed: Vec<&'a str>,
    /// Tasks that have not stopped, as far as was looked.
    stopping: Option<Vec<String>>,
}

impl<'a> Removal<'a> {
    fn of(stacks: &'a [String]) -> Self {
        let mut left: VecDeque<&str> = VecDeque::new();
        for stack in stacks {
            if !left.contains(&stack.as_str()) {
                left.push_back(stack);
            }
        }
        Removal {
            stacks: left,
            services: Vec::new(),
            failed: Vec::new(),
            stopping: None,
        }
    }

    async fn run(&mut self, client: &Client, detach: bool) -> Result<()> {
        // One may be held by what is another's, and can go after it.
        let mut held = 0;
        while let Some(stack) = self.stacks.front().copied() {
            let change = Change::RemoveStack(pb::RemoveStack {
                name: stack.to_owned(),
                version: 0,
            });
            match client.change_told(change).await {
                Ok(made) => {
                    tell(&made.objects)?;
                    let services = made.objects.into_iter().filter(|o| o.kind == SERVICE);
                    self.services.extend(services.map(|object| object.id));
                    held = 0;
                }
                Err(error) => match refusal(&error) {
                    Some(Code::NotFound) => note!("Nothing found in stack: {stack}"),
                    Some(Code::FailedPrecondition) if held + 1 < self.stacks.len() => {
                        held += 1;
                        self.stacks.rotate_left(1);
                        continue;
                    }
                    _ => {
                        note!(
                            "skep: {:#}",
                            refused(error, stack, "was not removed, nor anything of it")
                        );
                        self.failed.push(stack);
                    }
                },
            }
            self.stacks.pop_front();
        }
        if !detach && !self.services.is_empty() {
            self.stopped(client).await?;
        }
        Ok(())
    }

    /// Waits until no task of the services is left.
    async fn stopped(&mut self, client: &Client) -> Result<()> {
        let mut events = watch(client);
        let mut board = Board::default();
        let mut patience = Patience::default();
        loop {
            let request = pb::ReadRequest {
                tasks: true,
                nodes: true,
                task_services: self.services.clone(),
                ..Default::default()
            };
            match client.read_now(request).await {
                Ok(view) => {
                    patience.renew();
                    let left = stopping(&view);
                    if stdout_draws() {
                        let told =
                            count(&left).map(|count| format!("waiting until {count} stopped"));
                        board.show(told.map(Line::from).into_iter().collect())?;
                    }
                    if left.is_empty() {
                        return Ok(());
                    }
                    self.stopping = Some(left);
                }
                Err(error) => patience.bear(error)?,
            }
            next(&mut events).await;
        }
    }

    /// What is not done, for who does not wait for it.
    fn left(&self) -> String {
        let mut parts = Vec::new();
        if !self.stacks.is_empty() {
            let stacks = Vec::from_iter(self.stacks.iter().copied()).join(" ");
            parts.push(format!(
                "not removed: {stacks}; use `skep stack rm {stacks}` again"
            ));
        }
        match self.stopping.as_deref().and_then(count) {
            Some(count) => parts.push(format!("{count} not stopped, which goes on in background")),
            None if self.services.is_empty() => {}
            None => parts.push("tasks go on stopping in background".to_owned()),
        }
        parts.join("; ")
    }
}

/// Names of the tasks that have not stopped. Those of a node that is down are forgotten when
/// it comes back.
fn stopping(view: &View) -> Vec<String> {
    let tasks = view.tasks.iter();
    let left = tasks.filter(|t| !t.status.state.is_terminal() && view.is_on_live_node(t));
    left.map(Task::name).collect()
}

/// `3 tasks (vote_web.1, vote_web.2, vote_web.3) have`; nothing where there is none.
fn count(tasks: &[String]) -> Option<String> {
    match tasks {
        [] => None,
        [task] => Some(format!("task {task} has")),
        tasks => Some(format!("{} tasks ({}) have", tasks.len(), some(tasks))),
    }
}

/// The first few of them.
fn some(names: &[String]) -> String {
    let more = match names.len().saturating_sub(MOST_NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let first = &names[..names.len().min(MOST_NAMED)];
    format!("{}{more}", first.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{service, swarm};
    use expect_test::expect;
    use skep_types::TaskState;

    #[test]
    fn who_leaves_is_told_what_is_not_done() {
        let mut view = swarm(vec![service(1, "vote_web", 5)]);
        for (slot, node) in [(1, 1), (2, 1), (3, 1), (4, 2), (5, 2)] {
            view.add(0, slot, node, TaskState::Running);
        }
        let stacks = ["vote", "shop", "vote"].map(str::to_owned);
        let mut removal = Removal::of(&stacks);
        let mut said = vec![removal.left()];
        removal.stacks.pop_front();
        removal.services.push(Bytes::from_static(b"web"));
        said.push(removal.left());
        removal.stacks.clear();
        said.push(removal.left());
        removal.stopping = Some(stopping(&view));
        said.push(removal.left());
        removal.stopping = Some(vec!["vote_web.1".to_owned()]);
        said.push(removal.left());
        expect![[r#"
            not removed: vote shop; use `skep stack rm vote shop` again
            not removed: shop; use `skep stack rm shop` again; tasks go on stopping in background
            tasks go on stopping in background
            5 tasks (vote_web.1, vote_web.2, vote_web.3 and 2 more) have not stopped, which goes on in background
            task vote_web.1 has not stopped, which goes on in background"#]]
        .assert_eq(&said.join("\n"));
    }
}

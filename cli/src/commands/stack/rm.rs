//! `skep stack rm`.

use super::belongs;
use crate::client::{Client, Host};
use crate::error::{CliError, refusal};
use crate::flags;
use crate::output::{note, say};
use crate::progress::{Board, Line, Patience, next, until, watch};
use crate::style::stdout_draws;
use crate::view::View;
use anyhow::{Result, bail};
use bytes::Bytes;
use skep_proto::pb::change::Change;
use skep_proto::{id_bytes, pb};
use skep_types::{Labels, NetworkId, Task};
use std::collections::{BTreeSet, VecDeque};
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

/// Longest wait for networks whose tasks have not all been told to stop yet, which managers
/// do at once.
const MOST_HELD: Duration = Duration::from_secs(60);
/// Time between two tries of such a network.
const PERIOD: Duration = Duration::from_millis(200);
/// The kind of object that has tasks.
const SERVICE: &str = "service";
/// Things that are named where they are told.
const MOST_NAMED: usize = 3;

/// Removes all that is of the stacks, and waits until their tasks have stopped.
pub async fn run(args: Args, host: &Host) -> Result<()> {
    let client = host.connect().await?;
    let all = pb::ReadRequest {
        services: true,
        networks: true,
        secrets: true,
        configs: true,
        ..Default::default()
    };
    let view = client.read(all).await?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let deadline = args.timeout.map(|timeout| Instant::now() + timeout);
    let mut removal = Removal::of(&view, &args.stacks);
    for stack in &args.stacks {
        if !removal.objects.iter().any(|object| object.stack == stack) {
            note!("Nothing found in stack: {stack}");
        }
    }
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
        false => bail!(
            "failed to remove some resources from stack: {}",
            Vec::from_iter(removal.failed).join(", ")
        ),
    }
}

/// One thing that is to go.
struct Object<'a> {
    stack: &'a str,
    kind: &'static str,
    name: &'a str,
    change: Change,
    /// It is a network that nothing holds but tasks which are about to be told to stop.
    patient: bool,
}

/// How far removing is.
struct Removal<'a> {
    /// What has not been removed yet, in order.
    objects: VecDeque<Object<'a>>,
    /// All services that were there.
    services: Vec<Bytes>,
    /// Stacks of which something could not be removed.
    failed: BTreeSet<&'a str>,
    /// Tasks that have not stopped, as far as was looked.
    stopping: Option<Vec<String>>,
}

impl<'a> Removal<'a> {
    /// What belongs to the stacks: services first, which use the rest, and networks last,
    /// which go when the last task on them has been told to stop.
    fn of(view: &'a View, stacks: &'a [String]) -> Self {
        let of = |labels: &Labels| stacks.iter().find(|stack| belongs(labels, stack));
        let mut objects = VecDeque::new();
        let mut add = |labels, kind, name: &'a str, change, patient| {
            if let Some(stack) = of(labels) {
                objects.push_back(Object {
                    stack,
                    kind,
                    name,
                    change,
                    patient,
                });
            }
        };
        for service in &view.services {
            let change = Change::RemoveService(id_bytes(service.id));
            let spec = &service.spec;
            add(&spec.labels, SERVICE, &spec.name, change, false);
        }
        for secret in &view.secrets {
            let change = Change::RemoveSecret(id_bytes(secret.id));
            let spec = &secret.spec;
            add(&spec.labels, "secret", &spec.name, change, false);
        }
        for config in &view.configs {
            let change = Change::RemoveConfig(id_bytes(config.id));
            let spec = &config.spec;
            add(&spec.labels, "config", &spec.name, change, false);
        }
        let stays = view
            .services
            .iter()
            .filter(|s| of(&s.spec.labels).is_none());
        let stays = stays.flat_map(|service| &service.spec.task.networks);
        let used: BTreeSet<NetworkId> = stays.map(|used| used.network).collect();
        for network in &view.networks {
            let change = Change::RemoveNetwork(id_bytes(network.id));
            let spec = &network.spec;
            let patient = !used.contains(&network.id);
            add(&spec.labels, "network", &spec.name, change, patient);
        }
        let services = view.services.iter();
        let services = services.filter(|service| of(&service.spec.labels).is_some());
        Removal {
            objects,
            services: services.map(|service| id_bytes(service.id)).collect(),
            failed: BTreeSet::new(),
            stopping: None,
        }
    }

    async fn run(&mut self, client: &Client, detach: bool) -> Result<()> {
        let mut held_until = None;
        while let Some(object) = self.objects.front() {
            let (kind, name) = (object.kind, object.name);
            say!("Removing {kind} {name}")?;
            let held_until = match object.patient {
                true => *held_until.get_or_insert_with(|| Instant::now() + MOST_HELD),
                false => Instant::now(),
            };
            if let Err(error) = remove(client, &object.change, held_until).await {
                note!("skep: failed to remove {kind} {name}: {error:#}");
                self.failed.insert(object.stack);
            }
            self.objects.pop_front();
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
        let again: BTreeSet<&str> = self.objects.iter().map(|object| object.stack).collect();
        if !again.is_empty() {
            let stacks = Vec::from_iter(again).join(" ");
            let objects = self.objects.iter();
            let objects = objects.map(|object| format!("{} {}", object.kind, object.name));
            parts.push(format!(
                "not removed: {}; use `skep stack rm {stacks}` again",
                some(&Vec::from_iter(objects))
            ));
        }
        let kept = self.objects.iter().filter(|object| object.kind == SERVICE);
        let any = kept.count() < self.services.len();
        match self.stopping.as_deref().and_then(count) {
            Some(count) => parts.push(format!("{count} not stopped, which goes on in background")),
            None if any => parts.push("tasks go on stopping in background".to_owned()),
            None => {}
        }
        parts.join("; ")
    }
}

/// Removes one object; one that is held is tried until then.
async fn remove(client: &Client, change: &Change, held_until: Instant) -> Result<()> {
    let mut patience = Patience::default();
    loop {
        let Err(error) = client.change(change.clone()).await else {
            return Ok(());
        };
        match refusal(&error) {
            // Somebody else was faster, which comes to the same.
            Some(Code::NotFound) => return Ok(()),
            Some(Code::FailedPrecondition) if Instant::now() < held_until => patience.renew(),
            _ => patience.bear(error)?,
        }
        tokio::time::sleep(PERIOD).await;
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
    use crate::testing;
    use expect_test::expect;
    use skep_types::STACK_LABEL;
    use skep_types::{Meta, Network, NetworkAttachmentSpec, NetworkSpec, Service, TaskState};
    use std::collections::BTreeMap;
    use std::sync::Arc;

    fn labelled(labels: &mut Labels, stack: &str) {
        labels.insert(STACK_LABEL.into(), stack.into());
    }

    /// Two stacks with a network each, and a service of none that uses the second one.
    fn swarm() -> View {
        let mut services: Vec<Service> = (1..)
            .zip(["vote_web", "shop_web", "vote_db", "other"])
            .map(|(n, name)| testing::service(n, name, 1))
            .collect();
        for (service, stack) in services.iter_mut().zip(["vote", "shop", "vote"]) {
            labelled(&mut service.spec.labels, stack);
        }
        let shop = NetworkId::from_bits(2);
        Arc::make_mut(&mut services[3].spec.task).networks = vec![NetworkAttachmentSpec {
            network: shop,
            aliases: Vec::new(),
        }];
        let mut view = testing::swarm(services);
        for (n, stack) in [(1, "vote"), (2, "shop"), (3, "none")] {
            let mut network = Network {
                id: NetworkId::from_bits(n),
                meta: Meta::default(),
                spec: NetworkSpec {
                    name: format!("{stack}_default"),
                    ..NetworkSpec::default()
                },
                subnets: Vec::new(),
                blocks: BTreeMap::new(),
            };
            labelled(&mut network.spec.labels, stack);
            view.networks.push(network);
        }
        view
    }

    fn told(removal: &Removal<'_>) -> String {
        let objects = removal.objects.iter();
        let objects = objects.map(|o| format!("{} {} {}", o.kind, o.name, o.patient));
        Vec::from_iter(objects).join(", ")
    }

    #[test]
    fn networks_go_last_and_are_not_waited_for_where_others_use_them() {
        let view = swarm();
        let stacks = ["vote".to_owned(), "shop".to_owned()];
        let removal = Removal::of(&view, &stacks);
        expect!["service vote_web false, service shop_web false, service vote_db false, network vote_default true, network shop_default false"].assert_eq(&told(&removal));
        assert_eq!(removal.services.len(), 3);
        expect!["service vote_web false, service vote_db false, network vote_default true"]
            .assert_eq(&told(&Removal::of(&view, &stacks[..1])));
    }

    #[test]
    fn who_leaves_is_told_what_is_not_done() {
        let mut view = swarm();
        for (slot, node) in [(1, 1), (2, 1), (3, 1), (4, 2), (5, 2)] {
            view.add(0, slot, node, TaskState::Running);
        }
        let stacks = ["vote".to_owned(), "shop".to_owned()];
        let mut removal = Removal::of(&view, &stacks);
        let mut said = vec![removal.left()];
        removal.objects.pop_front();
        said.push(removal.left());
        removal.objects.drain(..3);
        said.push(removal.left());
        removal.objects.clear();
        said.push(removal.left());
        removal.stopping = Some(stopping(&view));
        said.push(removal.left());
        removal.stopping = Some(vec!["vote_web.1".to_owned()]);
        said.push(removal.left());
        expect![[r#"
            not removed: service vote_web, service shop_web, service vote_db and 2 more; use `skep stack rm shop vote` again
            not removed: service shop_web, service vote_db, network vote_default and 1 more; use `skep stack rm shop vote` again; tasks go on stopping in background
            not removed: network shop_default; use `skep stack rm shop` again; tasks go on stopping in background
            tasks go on stopping in background
            5 tasks (vote_web.1, vote_web.2, vote_web.3 and 2 more) have not stopped, which goes on in background
            task vote_web.1 has not stopped, which goes on in background"#]].assert_eq(&said.join("\n"));
    }
}

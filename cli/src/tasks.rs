//! Lists of tasks, as `service ps`, `stack ps` and `node ps` show them.

use crate::filter::Filters;
use crate::human::{ago, capital, ellipsis, id};
use crate::output::now_ms;
use crate::style::Tone;
use crate::table::{FormatArgs, Table};
use crate::view::{View, natural};
use anyhow::Result;
use skep_types::{Cause, PortConfig, PublishMode, Task, TaskState};

/// Filters that lists of tasks have.
pub const FILTERS: &[&str] = &["id", "name", "node", "desired-state", "label"];
/// Characters of an error, unless it is to be whole.
const ERROR_WIDTH: usize = 30;

/// Flags of a list of tasks.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct PsArgs {
    #[command(flatten)]
    pub form: FormatArgs,
    /// Do not cut ids, images and errors
    #[arg(long)]
    pub no_trunc: bool,
    /// Show ids instead of names
    #[arg(long)]
    pub no_resolve: bool,
}

/// Prints those of the tasks that pass the filters: by service and slot, newest
/// first within one.
///
/// # Errors
/// As [`Table::print`].
pub fn print(view: &View, tasks: Vec<&Task>, filters: &Filters, args: &PsArgs) -> Result<()> {
    table(view, tasks, filters, args, now_ms()).print(&args.form)
}

fn table(view: &View, tasks: Vec<&Task>, filters: &Filters, args: &PsArgs, now: u64) -> Table {
    let mut table = Table::new(
        &[
            ("ID", "ID"),
            ("NAME", "Name"),
            ("IMAGE", "Image"),
            ("NODE", "Node"),
            ("DESIRED STATE", "DesiredState"),
            ("CURRENT STATE", "CurrentState"),
            ("ERROR", "Error"),
            ("PORTS", "Ports"),
        ],
        "ID",
    )
    .toned(&[("CurrentState", state_tone), ("Error", |_| Some(Tone::Bad))]);
    let mut tasks: Vec<(String, &Task)> = tasks
        .into_iter()
        .map(|task| (name(task, args), task))
        .collect();
    tasks.sort_by(|(a, x), (b, y)| {
        natural(a, b)
            .then(y.is_live().cmp(&x.is_live()))
            .then(y.meta.created_at.cmp(&x.meta.created_at))
            .then(y.id.cmp(&x.id))
    });
    let mut before = None;
    for (name, task) in tasks {
        let node = task
            .node
            .map_or_else(String::new, |node| match args.no_resolve {
                true => node.to_string(),
                false => view.hostname(node),
            });
        let shown = filters.prefix("id", &task.id.to_string())
            && filters.any("name", |value| name.starts_with(value) || name == value)
            && filters.any("node", |value| {
                node == value
                    || task
                        .node
                        .is_some_and(|node| node.to_string().starts_with(value))
            })
            && filters.exact("desired-state", desired(task))
            && filters.labels("label", &task.spec.container.labels);
        if !shown {
            continue;
        }
        // Older tasks of a position hang below its first.
        let history = before.as_ref() == Some(&name);
        let shown_name = match history {
            true => format!(" \\_ {name}"),
            false => name.clone(),
        };
        before = Some(name);
        table.row([
            (
                "ID",
                id(&task.id.to_string(), args.no_trunc || args.form.quiet),
            ),
            ("Name", shown_name),
            ("Image", image(&task.spec.container.image, args.no_trunc)),
            ("Node", node),
            ("DesiredState", capital(desired(task))),
            ("CurrentState", current(view, task, now)),
            ("Error", error(task, args.no_trunc)),
            ("Ports", host_ports(view, task)),
            ("Cause", task.cause.to_string()),
            (
                "StopCause",
                task.stop_cause.map_or("", Cause::name).to_owned(),
            ),
            ("LocalRestarts", task.status.local.count.to_string()),
            ("Message", task.status.message.clone()),
        ]);
    }
    table
}

/// `service.slot`; `service.node` for tasks of global services.
fn name(task: &Task, args: &PsArgs) -> String {
    if args.no_resolve {
        let slot = match (task.slot.0, task.node) {
            (0, Some(node)) => node.to_string(),
            (slot, _) => slot.to_string(),
        };
        return format!("{}.{slot}", task.service);
    }
    match (task.slot.0, task.node) {
        // A task that waits for its node has a position, though no node yet.
        (0, None) => task.service_name.to_string(),
        _ => task.name(),
    }
}

/// `remove` is a shutdown to users.
fn desired(task: &Task) -> &'static str {
    match task.desired {
        TaskState::Remove => "shutdown",
        state => state.name(),
    }
}

fn current(view: &View, task: &Task, now: u64) -> String {
    let state = capital(task.status.state.name());
    let when = ago(task.status.at.0, now).to_lowercase();
    let lost = task.node.is_some()
        && !task.status.state.is_terminal()
        && !view.nodes.is_empty()
        && !view.is_on_live_node(task);
    let again = match task.status.local.count {
        0 => String::new(),
        1 => " (restarted by its node)".to_owned(),
        count => format!(" (restarted {count} times by its node)"),
    };
    match (lost, task.status.not_ready) {
        // What it said last is not what is: its node is gone.
        (true, _) => format!("{state} {when} (node down)"),
        (false, true) => format!("{state} {when}{again} (not ready)"),
        (false, false) => format!("{state} {when}{again}"),
    }
}

fn state_tone(current: &str) -> Option<Tone> {
    let word = current.split(' ').next().unwrap_or_default();
    Some(match word {
        "Failed" | "Rejected" | "Orphaned" => Tone::Bad,
        _ if current.ends_with("(node down)") => Tone::Bad,
        "Running" if current.ends_with("(not ready)") => Tone::Busy,
        "Running" => Tone::Good,
        "Complete" | "Shutdown" | "Remove" => Tone::Faint,
        _ => Tone::Busy,
    })
}

fn error(task: &Task, whole: bool) -> String {
    let status = &task.status;
    let ended_badly = matches!(status.state, TaskState::Failed | TaskState::Rejected);
    let text = match (status.error.as_str(), status.exit_code) {
        ("", Some(code)) if ended_badly => format!("exit code {code}"),
        ("", _) if ended_badly && status.oom_killed => "out of memory".to_owned(),
        ("", _) => return String::new(),
        (error, _) => error.split_whitespace().collect::<Vec<_>>().join(" "),
    };
    match whole {
        true => format!("\"{text}\""),
        false => format!("\"{}\"", ellipsis(&text, ERROR_WIDTH)),
    }
}

/// An image without its digest, unless it is to be whole.
pub fn image(image: &str, whole: bool) -> String {
    match image.split_once('@') {
        Some((name, _)) if !whole && !name.is_empty() => name.to_owned(),
        _ => image.to_owned(),
    }
}

/// Ports published on the task's own node.
fn host_ports(view: &View, task: &Task) -> String {
    let service = view
        .services
        .iter()
        .find(|service| service.id == task.service);
    match service {
        Some(service) if view.runs(task) => ports(&service.endpoint.ports, PublishMode::Host),
        _ => String::new(),
    }
}

/// Published ports of one kind: `*:8080->80/tcp`, consecutive ones as a range.
pub fn ports(ports: &[PortConfig], mode: PublishMode) -> String {
    let mut ports: Vec<&PortConfig> = ports.iter().filter(|port| port.mode == mode).collect();
    ports.sort_by_key(|port| (port.protocol, port.published, port.target));
    let mut runs: Vec<(&PortConfig, &PortConfig)> = Vec::new();
    for port in ports {
        match runs.last_mut() {
            Some((_, last))
                if last.protocol == port.protocol
                    && last.published.checked_add(1) == Some(port.published)
                    && last.target.checked_add(1) == Some(port.target) =>
            {
                *last = port;
            }
            _ => runs.push((port, port)),
        }
    }
    let span = |first: u16, last: u16| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    let texts = runs.into_iter().map(|(first, last)| {
        format!(
            "*:{}->{}/{}",
            span(first.published, last.published),
            span(first.target, last.target),
            first.protocol
        )
    });
    texts.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::style::Style;
    use crate::testing::{service, swarm};
    use expect_test::{Expect, expect};
    use skep_types::{NodeId, NodeState, Protocol, Timestamp};

    fn check(view: &View, args: &PsArgs, expected: Expect) {
        let table = table(
            view,
            view.tasks.iter().collect(),
            &Filters::default(),
            args,
            181_000,
        );
        expected.assert_eq(
            &table
                .render(&args.form, Style::default())
                .unwrap_or_else(|error| format!("{error:#}")),
        );
    }

    fn failing() -> View {
        let mut web = service(1, "web", 2);
        std::sync::Arc::make_mut(&mut web.spec.task).container.image =
            "web:1@sha256:abc".to_owned();
        let mut view = swarm(vec![web]);
        let failed = view.add(0, 1, 2, TaskState::Rejected);
        failed.status.error = "no such image: web:1 was not found in the registry".to_owned();
        view.add(0, 1, 1, TaskState::Running);
        view.add(0, 2, 0, TaskState::Pending).status.at = Timestamp(180_000);
        view
    }

    #[test]
    fn history_hangs_below_and_says_why() {
        check(
            &failing(),
            &PsArgs::default(),
            expect![[r#"
                ID             NAME        IMAGE     NODE      DESIRED STATE   CURRENT STATE            ERROR                              PORTS
                000000000000   web.1       web:1     one       Running         Running 3 minutes ago                                       
                000000000000    \_ web.1   web:1     two       Shutdown        Rejected 3 minutes ago   "no such image: web:1 was not …"   
                000000000000   web.2       web:1               Running         Pending 1 second ago                                        
            "#]],
        );
    }

    #[test]
    fn nothing_is_cut_when_asked_not_to() {
        let args = PsArgs {
            form: FormatArgs {
                format: Some("{{.Image}} {{.Error}}".to_owned()),
                quiet: false,
            },
            no_trunc: true,
            ..PsArgs::default()
        };
        check(
            &failing(),
            &args,
            expect![[r#"
                web:1@sha256:abc 
                web:1@sha256:abc "no such image: web:1 was not found in the registry"
                web:1@sha256:abc 
            "#]],
        );
    }

    #[test]
    fn a_crash_loop_shows_and_json_says_why_tasks_came_and_went() {
        let mut view = swarm(vec![service(1, "web", 1)]);
        view.add(0, 1, 1, TaskState::Shutdown).stop_cause = Some(Cause::Drained);
        let held = view.add(0, 1, 0, TaskState::Pending);
        held.desired = TaskState::Ready;
        held.cause = Cause::Restarted;
        held.status.error =
            "crash loop: failed 3 times in a row, starts again at 14:03:20 UTC; last: exit code 1"
                .to_owned();
        let form = |format: &str| PsArgs {
            form: FormatArgs {
                format: Some(format.to_owned()),
                quiet: false,
            },
            no_trunc: true,
            ..PsArgs::default()
        };
        check(
            &view,
            &form("{{.CurrentState}}: {{.Error}}"),
            expect![[r#"
                Pending 3 minutes ago: "crash loop: failed 3 times in a row, starts again at 14:03:20 UTC; last: exit code 1"
                Shutdown 3 minutes ago: 
            "#]],
        );
        check(
            &view,
            &form("{{.Cause}} {{.StopCause}}"),
            expect![[r#"
                restarted 
                created drained
            "#]],
        );
    }

    #[test]
    fn what_ran_on_a_node_that_is_down_is_marked() {
        let mut view = failing();
        if let Some(node) = view.nodes.get_mut(&NodeId::from_bits(1)) {
            node.node.status.state = NodeState::Down;
        }
        let text = current(&view, &view.tasks[1], 181_000);
        assert_eq!(text, "Running 3 minutes ago (node down)");
        assert_eq!(view.replicas(&view.services[0]), (0, 2));
    }

    #[test]
    fn what_a_node_started_again_by_itself_is_told() {
        let mut view = failing();
        view.tasks[1].status.local.count = 1;
        let text = current(&view, &view.tasks[1], 181_000);
        assert_eq!(text, "Running 3 minutes ago (restarted by its node)");
        view.tasks[1].status.local.count = 2;
        view.tasks[1].status.not_ready = true;
        let text = current(&view, &view.tasks[1], 181_000);
        assert_eq!(
            text,
            "Running 3 minutes ago (restarted 2 times by its node) (not ready)"
        );
    }

    #[test]
    fn consecutive_ports_are_a_range() {
        let port = |published, target, protocol, mode| PortConfig {
            protocol,
            target,
            published,
            mode,
            masquerade: false,
        };
        let all = [
            port(8001, 81, Protocol::Tcp, PublishMode::Ingress),
            port(8000, 80, Protocol::Tcp, PublishMode::Ingress),
            port(53, 53, Protocol::Udp, PublishMode::Ingress),
            port(22, 22, Protocol::Tcp, PublishMode::Host),
        ];
        assert_eq!(
            ports(&all, PublishMode::Ingress),
            "*:8000-8001->80-81/tcp, *:53->53/udp"
        );
        assert_eq!(ports(&all, PublishMode::Host), "*:22->22/tcp");
    }
}

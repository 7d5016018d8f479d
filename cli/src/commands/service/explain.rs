//! `skep service explain`.

use crate::client::Host;
use crate::explain;
use crate::find;
use crate::json::update_state;
use crate::output::say;
use crate::table::{FormatArgs, Table};
use crate::view::{View, natural};
use anyhow::Result;
use skep_proto::pb::read_request::Explain;
use skep_proto::{id, id_bytes, pb};
use skep_types::{NodeId, Service, TaskState};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:\n  skep service explain vote_vote")]
pub struct Args {
    #[command(flatten)]
    form: FormatArgs,
    /// Name or id
    service: String,
}

/// Explains: what of the service does not run, and what each node says to one more task.
pub async fn run(args: Args, host: &Host) -> Result<()> {
    let client = host.connect().await?;
    let services = super::read(&client).await?.services;
    let service = find::service(&services, &args.service)?;
    let request = pb::ReadRequest {
        services: true,
        nodes: true,
        tasks: true,
        task_services: vec![id_bytes(service.id)],
        explain: Some(Explain::ExplainService(id_bytes(service.id))),
        ..Default::default()
    };
    let view = client.read(request).await?;
    // Of the same moment as all else.
    let service = find::service(&view.services, &service.id.to_string())?;
    if args.form.format.is_none() && !args.form.quiet {
        for line in story(&view, service)? {
            say!("{line}")?;
        }
        say!("")?;
    }
    table(&view)?.print(&args.form)
}

/// What runs, and what does not and why.
fn story(view: &View, service: &Service) -> Result<Vec<String>> {
    let name = &service.spec.name;
    let (running, wanted) = view.replicas(service);
    let mut lines = vec![match service.job.newest() {
        _ if !service.spec.mode.is_job() => format!("{name}: {running} of {wanted} tasks run"),
        None => format!("{name}: a job that has not run yet"),
        Some(run) => match run.end {
            None => format!("{name}: run {} is under way", run.number),
            Some(end) => format!(
                "{name}: run {} has ended: {}; nothing is to run",
                run.number, end.outcome
            ),
        },
    }];
    let mut waiting: Vec<(String, String)> = Vec::new();
    for task in view.tasks.iter().filter(|task| task.is_live()) {
        if task.status.state == TaskState::Running && view.runs(task) {
            continue;
        }
        let why = match (&*task.status.error, &*task.status.message) {
            _ if view.is_away(task) => "it is replaced, unless its node is back before",
            ("", "") => "on its way",
            ("", message) => message,
            (error, _) => error,
        };
        let state = match task.status.state {
            TaskState::Running if view.is_away(task) => "running (node down)".to_owned(),
            TaskState::Running => "running (not ready)".to_owned(),
            state => state.to_string(),
        };
        waiting.push((task.name(), format!("{state}: {why}")));
    }
    for vacancy in &view.explained.vacancies {
        let place = match vacancy.slot {
            0 => {
                let node: NodeId = id(&vacancy.node, "explained.vacancies")?;
                format!("{name} on {}", view.hostname(node))
            }
            slot => format!("{name}.{slot}"),
        };
        waiting.push((place, format!("stays empty: {}", vacancy.why)));
    }
    waiting.sort_by(|(a, _), (b, _)| natural(a, b));
    lines.extend(
        waiting
            .iter()
            .map(|(place, why)| format!("  {place} {why}")),
    );
    if let Some(status) = &service.update_status
        && status.completed_at.is_none()
    {
        let state = update_state(status.state);
        lines.push(format!("  update {state}: {}", status.message));
    }
    Ok(lines)
}

fn table(view: &View) -> Result<Table> {
    let mut table = Table::new(
        &[
            ("NODE", "Node"),
            ("VERDICT", "Verdict"),
            ("TASKS", "Tasks"),
            ("WHY", "Why"),
        ],
        "Node",
    );
    let uses = explain::uses(view)?;
    for verdict in &view.explained.verdicts {
        let node: NodeId = id(&verdict.node, "explained.verdicts")?;
        let mut why = verdict.why.clone();
        if verdict.fit() != pb::Fit::Unfit {
            why.extend(uses.get(&node).cloned());
        }
        table.row([
            ("Node", view.hostname(node)),
            ("NodeID", node.to_string()),
            ("Verdict", explain::verdict(verdict).to_owned()),
            ("Tasks", verdict.tasks.to_string()),
            ("Why", why.join("; ")),
        ]);
    }
    Ok(table)
}

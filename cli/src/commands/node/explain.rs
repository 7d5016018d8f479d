//! `skep node explain`.

use crate::client::Host;
use crate::explain;
use crate::find;
use crate::json;
use crate::output::say;
use crate::table::{FormatArgs, Table};
use crate::view::{View, natural};
use anyhow::Result;
use skep_proto::pb::read_request::Explain;
use skep_proto::{id, id_bytes, pb};
use skep_types::{NodeId, ServiceId};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:\n  skep node explain h2")]
pub struct Args {
    #[command(flatten)]
    form: FormatArgs,
    /// Host name, id or `self`
    #[arg(default_value = "self")]
    node: String,
}

/// Explains: what the node has given away, and whether it would take one more task of
/// each service.
pub async fn run(args: Args, host: &Host) -> Result<()> {
    let client = host.connect().await?;
    let this = client.self_id().await?;
    let nodes = super::read(&client).await?.nodes;
    let node = find::node(nodes.values(), &args.node, this)?.node.id;
    let request = pb::ReadRequest {
        services: true,
        nodes: true,
        explain: Some(Explain::ExplainNode(id_bytes(node))),
        ..Default::default()
    };
    let view = client.read(request).await?;
    if args.form.format.is_none() && !args.form.quiet {
        for line in story(&view, node)? {
            say!("{line}")?;
        }
        say!("")?;
    }
    table(&view)?.print(&args.form)
}

fn story(view: &View, node: NodeId) -> Result<Vec<String>> {
    let Some(entry) = view.nodes.get(&node) else {
        return Ok(vec![format!("node {node} is gone")]);
    };
    let mut lines = vec![format!(
        "{}: {}, {}",
        view.hostname(node),
        json::node_state(entry.node.status.state),
        json::availability(entry.node.spec.availability),
    )];
    let uses = explain::uses(view)?;
    lines.extend(uses.get(&node).map(|given| format!("  {given}")));
    let ports = view.explained.nodes.iter().flat_map(|given| &given.ports);
    let ports: Vec<&str> = ports.map(String::as_str).collect();
    if !ports.is_empty() {
        lines.push(format!("  host ports {}", ports.join(", ")));
    }
    Ok(lines)
}

fn table(view: &View) -> Result<Table> {
    let mut table = Table::new(
        &[
            ("SERVICE", "Service"),
            ("VERDICT", "Verdict"),
            ("TASKS", "Tasks"),
            ("WHY", "Why"),
        ],
        "Service",
    );
    let mut rows = Vec::new();
    for verdict in &view.explained.verdicts {
        let service: ServiceId = id(&verdict.service, "explained.verdicts")?;
        let named = view.services.iter().find(|s| s.id == service);
        let name = named.map_or_else(|| service.to_string(), |s| s.spec.name.clone());
        rows.push((name, service, verdict));
    }
    rows.sort_by(|(a, ..), (b, ..)| natural(a, b));
    for (name, service, verdict) in rows {
        // There is no other node to be the next.
        let fit = match verdict.fit() {
            pb::Fit::Next => "fits",
            _ => explain::verdict(verdict),
        };
        table.row([
            ("Service", name),
            ("ServiceID", service.to_string()),
            ("Verdict", fit.to_owned()),
            ("Tasks", verdict.tasks.to_string()),
            ("Why", verdict.why.join("; ")),
        ]);
    }
    Ok(table)
}

//! `skep node inspect`.

use crate::client::Host;
use crate::explain;
use crate::find;
use crate::human::{binary_size, timestamp};
use crate::json;
use crate::output::say;
use crate::table::print_objects;
use crate::view::NodeView;
use anyhow::Result;
use skep_proto::pb;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:\n  skep node inspect self --pretty")]
pub struct Args {
    /// A template such as `{{.Status.State}}`, or `json`
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    /// Print for people
    #[arg(long, conflicts_with = "format")]
    pretty: bool,
    /// Host name, id or `self`
    #[arg(value_name = "NODE", required = true)]
    nodes: Vec<String>,
}

/// Shows.
pub async fn run(args: Args, host: &Host) -> Result<()> {
    let client = host.connect().await?;
    let this = client.self_id().await?;
    let view = super::read(&client).await?;
    let found = args
        .nodes
        .iter()
        .map(|key| find::node(view.nodes.values(), key, this))
        .collect::<Result<Vec<_>, _>>()?;
    if !args.pretty {
        let objects = found.into_iter().map(json::node).collect();
        return print_objects(objects, args.format.as_deref());
    }
    for entry in found {
        say!("{}", pretty(entry))?;
    }
    Ok(())
}

fn pretty(entry: &NodeView) -> String {
    let node = &entry.node;
    let about = &node.description;
    let mut out = vec![format!("ID:\t\t\t{}", node.id)];
    let mut add = |line: String| out.push(line);
    if !node.spec.labels.is_empty() {
        add("Labels:".to_owned());
        for (key, value) in &node.spec.labels {
            add(format!(" - {key}={value}"));
        }
    }
    add(format!("Hostname:              \t{}", about.hostname));
    add(format!(
        "Joined at:             \t{}",
        timestamp(node.meta.created_at.0)
    ));
    add("Status:".to_owned());
    add(format!(
        " State:\t\t\t{}",
        crate::human::capital(json::node_state(node.status.state))
    ));
    if !node.status.message.is_empty() {
        add(format!(" Message:\t\t{}", node.status.message));
    }
    add(format!(
        " Availability:         \t{}",
        crate::human::capital(json::availability(node.spec.availability))
    ));
    if let Some(at) = node.drained_by() {
        let text = "its tasks are moved until then, what is left stops";
        add(format!(" Drained By:\t\t{} ({text})", timestamp(at.0)));
    }
    if let Some(address) = node.status.address {
        add(format!(" Address:\t\t{address}"));
    }
    if let Some(manager) = &node.manager {
        add("Manager Status:".to_owned());
        add(format!(" Address:\t\t{}", manager.address));
        let reach = match entry.reachability {
            pb::Reachability::Reachable => "Reachable",
            pb::Reachability::Unreachable => "Unreachable",
            pb::Reachability::Unknown => "Unknown",
        };
        add(format!(" Raft Status:\t\t{reach}"));
        add(format!(
            " Leader:\t\t{}",
            if entry.leader { "Yes" } else { "No" }
        ));
    }
    add("Platform:".to_owned());
    add(format!(" Operating System:\t{}", about.platform.os));
    add(format!(" Architecture:\t\t{}", about.platform.architecture));
    add("Resources:".to_owned());
    add(format!(" CPUs:\t\t\t{}", about.cpus.0 as f64 / 1e9));
    add(format!(" Memory:\t\t{}", binary_size(about.memory.0)));
    if let Some(kept) = explain::kept(about) {
        add(format!(" Kept For The System:\t{kept}"));
    }
    for (kind, has) in &about.generic {
        add(format!(" Generic:\t\t{kind}={has}"));
    }
    add("Network:".to_owned());
    if let Some(mesh) = node.mesh {
        add(format!(" Mesh Address:\t\t{mesh}"));
    }
    if let Some(path) = about.data_path {
        add(format!(" WireGuard Endpoint:\t{path}"));
    }
    add(format!("Engine Version:\t\t{}", about.engine_version));
    if !about.engine_labels.is_empty() {
        add("Engine Labels:".to_owned());
        for (key, value) in &about.engine_labels {
            add(format!(" - {key}={value}"));
        }
    }
    out.push(String::new());
    out.join("\n")
}

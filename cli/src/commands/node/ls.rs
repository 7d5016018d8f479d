//! `skep node ls`.

use crate::client::Host;
use crate::filter::FilterArgs;
use crate::human::capital;
use crate::json;
use crate::style::Tone;
use crate::table::{FormatArgs, Table};
use crate::view::natural;
use anyhow::Result;
use skep_proto::pb;
use skep_types::{Node, NodeTls};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(
    visible_alias = "list",
    before_help = "Example:\n  skep node ls --filter role=manager"
)]
pub struct Args {
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    form: FormatArgs,
}

/// Lists.
pub async fn run(args: Args, host: &Host) -> Result<()> {
    let filters = args
        .filter
        .read(&["id", "name", "role", "membership", "label", "node.label"])?;
    let client = host.connect().await?;
    let this = client.self_id().await?;
    let request = pb::ReadRequest {
        nodes: true,
        cluster: true,
        ..Default::default()
    };
    let view = client.read(request).await?;
    let cluster = view.cluster.clone().unwrap_or_default();
    let mut nodes: Vec<_> = view.nodes.values().collect();
    nodes.sort_by(|a, b| {
        natural(&a.node.description.hostname, &b.node.description.hostname)
            .then(a.node.id.cmp(&b.node.id))
    });
    let mut table = Table::new(
        &[
            ("ID", "Marked"),
            ("HOSTNAME", "Hostname"),
            ("STATUS", "Status"),
            ("AVAILABILITY", "Availability"),
            ("MANAGER STATUS", "ManagerStatus"),
            ("ENGINE VERSION", "EngineVersion"),
        ],
        "ID",
    )
    .toned(&[
        ("Status", status_tone),
        ("Availability", availability_tone),
        ("ManagerStatus", manager_tone),
    ]);
    for entry in nodes {
        let node = &entry.node;
        let id = node.id.to_string();
        let about = &node.description;
        let shown = filters.prefix("id", &id)
            && filters.prefix("name", &about.hostname)
            && filters.exact("role", json::role(node.role))
            && filters.exact("membership", "accepted")
            && filters.labels("label", &about.engine_labels)
            && filters.labels("node.label", &node.spec.labels);
        if !shown {
            continue;
        }
        let is_self = this == Some(node.id);
        let manager = match (&node.manager, entry.leader, entry.reachability) {
            (None, ..) => "",
            (_, true, _) => "Leader",
            (_, _, pb::Reachability::Reachable) => "Reachable",
            (_, _, pb::Reachability::Unreachable) => "Unreachable",
            (_, _, pb::Reachability::Unknown) => "Unknown",
        };
        table.row([
            ("Marked", format!("{id} {}", if is_self { "*" } else { "" })),
            ("ID", id),
            ("Self", is_self.to_string()),
            ("Hostname", about.hostname.clone()),
            ("Status", capital(json::node_state(node.status.state))),
            (
                "Availability",
                capital(json::availability(node.spec.availability)),
            ),
            ("ManagerStatus", manager.to_owned()),
            ("EngineVersion", about.engine_version.clone()),
            ("TLSStatus", tls_status(node, &cluster).to_owned()),
        ]);
    }
    table.print(&args.form)
}

fn status_tone(status: &str) -> Option<Tone> {
    Some(match status {
        "Ready" => Tone::Good,
        "Down" => Tone::Bad,
        _ => Tone::Busy,
    })
}

fn availability_tone(availability: &str) -> Option<Tone> {
    (availability != "Active").then_some(Tone::Busy)
}

fn manager_tone(status: &str) -> Option<Tone> {
    (status == "Unreachable").then_some(Tone::Bad)
}

/// Whether a node's certificate and the roots it trusts are those it should
/// have.
fn tls_status(node: &Node, cluster: &pb::ClusterView) -> &'static str {
    let tls = &node.description.tls;
    if *tls == NodeTls::default() {
        "Unknown"
    } else if tls.issuer[..] == cluster.desired_root[..]
        && tls.trusted[..] == cluster.trusted_roots[..]
    {
        "Ready"
    } else {
        "Needs Rotation"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_needs_rotation_until_it_has_followed_in_all() {
        let cluster = pb::ClusterView {
            desired_root: vec![2; 32].into(),
            trusted_roots: vec![3; 32].into(),
            ..pb::ClusterView::default()
        };
        let mut node = crate::testing::node(1, "n1").node;
        let mut status = |issuer, trusted| {
            node.description.tls.issuer = [issuer; 32];
            node.description.tls.trusted = [trusted; 32];
            tls_status(&node, &cluster)
        };
        assert_eq!(status(0, 0), "Unknown");
        assert_eq!(status(1, 3), "Needs Rotation");
        assert_eq!(status(2, 4), "Needs Rotation");
        assert_eq!(status(2, 3), "Ready");
    }
}

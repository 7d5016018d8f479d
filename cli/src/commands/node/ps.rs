//! `skep node ps`.

use crate::client::Host;
use crate::filter::FilterArgs;
use crate::find;
use crate::tasks::{self, PsArgs};
use anyhow::Result;
use skep_proto::pb;
use std::collections::BTreeSet;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:\n  skep node ps self --filter desired-state=running")]
pub struct Args {
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    form: PsArgs,
    /// Host name, id or `self`
    #[arg(value_name = "NODE", default_value = "self")]
    nodes: Vec<String>,
}

/// Lists.
pub async fn run(args: Args, host: &Host) -> Result<()> {
    let filters = args.filter.read(tasks::FILTERS)?;
    let client = host.connect().await?;
    let this = client.self_id().await?;
    let view = client
        .read(pb::ReadRequest {
            nodes: true,
            tasks: true,
            ..Default::default()
        })
        .await?;
    let wanted = args
        .nodes
        .iter()
        .map(|key| find::node(view.nodes.values(), key, this).map(|entry| entry.node.id))
        .collect::<Result<BTreeSet<_>, _>>()?;
    let here = |task: &&skep_types::Task| task.node.is_some_and(|node| wanted.contains(&node));
    let tasks = view.tasks.iter().filter(here).collect();
    tasks::print(&view, tasks, &filters, &args.form)
}

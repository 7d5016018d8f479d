//! `skep stack ps`.

use super::belongs;
use crate::client::Host;
use crate::filter::FilterArgs;
use crate::tasks::{self, PsArgs};
use anyhow::{Result, bail};
use skep_proto::pb;
use std::collections::BTreeSet;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:\n  skep stack ps vote --filter desired-state=running")]
pub struct Args {
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    form: PsArgs,
    /// Name of the stack
    stack: String,
}

/// Lists.
pub async fn run(args: Args, host: &Host) -> Result<()> {
    let filters = args.filter.read(tasks::FILTERS)?;
    let client = host.connect().await?;
    let view = client
        .read(pb::ReadRequest {
            services: true,
            tasks: true,
            nodes: true,
            ..Default::default()
        })
        .await?;
    let mine: BTreeSet<_> = view
        .services
        .iter()
        .filter(|service| belongs(&service.spec.labels, &args.stack))
        .map(|service| service.id)
        .collect();
    let tasks: Vec<_> = view
        .tasks
        .iter()
        .filter(|task| mine.contains(&task.service))
        .collect();
    if tasks.is_empty() {
        bail!("nothing found in stack: {}", args.stack);
    }
    tasks::print(&view, tasks, &filters, &args.form)
}

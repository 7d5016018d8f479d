//! `skep stack services`.

use super::belongs;
use crate::client::Host;
use crate::commands::service::services_table;
use crate::filter::FilterArgs;
use crate::output::note;
use crate::table::FormatArgs;
use anyhow::Result;
use skep_proto::pb;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:\n  skep stack services vote")]
pub struct Args {
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    form: FormatArgs,
    /// Name of the stack
    stack: String,
}

/// Lists.
pub async fn run(args: Args, host: &Host) -> Result<()> {
    let filters = args.filter.read(&["id", "name", "label", "mode"])?;
    let client = host.connect().await?;
    let view = client
        .read(pb::ReadRequest {
            services: true,
            tasks: true,
            nodes: true,
            ..Default::default()
        })
        .await?;
    let mut mine = view
        .services
        .iter()
        .filter(|service| belongs(&service.spec.labels, &args.stack))
        .peekable();
    if mine.peek().is_none() {
        note!("Nothing found in stack: {}", args.stack);
        return Ok(());
    }
    services_table(&view, mine, &filters).print(&args.form)
}

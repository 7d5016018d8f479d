//! `skep node rm`.

use crate::client::Host;
use crate::each::each;
use crate::find;
use crate::output::say;
use anyhow::Result;
use skep_proto::pb::change::Change;
use skep_proto::{id_bytes, pb};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(
    visible_alias = "remove",
    before_help = "Example:\n  skep node rm node-4"
)]
pub struct Args {
    /// Also a node that is not down
    #[arg(short, long)]
    force: bool,
    /// Host name or id
    #[arg(value_name = "NODE", required = true)]
    nodes: Vec<String>,
}

/// Removes each.
pub async fn run(args: Args, host: &Host) -> Result<()> {
    let client = &host.connect().await?;
    let view = &super::read(client).await?;
    let this = client.self_id().await?;
    each(&args.nodes, |key| async move {
        let node = find::node(view.nodes.values(), key, this)?.node.id;
        let remove = pb::RemoveNode {
            id: id_bytes(node),
            force: args.force,
        };
        client.change(Change::RemoveNode(remove)).await?;
        say!("{key}")?;
        Ok(())
    })
    .await
}

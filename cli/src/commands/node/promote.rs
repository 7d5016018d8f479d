//! `skep node promote`.

use crate::client::Host;
use crate::each::each;
use crate::output::say;
use anyhow::Result;
use skep_types::Role;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:\n  skep node promote node-2 node-3")]
pub struct Args {
    /// Host name or id
    #[arg(value_name = "NODE", required = true)]
    nodes: Vec<String>,
}

/// Promotes each.
pub async fn run(args: Args, host: &Host) -> Result<()> {
    let client = &host.connect().await?;
    each(&args.nodes, |key| async move {
        let changed = super::edit(client, key, |spec| {
            spec.role = Role::Manager;
            Ok(())
        });
        match changed.await?.1 {
            true => say!("Node {key} promoted to a manager in the swarm.")?,
            false => say!("Node {key} is already a manager.")?,
        }
        Ok(())
    })
    .await
}

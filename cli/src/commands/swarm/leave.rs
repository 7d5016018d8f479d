//! `skep swarm leave`.

use crate::client::Host;
use crate::error::CliError;
use crate::output::say;
use anyhow::Result;
use skep_proto::pb;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:\n  skep swarm leave")]
pub struct Args {
    /// Leave although this node is a manager
    #[arg(short, long)]
    force: bool,
}

/// Leaves.
pub async fn run(args: Args, host: &Host) -> Result<()> {
    let client = host.connect().await?;
    let request = pb::LeaveRequest { force: args.force };
    client
        .node()?
        .leave(request)
        .await
        .map_err(CliError::from)?;
    say!("Node left the swarm.")?;
    Ok(())
}

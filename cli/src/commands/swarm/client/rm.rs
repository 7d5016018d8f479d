//! `skep swarm client rm`.

use crate::client::Host;
use crate::each::each;
use crate::output::say;
use anyhow::Result;
use skep_proto::pb::change::Change;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(
    visible_alias = "remove",
    before_help = "Example:\n  skep swarm client rm alice"
)]
pub struct Args {
    /// Names of clients
    #[arg(value_name = "CLIENT", required = true)]
    clients: Vec<String>,
}

/// Removes each.
pub async fn run(args: Args, host: &Host) -> Result<()> {
    let client = &host.connect().await?;
    each(&args.clients, |name| async move {
        client.change(Change::RemoveClient(name.to_owned())).await?;
        say!("{name}")?;
        Ok(())
    })
    .await
}

//! `skep service rollout pause`.

use crate::client::Host;
use crate::find;
use crate::output::say;
use anyhow::Result;
use skep_proto::id_bytes;
use skep_proto::pb::change::Change;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:\n  skep service rollout pause web")]
pub struct Args {
    /// Name or id
    service: String,
}

/// Halts the update. Tasks that end meanwhile are replaced by what they were.
pub async fn run(args: Args, host: &Host) -> Result<()> {
    let client = host.connect().await?;
    let view = super::super::read(&client).await?;
    let service = find::service(&view.services, &args.service)?;
    let change = Change::PauseUpdate(id_bytes(service.id));
    client.change_as_it_is(change).await?;
    say!("{}", args.service)?;
    Ok(())
}

//! `skep service trigger`.

use super::WaitArgs;
use crate::client::Host;
use crate::find;
use crate::output::say;
use crate::progress::{Waiting, wait};
use anyhow::Result;
use skep_proto::id_bytes;
use skep_proto::pb::change::Change;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:\n  skep service trigger backup")]
pub struct Args {
    #[command(flatten)]
    wait: WaitArgs,
    /// Name or id of a job
    service: String,
}

/// Opens a run and waits until it is over.
pub async fn run(args: Args, host: &Host) -> Result<()> {
    let client = host.connect().await?;
    let view = super::read(&client).await?;
    let service = find::service(&view.services, &args.service)?;
    let change = Change::TriggerJob(id_bytes(service.id));
    client.change_as_it_is(change).await?;
    say!("{}", args.service)?;
    if args.wait.detach {
        return Ok(());
    }
    let how = Waiting {
        quiet: args.wait.quiet,
        run: true,
        ..Waiting::default()
    };
    wait(&client, &[(service.id, service.spec.name.clone())], how).await
}

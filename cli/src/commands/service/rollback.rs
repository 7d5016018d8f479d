//! `skep service rollback`.

use super::WaitArgs;
use crate::client::Host;
use crate::find;
use crate::output::say;
use crate::progress::{Waiting, wait};
use anyhow::Result;
use skep_proto::pb::change::Change;
use skep_proto::{id_bytes, pb};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:\n  skep service rollback --to 3 web")]
pub struct Args {
    #[command(flatten)]
    wait: WaitArgs,
    /// Go back to this revision, not to the newest earlier one that did not fail (see
    /// service rollout history)
    #[arg(long, value_name = "REVISION")]
    to: Option<u64>,
    /// Name or id
    service: String,
}

/// Goes back and waits until it is done.
pub async fn run(args: Args, host: &Host) -> Result<()> {
    let client = host.connect().await?;
    let view = super::read(&client).await?;
    let service = find::service(&view.services, &args.service)?;
    let change = match args.to {
        None => Change::RollbackService(id_bytes(service.id)),
        Some(revision) => Change::RollbackTo(pb::RollbackTo {
            id: id_bytes(service.id),
            revision,
        }),
    };
    client.change_as_it_is(change).await?;
    say!("{}", args.service)?;
    if args.wait.detach {
        return Ok(());
    }
    let how = Waiting {
        quiet: args.wait.quiet,
        rollback: true,
        ..Waiting::default()
    };
    wait(&client, &[(service.id, service.spec.name.clone())], how).await
}

//! `skep service rollout resume`.

use super::super::WaitArgs;
use crate::client::Host;
use crate::find;
use crate::output::say;
use crate::progress::{Waiting, wait};
use anyhow::Result;
use skep_proto::id_bytes;
use skep_proto::pb::change::Change;
use skep_types::UpdateState;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:\n  skep service rollout resume web")]
pub struct Args {
    #[command(flatten)]
    wait: WaitArgs,
    /// Name or id
    service: String,
}

/// Lets the update go on and waits until it is done.
pub async fn run(args: Args, host: &Host) -> Result<()> {
    let client = host.connect().await?;
    let view = super::super::read(&client).await?;
    let service = find::service(&view.services, &args.service)?;
    let change = Change::ResumeUpdate(id_bytes(service.id));
    client.change_as_it_is(change).await?;
    say!("{}", args.service)?;
    if args.wait.detach {
        return Ok(());
    }
    let status = service.update_status.as_ref();
    let how = Waiting {
        quiet: args.wait.quiet,
        rollback: status.is_some_and(|status| status.state == UpdateState::RollbackPaused),
        ..Waiting::default()
    };
    wait(&client, &[(service.id, service.spec.name.clone())], how).await
}

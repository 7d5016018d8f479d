//! `skep service rollout resume`.

use super::super::WaitArgs;
use crate::client::Host;
use crate::progress::Waiting;
use anyhow::Result;
use skep_proto::id_bytes;
use skep_proto::pb::change::Change;
use skep_types::{Service, UpdateState};

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
    let resume = |service: &Service| {
        let status = service.update_status.as_ref();
        let how = Waiting {
            rollback: status.is_some_and(|status| status.state == UpdateState::RollbackPaused),
            ..Waiting::default()
        };
        (Change::ResumeUpdate(id_bytes(service.id)), how)
    };
    super::super::ask(host, &args.service, args.wait, resume).await
}

//! `skep service rollback`.

use super::WaitArgs;
use crate::client::Host;
use crate::progress::Waiting;
use anyhow::Result;
use skep_proto::pb::change::Change;
use skep_proto::{id_bytes, pb};
use skep_types::Service;

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
    let back = |service: &Service| {
        let id = id_bytes(service.id);
        let change = match args.to {
            None => Change::RollbackService(id),
            Some(revision) => Change::RollbackTo(pb::RollbackTo { id, revision }),
        };
        let how = Waiting {
            rollback: true,
            ..Waiting::default()
        };
        (change, how)
    };
    super::ask(host, &args.service, args.wait, back).await
}

//! `skep service trigger`.

use super::WaitArgs;
use crate::client::Host;
use crate::progress::Waiting;
use anyhow::Result;
use skep_proto::id_bytes;
use skep_proto::pb::change::Change;
use skep_types::Service;

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
    let open = |service: &Service| {
        let how = Waiting {
            run: true,
            ..Waiting::default()
        };
        (Change::TriggerJob(id_bytes(service.id)), how)
    };
    super::ask(host, &args.service, args.wait, open).await
}

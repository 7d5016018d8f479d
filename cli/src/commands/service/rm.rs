//! `skep service rm`.

use crate::client::Host;
use crate::error::CliError;
use crate::find;
use crate::output::{note, say};
use anyhow::Result;
use skep_proto::id_bytes;
use skep_proto::pb::change::Change;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(
    visible_alias = "remove",
    before_help = "Example:\n  skep service rm web"
)]
pub struct Args {
    /// Name or id
    #[arg(value_name = "SERVICE", required = true)]
    services: Vec<String>,
}

/// Removes each.
pub async fn run(args: Args, host: &Host) -> Result<()> {
    let client = host.connect().await?;
    let view = super::read(&client).await?;
    let mut failed = false;
    for key in &args.services {
        let removed = match find::service(&view.services, key) {
            Ok(service) => {
                client
                    .change(Change::RemoveService(id_bytes(service.id)))
                    .await
            }
            Err(error) => Err(error.into()),
        };
        match removed {
            Ok(_) => say!("{key}")?,
            Err(error) => {
                note!("skep: {error:#}");
                failed = true;
            }
        }
    }
    match failed {
        true => Err(CliError::Reported.into()),
        false => Ok(()),
    }
}

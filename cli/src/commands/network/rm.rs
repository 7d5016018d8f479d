//! `skep network rm`.

use crate::client::Host;
use crate::error::CliError;
use crate::find::find;
use crate::output::{note, say};
use anyhow::Result;
use skep_proto::id_bytes;
use skep_proto::pb::change::Change;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(
    visible_alias = "remove",
    before_help = "Example:\n  skep network rm front"
)]
pub struct Args {
    /// Name or id
    #[arg(value_name = "NETWORK", required = true)]
    networks: Vec<String>,
}

/// Removes each.
pub async fn run(args: Args, host: &Host) -> Result<()> {
    let client = host.connect().await?;
    let view = super::read(&client).await?;
    let mut failed = false;
    for key in &args.networks {
        let found = find("network", key, &view.networks, |network| {
            (network.id.to_string(), &network.spec.name)
        });
        let removed = match found {
            Ok(network) => {
                client
                    .change(Change::RemoveNetwork(id_bytes(network.id)))
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

//! `skep config rm`.

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
    before_help = "Example:\n  skep config rm site"
)]
pub struct Args {
    /// Name or id
    #[arg(value_name = "CONFIG", required = true)]
    configs: Vec<String>,
}

/// Removes each.
pub async fn run(args: Args, host: &Host) -> Result<()> {
    let client = host.connect().await?;
    let view = super::read(&client).await?;
    let mut failed = false;
    for key in &args.configs {
        let found = find("config", key, &view.configs, |config| {
            (config.id.to_string(), &config.spec.name)
        });
        let removed = match found {
            Ok(config) => {
                client
                    .change(Change::RemoveConfig(id_bytes(config.id)))
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

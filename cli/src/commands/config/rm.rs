//! `skep config rm`.

use crate::client::Host;
use crate::each::each;
use crate::find::find;
use crate::output::say;
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
    let client = &host.connect().await?;
    let view = &super::read(client).await?;
    each(&args.configs, |key| async move {
        let found = find("config", key, &view.newest, |config| {
            (config.id.to_string(), &config.spec.name)
        })?;
        client
            .change(Change::RemoveConfig(id_bytes(found.id)))
            .await?;
        say!("{key}")?;
        Ok(())
    })
    .await
}

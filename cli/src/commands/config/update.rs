//! `skep config update`.

use crate::client::Host;
use crate::commands::content::UpdateArgs;
use crate::find::find;
use anyhow::Result;
use skep_proto::id_bytes;
use skep_proto::pb::change::Change;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:\n  skep config update site nginx.conf")]
pub struct Args {
    #[command(flatten)]
    update: UpdateArgs,
    /// Name or id
    config: String,
    /// File with its content from now on; `-` for standard input
    file: String,
}

/// Sends the content, and waits until the services that use it use that.
pub async fn run(args: Args, host: &Host) -> Result<()> {
    let client = host.connect().await?;
    let view = super::read(&client).await?;
    let found = find("config", &args.config, &view.newest, |config| {
        (config.id.to_string(), &config.spec.name)
    })?;
    let (id, version) = (id_bytes(found.id), found.meta.version);
    let spec = (&found.spec).into();
    let update = args.update.of_file(&args.file, id, version, spec)?;
    let change = Change::UpdateConfig(update);
    args.update
        .send(&client, &args.config, change, |container| {
            container
                .configs
                .iter()
                .map(|config| id_bytes(config.id))
                .collect()
        })
        .await
}

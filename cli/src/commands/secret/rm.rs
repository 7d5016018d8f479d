//! `skep secret rm`.

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
    before_help = "Example:\n  skep secret rm db-password"
)]
pub struct Args {
    /// Name or id
    #[arg(value_name = "SECRET", required = true)]
    secrets: Vec<String>,
}

/// Removes each.
pub async fn run(args: Args, host: &Host) -> Result<()> {
    let client = &host.connect().await?;
    let view = &super::read(client).await?;
    each(&args.secrets, |key| async move {
        let found = find("secret", key, &view.newest, |secret| {
            (secret.id.to_string(), &secret.spec.name)
        })?;
        client
            .change(Change::RemoveSecret(id_bytes(found.id)))
            .await?;
        say!("{key}")?;
        Ok(())
    })
    .await
}

//! `skep service rm`.

use crate::client::Host;
use crate::each::each;
use crate::find;
use crate::output::say;
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
    let client = &host.connect().await?;
    let view = &super::read(client).await?;
    each(&args.services, |key| async move {
        let service = find::service(&view.services, key)?;
        client
            .change(Change::RemoveService(id_bytes(service.id)))
            .await?;
        say!("{key}")?;
        Ok(())
    })
    .await
}

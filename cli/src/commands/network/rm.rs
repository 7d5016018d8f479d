//! `skep network rm`.

use crate::client::Host;
use crate::each::each;
use crate::error::refusal;
use crate::find::{FindError, find};
use crate::output::say;
use anyhow::Result;
use skep_proto::id_bytes;
use skep_proto::pb::change::Change;
use tonic::Code;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(
    visible_alias = "remove",
    before_help = "Example:\n  skep network rm front"
)]
pub struct Args {
    /// One that does not exist is no error
    #[arg(short, long)]
    force: bool,
    /// Name or id
    #[arg(value_name = "NETWORK", required = true)]
    networks: Vec<String>,
}

/// Removes each.
pub async fn run(args: Args, host: &Host) -> Result<()> {
    let client = &host.connect().await?;
    let view = &super::read(client).await?;
    each(&args.networks, |key| async move {
        let found = find("network", key, &view.networks, |network| {
            (network.id.to_string(), &network.spec.name)
        });
        let found = match found {
            Err(FindError::NotFound { .. }) if args.force => return Ok(()),
            found => found?,
        };
        let remove = Change::RemoveNetwork(id_bytes(found.id));
        match client.change(remove).await {
            Err(error) if args.force && refusal(&error) == Some(Code::NotFound) => return Ok(()),
            removed => removed?,
        };
        say!("{key}")?;
        Ok(())
    })
    .await
}

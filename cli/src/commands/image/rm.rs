//! `skep image rm`.

use crate::client::Host;
use crate::each::each;
use crate::error::CliError;
use crate::output::say;
use anyhow::Result;
use skep_proto::pb;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(
    visible_alias = "remove",
    before_help = "Example:\n  skep image rm redis:alpine"
)]
pub struct Args {
    /// Also where a container uses it
    #[arg(short, long)]
    force: bool,
    /// Names or ids
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,
}

/// Removes each.
pub async fn run(args: Args, host: &Host) -> Result<()> {
    let client = &host.connect().await?;
    each(&args.images, |reference| async move {
        let request = pb::RemoveImageRequest {
            reference: reference.to_owned(),
            force: args.force,
        };
        let answer = client.node()?.remove_image(request).await;
        say_gone(answer.map_err(CliError::from)?.into_inner())
    })
    .await
}

/// Names what was removed.
pub fn say_gone(gone: pb::RemoveImageResponse) -> Result<()> {
    for name in gone.untagged {
        say!("Untagged: {name}")?;
    }
    for id in gone.deleted {
        say!("Deleted: {id}")?;
    }
    Ok(())
}

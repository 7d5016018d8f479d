//! `skep image prune`.

use crate::client::Host;
use crate::error::CliError;
use crate::prompt;
use anyhow::{Result, bail};
use skep_proto::pb;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:\n  skep image prune --all")]
pub struct Args {
    /// Also images with a tag
    #[arg(short, long)]
    all: bool,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
}

/// Removes what no container and no task of this node uses.
pub async fn run(args: Args, host: &Host) -> Result<()> {
    let which = match args.all {
        true => "all images without at least one container associated to them",
        false => "all dangling images",
    };
    if !args.force && !prompt::agreed(&format!("WARNING! This will remove {which}."))? {
        bail!("image prune has been cancelled");
    }
    let client = host.connect().await?;
    let request = pb::PruneImagesRequest { all: args.all };
    let answer = client.node()?.prune_images(request).await;
    super::rm::say_gone(answer.map_err(CliError::from)?.into_inner())
}

//! `skep image rm`.

use crate::client::Host;
use crate::error::CliError;
use crate::output::{note, say};
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
    let client = host.connect().await?;
    let mut failed = false;
    for reference in args.images {
        let request = pb::RemoveImageRequest {
            reference,
            force: args.force,
        };
        match client
            .node()
            .remove_image(request)
            .await
            .map_err(CliError::from)
        {
            Ok(answer) => {
                let answer = answer.into_inner();
                for name in answer.untagged {
                    say!("Untagged: {name}")?;
                }
                for id in answer.deleted {
                    say!("Deleted: {id}")?;
                }
            }
            Err(error) => {
                note!("skep: {error}");
                failed = true;
            }
        }
    }
    match failed {
        true => Err(CliError::Reported.into()),
        false => Ok(()),
    }
}

//! `skep image`: images of this node.

mod load;
mod ls;
mod prune;
mod pull;
mod rm;

use crate::client::Host;
use anyhow::Result;
use clap::Subcommand;

/// Commands of the group.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Load images from a docker or OCI archive
    Load(load::Args),
    /// List the images
    Ls(ls::Args),
    /// Remove images that no container uses
    Prune(prune::Args),
    /// Fetch an image from its registry
    Pull(pull::Args),
    /// Remove images
    Rm(rm::Args),
}

/// Runs one.
pub async fn run(command: Command, host: &Host) -> Result<()> {
    match command {
        Command::Load(args) => load::run(args, host).await,
        Command::Ls(args) => ls::run(args, host).await,
        Command::Prune(args) => prune::run(args, host).await,
        Command::Pull(args) => pull::run(args, host).await,
        Command::Rm(args) => rm::run(args, host).await,
    }
}

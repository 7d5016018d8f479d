//! `skep network`.

mod create;
mod inspect;
mod ls;
mod rm;

use crate::client::{Client, Host};
use crate::view::View;
use anyhow::Result;
use clap::Subcommand;
use skep_proto::pb;

/// Commands of the group.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a network
    Create(create::Args),
    /// Show all that is known of networks
    Inspect(inspect::Args),
    /// List the networks
    Ls(ls::Args),
    /// Remove networks
    Rm(rm::Args),
}

/// Runs one.
pub async fn run(command: Command, host: &Host) -> Result<()> {
    match command {
        Command::Create(args) => create::run(args, host).await,
        Command::Inspect(args) => inspect::run(args, host).await,
        Command::Ls(args) => ls::run(args, host).await,
        Command::Rm(args) => rm::run(args, host).await,
    }
}

async fn read(client: &Client) -> Result<View> {
    client
        .read(pb::ReadRequest {
            networks: true,
            ..Default::default()
        })
        .await
}

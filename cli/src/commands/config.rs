//! `skep config`.

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
    /// Make a config from a file
    Create(create::Args),
    /// Show all that is known of configs
    Inspect(inspect::Args),
    /// List the configs
    Ls(ls::Args),
    /// Remove configs
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
            configs: true,
            ..Default::default()
        })
        .await
}

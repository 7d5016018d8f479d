//! `skep secret`.

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
    /// Make a secret from a file
    Create(create::Args),
    /// Show all that is known of secrets, never their content
    Inspect(inspect::Args),
    /// List the secrets
    Ls(ls::Args),
    /// Remove secrets
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
            secrets: true,
            ..Default::default()
        })
        .await
}

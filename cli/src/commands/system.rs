//! `skep system`: other names of `info` and `events`.

use super::{events, info};
use crate::client::Host;
use anyhow::Result;
use clap::Subcommand;

/// Commands of the group.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show what this node is and runs on
    Info(info::Args),
    /// Show what changes in the swarm, as it changes
    Events(events::Args),
}

/// Runs one.
pub async fn run(command: Command, host: &Host) -> Result<()> {
    match command {
        Command::Info(args) => info::run(args, host).await,
        Command::Events(args) => events::run(args, host).await,
    }
}

//! `skep service rollout`.

mod history;
mod pause;
mod resume;
mod status;

pub use history::outcome_name;

use crate::client::Host;
use anyhow::Result;
use clap::Subcommand;

/// Commands of the group.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List what a service was, and can go back to
    History(history::Args),
    /// Change no further task until the update is resumed
    Pause(pause::Args),
    /// Go on with a paused update
    Resume(resume::Args),
    /// Show how far an update is, and what keeps it
    Status(status::Args),
}

/// Runs one.
pub async fn run(command: Command, host: &Host) -> Result<()> {
    match command {
        Command::History(args) => history::run(args, host).await,
        Command::Pause(args) => pause::run(args, host).await,
        Command::Resume(args) => resume::run(args, host).await,
        Command::Status(args) => status::run(args, host).await,
    }
}

//! `skep stack`.

mod asked;
mod config;
mod deploy;
mod diff;
mod file;
mod findings;
mod follow;
mod history;
mod ls;
mod networks;
mod plan;
mod ps;
mod revisions;
mod rm;
mod rollback;
mod services;
mod shape;

use crate::client::Host;
use anyhow::Result;
use clap::Subcommand;
use skep_types::{Labels, STACK_LABEL};

/// Commands of the group.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print stack files merged and in normal form
    Config(config::Args),
    /// Make the swarm run what a stack file says
    #[command(visible_alias = "up")]
    Deploy(deploy::Args),
    /// Tell what differs between two revisions of a stack, or from one to what is now
    Diff(diff::Args),
    /// List what a stack was, and can go back to
    History(history::Args),
    /// List the stacks
    Ls(ls::Args),
    /// Tell what a deploy would change, create, remove and restart
    Plan(plan::Args),
    /// List the tasks of a stack
    Ps(ps::Args),
    /// Remove stacks
    Rm(rm::Args),
    /// Make a stack what it was
    Rollback(rollback::Args),
    /// List the services of a stack
    Services(services::Args),
}

/// Runs one.
pub async fn run(command: Command, host: &Host) -> Result<()> {
    match command {
        Command::Config(args) => config::run(args),
        Command::Deploy(args) => deploy::run(args, host).await,
        Command::Diff(args) => diff::run(args, host).await,
        Command::History(args) => history::run(args, host).await,
        Command::Ls(args) => ls::run(args, host).await,
        Command::Plan(args) => plan::run(args, host).await,
        Command::Ps(args) => ps::run(args, host).await,
        Command::Rm(args) => rm::run(args, host).await,
        Command::Rollback(args) => rollback::run(args, host).await,
        Command::Services(args) => services::run(args, host).await,
    }
}

/// Whether labels make an object part of a stack.
fn belongs(labels: &Labels, stack: &str) -> bool {
    labels.get(STACK_LABEL).is_some_and(|of| of == stack)
}

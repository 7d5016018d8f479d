//! `skep swarm`.

mod backup;
mod ca;
mod client;
mod init;
mod join;
mod join_token;
mod leave;
mod passphrase;
mod place;
mod restore;
mod unlock;
mod unlock_key;
mod update;

use crate::client::{Host, with_port};
use anyhow::{Result, bail};
use clap::{Subcommand, ValueEnum};
use skep_proto::pb;

/// Commands of the group.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the root CA, or replace it
    Ca(ca::Args),
    /// People and tools that use the swarm over the network
    #[command(subcommand)]
    Client(client::Command),
    /// Make a swarm with this node as its first manager
    Init(init::Args),
    /// Make this node part of a swarm
    Join(join::Args),
    /// Show what a machine needs to join
    JoinToken(join_token::Args),
    /// Take this node out of the swarm
    Leave(leave::Args),
    /// Start this manager, which restarted and is locked
    Unlock(unlock::Args),
    /// Show the key that locked managers ask for, or replace it
    UnlockKey(unlock_key::Args),
    /// Change settings of the swarm
    Update(update::Args),
    /// Write all that the swarm is to an encrypted file
    Backup(backup::Args),
    /// Make this node the first manager of a swarm that was backed up
    Restore(restore::Args),
}

/// Runs one.
pub async fn run(command: Command, host: &Host) -> Result<()> {
    match command {
        Command::Ca(args) => ca::run(args, host).await,
        Command::Client(command) => client::run(command, host).await,
        Command::Init(args) => init::run(args, host).await,
        Command::Join(args) => join::run(args, host).await,
        Command::JoinToken(args) => join_token::run(args, host).await,
        Command::Leave(args) => leave::run(args, host).await,
        Command::Unlock(args) => unlock::run(args, host).await,
        Command::UnlockKey(args) => unlock_key::run(args, host).await,
        Command::Update(args) => update::run(args, host).await,
        Command::Backup(args) => backup::run(args, host).await,
        Command::Restore(args) => restore::run(args, host).await,
    }
}

/// What is said to those who ask for an external CA.
const EXTERNAL_CA: &str = "an external CA is not supported: the swarm's managers issue certificates \
     themselves. Give them a root of yours with \"skep swarm ca --rotate --ca-cert FILE --ca-key FILE\"";

/// Whether tasks may run on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Availability {
    /// Tasks may run there
    Active,
    /// Those there stay, no new ones
    Pause,
    /// No tasks; those there are moved as their services' updates change tasks
    Drain,
}

impl From<Availability> for pb::Availability {
    fn from(value: Availability) -> Self {
        match value {
            Availability::Active => pb::Availability::Active,
            Availability::Pause => pb::Availability::Pause,
            Availability::Drain => pb::Availability::Drain,
        }
    }
}

impl From<Availability> for skep_types::Availability {
    fn from(value: Availability) -> Self {
        match value {
            Availability::Active => skep_types::Availability::Active,
            Availability::Pause => skep_types::Availability::Pause,
            Availability::Drain => skep_types::Availability::Drain,
        }
    }
}

/// Whether a manager's answer has tokens and keys in it: there always are tokens.
fn shows_secrets(cluster: &pb::ClusterView) -> Result<()> {
    if cluster.worker_token.is_empty() {
        bail!("join tokens and the unlock key are not shown to clients that may only look");
    }
    Ok(())
}

/// The command that makes a machine join.
fn join_command(token: &str, address: &str) -> String {
    format!("    skep swarm join --token {token} {}", with_port(address))
}

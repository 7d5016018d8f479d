//! `skep swarm client`: people and tools that use the swarm over the network.

mod create;
mod ls;
mod rm;

use crate::client::{Client, Host};
use anyhow::{Context as _, Result};
use clap::{Subcommand, ValueEnum};
use skep_proto::pb;
use skep_types::Clients;

/// Commands of the group.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Give a person or a tool a certificate, to use the swarm over the network
    Create(create::Args),
    /// List who has one
    Ls(ls::Args),
    /// End certificates; connections that stand are cut
    Rm(rm::Args),
}

/// Runs one.
pub async fn run(command: Command, host: &Host) -> Result<()> {
    match command {
        Command::Create(args) => create::run(args, host).await,
        Command::Ls(args) => ls::run(args, host).await,
        Command::Rm(args) => rm::run(args, host).await,
    }
}

/// What a client may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Role {
    /// All that can be done on a manager about the swarm
    Admin,
    /// Look at all but join tokens and the unlock key
    ReadOnly,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Role::Admin => "admin",
            Role::ReadOnly => "read-only",
        }
    }
}

impl From<Role> for skep_types::ClientRole {
    fn from(role: Role) -> Self {
        match role {
            Role::Admin => skep_types::ClientRole::Admin,
            Role::ReadOnly => skep_types::ClientRole::ReadOnly,
        }
    }
}

impl From<skep_types::ClientRole> for Role {
    fn from(role: skep_types::ClientRole) -> Self {
        match role {
            skep_types::ClientRole::Admin => Role::Admin,
            skep_types::ClientRole::ReadOnly => Role::ReadOnly,
        }
    }
}

async fn read(client: &Client) -> Result<Clients> {
    let request = pb::ReadRequest {
        cluster: true,
        ..Default::default()
    };
    let cluster = client.read(request).await?.cluster;
    let cluster = cluster.context("the manager did not answer with the swarm's clients")?;
    Ok(skep_proto::clients(cluster.clients)?)
}

//! `skep swarm join-token`.

use super::{join_command, shows_secrets};
use crate::client::Host;
use crate::output::say;
use anyhow::{Context as _, Result};
use clap::ValueEnum;
use skep_proto::pb;
use skep_proto::pb::change::Change;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:\n  skep swarm join-token worker")]
pub struct Args {
    /// Make a new token; the old one stops at once, nodes that joined stay
    #[arg(long)]
    rotate: bool,
    /// Print the token alone
    #[arg(short, long)]
    quiet: bool,
    /// What the machine is to become
    #[arg(value_enum)]
    role: TokenRole,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum TokenRole {
    Worker,
    Manager,
}

/// Prints a token, or the command with it.
pub async fn run(args: Args, host: &Host) -> Result<()> {
    let client = host.connect().await?;
    let (role, name) = match args.role {
        TokenRole::Worker => (pb::Role::Worker, "worker"),
        TokenRole::Manager => (pb::Role::Manager, "manager"),
    };
    if args.rotate {
        let rotate = pb::RotateToken { role: role.into() };
        client.change(Change::RotateToken(rotate)).await?;
        if !args.quiet {
            say!("Successfully rotated {name} join token.\n")?;
        }
    }
    let request = pb::ReadRequest {
        cluster: true,
        ..Default::default()
    };
    let cluster = client.read(request).await?.cluster;
    let cluster = cluster.context("the manager did not answer with the swarm's tokens")?;
    shows_secrets(&cluster)?;
    let token = match role {
        pb::Role::Worker => cluster.worker_token,
        pb::Role::Manager => cluster.manager_token,
    };
    if args.quiet {
        say!("{token}")?;
        return Ok(());
    }
    let address = match client.manager() {
        Some(manager) => manager.address.clone(),
        None => client.info().await?.address,
    };
    say!("To add a {name} to this swarm, run the following command:\n")?;
    say!("{}\n", join_command(&token, &address))?;
    Ok(())
}

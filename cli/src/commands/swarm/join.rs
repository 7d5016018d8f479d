//! `skep swarm join`.

use super::{Availability, with_port};
use crate::client::Host;
use crate::error::CliError;
use crate::output::say;
use anyhow::Result;
use skep_proto::pb;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:\n  skep swarm join --token SWMTKN-1-… 192.0.2.10:2377")]
pub struct Args {
    /// Token for a worker or a manager, from `skep swarm join-token`
    #[arg(long)]
    token: String,
    /// Address to listen at
    #[arg(long, value_name = "ADDRESS[:PORT]", default_value = "0.0.0.0:2377")]
    listen_addr: String,
    /// Address other nodes reach this one at, or the interface that has it
    #[arg(
        long,
        value_name = "ADDRESS|INTERFACE[:PORT]",
        default_value = "",
        hide_default_value = true
    )]
    advertise_addr: String,
    /// Whether tasks may run on this node
    #[arg(long, value_enum, default_value = "active")]
    availability: Availability,
    /// A manager of the swarm; more than one may be given
    #[arg(value_name = "HOST[:PORT]", required = true)]
    managers: Vec<String>,
}

/// Joins and says as what.
pub async fn run(args: Args, host: &Host) -> Result<()> {
    let client = host.connect().await?;
    let request = pb::JoinSwarmRequest {
        token: args.token.trim().to_owned(),
        managers: args
            .managers
            .iter()
            .map(|address| with_port(address))
            .collect(),
        listen: args.listen_addr,
        advertise: args.advertise_addr,
        availability: pb::Availability::from(args.availability).into(),
    };
    let answer = client
        .node()
        .join(request)
        .await
        .map_err(CliError::from)?
        .into_inner();
    say!(
        "This node joined a swarm as a {}.",
        match answer.role() {
            pb::Role::Manager => "manager",
            pb::Role::Worker => "worker",
        }
    )?;
    Ok(())
}

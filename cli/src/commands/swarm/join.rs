//! `skep swarm join`.

use super::place::PlaceArgs;
use crate::client::{Host, with_port};
use crate::error::CliError;
use crate::flags;
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
    #[command(flatten)]
    place: PlaceArgs,
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
        listen: args.place.listen_addr,
        advertise: args.place.advertise_addr,
        availability: pb::Availability::from(args.place.availability).into(),
        labels: flags::labels(&args.place.label),
    };
    let answer = client
        .node()?
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

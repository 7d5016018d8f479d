//! `skep swarm update`.

use super::init::Settings;
use crate::client::Host;
use crate::error::is_stale;
use crate::output::say;
use anyhow::{Context as _, Result, bail};
use skep_proto::pb;
use skep_proto::pb::change::Change;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(
    arg_required_else_help = true,
    before_help = "Example:\n  skep swarm update --task-history-limit 10"
)]
pub struct Args {
    #[command(flatten)]
    settings: Settings,
}

/// Changes the settings given.
pub async fn run(args: Args, host: &Host) -> Result<()> {
    let client = host.connect().await?;
    for _ in 0..3 {
        let request = pb::ReadRequest {
            cluster: true,
            ..Default::default()
        };
        let cluster = client.read(request).await?.cluster;
        let cluster = cluster.context("the manager did not answer with the swarm's settings")?;
        let mut spec = cluster.spec.context("field cluster.spec is missing")?;
        args.settings.apply(&mut spec);
        let update = pb::UpdateCluster {
            version: cluster.meta.unwrap_or_default().version,
            spec: Some(spec),
        };
        match client.change(Change::UpdateCluster(update)).await {
            Err(error) if is_stale(&error) => {}
            Err(error) => return Err(error),
            Ok(_) => {
                say!("Swarm updated.")?;
                return Ok(());
            }
        }
    }
    bail!("the swarm's settings are being changed by others all the time; try again")
}

//! `skep swarm update`.

use super::init::Settings;
use super::unlock_key::{self, say_unlock};
use crate::client::{Client, Host};
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
    args.settings.check()?;
    let client = host.connect().await?;
    change(&client, &args.settings).await?;
    let turned_on = match args.settings.autolock {
        Some(on) => set_autolock(&client, on).await?,
        None => None,
    };
    say!("Swarm updated.")?;
    match turned_on {
        Some(key) => say_unlock(&key),
        None => Ok(()),
    }
}

/// Returns the unlock key if there was none before.
async fn set_autolock(client: &Client, on: bool) -> Result<Option<String>> {
    let was_on = !unlock_key::current(client).await?.is_empty();
    if was_on == on {
        return Ok(None);
    }
    let set = Change::SetAutolock(pb::SetAutolock { on });
    client.change(set).await?;
    match on {
        true => unlock_key::current(client).await.map(Some),
        false => Ok(None),
    }
}

/// Changes settings; again from the start when others were faster.
pub(super) async fn change(client: &Client, settings: &Settings) -> Result<()> {
    for _ in 0..3 {
        let request = pb::ReadRequest {
            cluster: true,
            ..Default::default()
        };
        let cluster = client.read(request).await?.cluster;
        let cluster = cluster.context("the manager did not answer with the swarm's settings")?;
        let mut spec = cluster.spec.context("field cluster.spec is missing")?;
        let before = spec.clone();
        settings.apply(&mut spec);
        if spec == before {
            return Ok(());
        }
        let update = pb::UpdateCluster {
            version: cluster.meta.unwrap_or_default().version,
            spec: Some(spec),
        };
        match client.change(Change::UpdateCluster(update)).await {
            Err(error) if is_stale(&error) => {}
            Err(error) => return Err(error),
            Ok(_) => return Ok(()),
        }
    }
    bail!("the swarm's settings are being changed by others all the time; try again")
}

//! `skep swarm unlock-key`.

use super::shows_secrets;
use crate::client::{Client, Host};
use crate::output::say;
use anyhow::{Context as _, Result, bail};
use skep_proto::pb;
use skep_proto::pb::change::Change;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:\n  skep swarm unlock-key -q > key-file")]
pub struct Args {
    /// Make a new key; a manager that is down meanwhile still needs the old one
    #[arg(long)]
    rotate: bool,
    /// Print the key alone
    #[arg(short, long)]
    quiet: bool,
}

/// Prints the key.
pub async fn run(args: Args, host: &Host) -> Result<()> {
    let client = host.connect().await?;
    if args.rotate {
        let rotate = Change::RotateUnlockKey(pb::RotateUnlockKey {});
        client.change(rotate).await?;
        if !args.quiet {
            say!("Successfully rotated manager unlock key.\n")?;
        }
    }
    let key = current(&client).await?;
    if key.is_empty() {
        bail!("no unlock key is set");
    }
    match args.quiet {
        true => say!("{key}")?,
        false => say_unlock(&key)?,
    }
    Ok(())
}

/// The swarm's unlock key; empty where managers unlock themselves.
pub(super) async fn current(client: &Client) -> Result<String> {
    let request = pb::ReadRequest {
        cluster: true,
        ..Default::default()
    };
    let cluster = client.read(request).await?.cluster;
    let cluster = cluster.context("the manager did not answer with the swarm's settings")?;
    shows_secrets(&cluster)?;
    Ok(cluster.unlock_key)
}

/// Says what the key is for.
pub(super) fn say_unlock(key: &str) -> Result<()> {
    say!(
        "To unlock a swarm manager after it restarts, run the `skep swarm unlock`\ncommand and \
         provide the following key:\n\n    {key}\n\nRemember to store this key in a password \
         manager, since without it you\nwill not be able to restart the manager."
    )?;
    Ok(())
}

//! `skep swarm unlock`.

use crate::client::Host;
use crate::error::CliError;
use crate::prompt;
use anyhow::{Context as _, Result, bail};
use skep_proto::pb;
use std::io::{BufRead as _, IsTerminal as _};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:\n  skep swarm unlock < key-file")]
pub struct Args {}

/// Asks for the key, where there is anything to unlock, and starts the manager.
pub async fn run(Args {}: Args, host: &Host) -> Result<()> {
    let client = host.connect().await?;
    match client.info().await?.state.as_str() {
        "locked" => {}
        "inactive" => bail!("This node is not part of a swarm"),
        _ => bail!("swarm is not locked"),
    }
    let request = pb::UnlockRequest { unlock_key: key()? };
    let answer = client.node()?.unlock(request).await;
    answer.map_err(CliError::from)?;
    Ok(())
}

/// A line of standard input, which is not shown where a person types it.
fn key() -> Result<String> {
    if std::io::stdin().is_terminal() {
        return prompt::hidden("Enter unlock key", "give the key on standard input");
    }
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    read.context("cannot read the unlock key from standard input")?;
    Ok(line.trim().to_owned())
}

//! `skep secret create`.

use crate::client::Host;
use crate::flags;
use crate::output::say;
use anyhow::{Context as _, Result};
use skep_proto::pb::change::Change;
use skep_types::{SecretId, SecretSpec};
use std::io::Read as _;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:\n  printf %s hunter2 | skep secret create db-password -")]
pub struct Args {
    /// Label; repeatable
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = flags::key_value)]
    label: Vec<(String, String)>,
    /// Name of the secret
    name: String,
    /// File with its content; `-` for standard input
    file: String,
}

/// Makes it and prints its id.
pub async fn run(args: Args, host: &Host) -> Result<()> {
    let mut data = Vec::new();
    if args.file == "-" {
        let read = std::io::stdin().read_to_end(&mut data);
        read.context("cannot read standard input")?;
    } else {
        data = std::fs::read(&args.file).with_context(|| format!("cannot read {}", args.file))?;
    }
    let spec = SecretSpec {
        name: args.name,
        labels: flags::labels(&args.label),
        data: data.into(),
    };
    let client = host.connect().await?;
    let made = client.change(Change::CreateSecret((&spec).into())).await?;
    let id: SecretId = skep_proto::id(&made, "change.ids")?;
    say!("{id}")?;
    Ok(())
}

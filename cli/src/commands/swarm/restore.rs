//! `skep swarm restore`.

use super::init::say_initialized;
use super::passphrase::PassphraseArgs;
use super::place::PlaceArgs;
use crate::client::Host;
use crate::error::CliError;
use crate::flags;
use crate::human::binary_size;
use crate::output::note;
use anyhow::{Context as _, Result};
use bytes::Bytes;
use skep_proto::pb;
use std::io::Read as _;

/// Bytes of the file in one message.
const PIECE_BYTES: usize = 1 << 20;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:\n  skep swarm restore --advertise-addr 192.0.2.10 swarm.backup")]
pub struct Args {
    #[command(flatten)]
    place: PlaceArgs,
    #[command(flatten)]
    passphrase: PassphraseArgs,
    /// File that `skep swarm backup` wrote; `-` for standard input
    file: String,
}

/// Makes this node the first manager of the swarm that was backed up.
pub async fn run(args: Args, host: &Host) -> Result<()> {
    let mut file = Vec::new();
    if args.file == "-" {
        let read = std::io::stdin().read_to_end(&mut file);
        read.context("cannot read standard input")?;
    } else {
        file = std::fs::read(&args.file).with_context(|| format!("cannot read {}", args.file))?;
    }
    let settings = pb::RestoreSettings {
        passphrase: args.passphrase.known()?,
        listen: args.place.listen_addr,
        advertise: args.place.advertise_addr,
        availability: pb::Availability::from(args.place.availability).into(),
        labels: flags::labels(&args.place.label),
    };
    let client = host.connect().await?;
    note!("Restoring {} ...", binary_size(file.len() as u64));
    let first = pb::RestoreRequest {
        settings: Some(settings),
        data: Bytes::new(),
    };
    let mut rest = Bytes::from(file);
    let pieces = std::iter::from_fn(move || {
        let data = rest.split_to(rest.len().min(PIECE_BYTES));
        let settings = None;
        (!data.is_empty()).then_some(pb::RestoreRequest { settings, data })
    });
    let messages = tokio_stream::iter(std::iter::once(first).chain(pieces));
    let answer = client.node()?.restore(messages).await;
    say_initialized(&answer.map_err(CliError::from)?.into_inner())?;
    note!(
        "Nodes that were managers are workers now. Those that find this node at an address they \
         know come back by themselves; on the others run \"skep swarm leave --force\", then join \
         them again. What stays Down is forgotten with \"skep node rm\"."
    );
    Ok(())
}

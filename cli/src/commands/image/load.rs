//! `skep image load`.

use crate::client::Host;
use crate::error::CliError;
use crate::output::say;
use anyhow::{Context as _, Result, anyhow};
use bytes::Bytes;
use skep_proto::pb;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:\n  skep image load -i app.tar")]
pub struct Args {
    /// Archive; standard input by default
    #[arg(short, long, value_name = "FILE")]
    input: Option<String>,
    /// Print nothing but what was loaded
    #[arg(short, long)]
    quiet: bool,
}

/// Bytes of one message.
const PIECE: usize = 256 << 10;

/// Loads.
pub async fn run(args: Args, host: &Host) -> Result<()> {
    let _ = args.quiet;
    let client = host.connect().await?;
    let mut input: Box<dyn AsyncRead + Unpin + Send> = match args.input.as_deref() {
        None | Some("-") => Box::new(tokio::io::stdin()),
        Some(path) => {
            let file = tokio::fs::File::open(path).await;
            Box::new(file.with_context(|| format!("cannot read {path}"))?)
        }
    };
    let (pieces, stream) = mpsc::channel(4);
    let reader = tokio::spawn(async move {
        loop {
            let mut piece = vec![0; PIECE];
            let length = input.read(&mut piece).await?;
            if length == 0 {
                return Ok::<(), std::io::Error>(());
            }
            piece.truncate(length);
            let data = Bytes::from(piece);
            if pieces.send(pb::LoadImageRequest { data }).await.is_err() {
                // The daemon has heard enough: its answer says why.
                return Ok(());
            }
        }
    });
    let answer = client.node()?.load_image(ReceiverStream::new(stream)).await;
    let answer = answer.map_err(CliError::from)?.into_inner();
    let read = reader
        .await
        .map_err(|error| anyhow!("reading the archive: {error}"))?;
    read.context("cannot read the archive")?;
    for image in answer.images {
        match image.references.as_slice() {
            [] => say!("Loaded image ID: {}", image.id)?,
            names => {
                for name in names {
                    say!("Loaded image: {name}")?;
                }
            }
        }
    }
    Ok(())
}

//! `skep swarm backup`.

use super::passphrase::PassphraseArgs;
use crate::client::Host;
use crate::error::CliError;
use crate::human::binary_size;
use crate::kept::Aside;
use crate::output::note;
use anyhow::{Result, bail};
use skep_proto::pb;
use std::io::IsTerminal as _;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:\n  skep swarm backup -o swarm.backup")]
pub struct Args {
    /// File to write; `-` for standard output
    #[arg(short, long, value_name = "FILE", default_value = "swarm.backup")]
    output: PathBuf,
    #[command(flatten)]
    passphrase: PassphraseArgs,
}

/// Writes everything the swarm is to a file that the passphrase opens.
pub async fn run(args: Args, host: &Host) -> Result<()> {
    let to_stdout = args.output == Path::new("-");
    if to_stdout && std::io::stdout().is_terminal() {
        bail!("a backup is not for the eye: name a file with -o, or redirect the output");
    }
    if !to_stdout && args.output.exists() {
        bail!(
            "{} exists; name another file with -o",
            args.output.display()
        );
    }
    let client = host.connect().await?;
    let request = pb::BackupRequest {
        passphrase: args.passphrase.new_one()?,
        stale: host.is_stale(),
    };
    if host.is_stale() {
        note!("This backup is what this manager knew last; the swarm may have gone on since.");
    }
    note!("Collecting the state of the swarm ...");
    let pieces = client.node()?.backup(request).await;
    let mut pieces = pieces.map_err(CliError::from)?.into_inner();
    let mut target = match to_stdout {
        true => Target::Stdout,
        false => Target::File(Aside::begin(&args.output)?),
    };
    let (mut written, mut total) = (0, 0);
    while let Some(piece) = pieces.message().await.map_err(CliError::from)? {
        target.write(&piece.data)?;
        (written, total) = (written + piece.data.len() as u64, piece.total_bytes);
        if written < total {
            note!("{} of {}", binary_size(written), binary_size(total));
        }
    }
    if written != total || total == 0 {
        bail!("the daemon sent {written} of {total} bytes; try again");
    }
    target.finish()?;
    note!(
        "Backup written to {} ({}). It holds the keys and secrets of the swarm: without the \
         passphrase nobody can read it, you neither.",
        match to_stdout {
            true => "standard output".to_owned(),
            false => args.output.display().to_string(),
        },
        binary_size(total)
    );
    Ok(())
}

/// Where a backup goes: under its name only once it is whole.
enum Target {
    Stdout,
    File(Aside),
}

impl Target {
    fn write(&mut self, data: &[u8]) -> Result<()> {
        match self {
            Target::Stdout => Ok(io::stdout().lock().write_all(data)?),
            Target::File(file) => file.write(data),
        }
    }

    fn finish(self) -> Result<()> {
        match self {
            Target::Stdout => Ok(io::stdout().lock().flush()?),
            Target::File(file) => file.finish(),
        }
    }
}

//! `skep swarm backup`.

use super::passphrase::PassphraseArgs;
use crate::client::Host;
use crate::error::CliError;
use crate::human::binary_size;
use crate::output::note;
use anyhow::{Context as _, Result, bail};
use skep_proto::pb;
use std::fs::{self, File, OpenOptions};
use std::io::IsTerminal as _;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
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
    let pieces = client.node().backup(request).await;
    let mut pieces = pieces.map_err(CliError::from)?.into_inner();
    let mut target = match to_stdout {
        true => Target::Stdout,
        false => Target::create(&args.output)?,
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
    target.finish(&args.output)?;
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
    Aside {
        file: File,
        path: PathBuf,
        kept: bool,
    },
}

impl Target {
    fn create(output: &Path) -> Result<Self> {
        let mut name = output.as_os_str().to_owned();
        name.push(".new");
        let path = PathBuf::from(name);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)
            .with_context(|| format!("cannot write {}", path.display()))?;
        let kept = false;
        Ok(Target::Aside { file, path, kept })
    }

    fn write(&mut self, data: &[u8]) -> Result<()> {
        match self {
            Target::Stdout => io::stdout().lock().write_all(data)?,
            Target::Aside { file, path, .. } => file
                .write_all(data)
                .with_context(|| format!("cannot write {}", path.display()))?,
        }
        Ok(())
    }

    fn finish(&mut self, output: &Path) -> Result<()> {
        match self {
            Target::Stdout => io::stdout().lock().flush()?,
            Target::Aside { file, path, kept } => {
                file.sync_all()
                    .and_then(|()| fs::rename(&*path, output))
                    .with_context(|| format!("cannot write {}", output.display()))?;
                *kept = true;
            }
        }
        Ok(())
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Target::Aside {
            path, kept: false, ..
        } = self
        {
            // What ended the backup is said already.
            let _ = fs::remove_file(path);
        }
    }
}

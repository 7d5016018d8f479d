//! `skep man`.

use crate::man;
use anyhow::{Context as _, Result};
use std::path::PathBuf;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:\n  skep man /usr/local/share/man/man1")]
pub struct Args {
    /// Folder to write them to; made where it is not there
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

/// Writes the manual pages of all commands.
pub fn run(args: &Args) -> Result<()> {
    let folder = &args.folder;
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for page in man::pages()? {
        let path = folder.join(page.file);
        std::fs::write(&path, page.text)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

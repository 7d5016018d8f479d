//! The passphrase of a backup, from a file or from a person.

use crate::prompt;
use anyhow::{Context as _, Result, bail};
use std::path::PathBuf;

/// Where the passphrase comes from.
#[derive(Debug, clap::Args)]
pub struct PassphraseArgs {
    /// File whose first line is the passphrase; asked for on the terminal where
    /// there is none
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

const INSTEAD: &str = "name a file with --passphrase-file";

impl PassphraseArgs {
    /// The one a backup was made with.
    pub fn known(&self) -> Result<String> {
        match self.in_file()? {
            Some(passphrase) => Ok(passphrase),
            None => prompt::hidden("Passphrase", INSTEAD),
        }
    }

    /// One for a new backup; a person types it twice.
    pub fn new_one(&self) -> Result<String> {
        if let Some(passphrase) = self.in_file()? {
            return Ok(passphrase);
        }
        let passphrase = prompt::hidden("Passphrase for the backup", INSTEAD)?;
        if passphrase.is_empty() {
            bail!("a backup needs a passphrase");
        }
        if prompt::hidden("The same again", INSTEAD)? != passphrase {
            bail!("the passphrases differ");
        }
        Ok(passphrase)
    }

    fn in_file(&self) -> Result<Option<String>> {
        let Some(path) = &self.passphrase_file else {
            return Ok(None);
        };
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        match text.lines().next() {
            Some(line) if !line.is_empty() => Ok(Some(line.to_owned())),
            _ => bail!("the first line of {} is empty", path.display()),
        }
    }
}

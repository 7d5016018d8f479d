//! What the commands of secrets and configs share: where content comes from, and
//! what it is.

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use std::io::Read as _;

/// What fills content in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TemplateDriver {
    /// A template, as Go's text/template has them.
    Golang,
}

/// The content of a file; of standard input for `-`.
///
/// # Errors
/// It cannot be read.
pub fn read(file: &str) -> Result<Vec<u8>> {
    if file != "-" {
        return std::fs::read(file).with_context(|| format!("cannot read {file}"));
    }
    let mut data = Vec::new();
    let read = std::io::stdin().read_to_end(&mut data);
    read.context("cannot read standard input")?;
    Ok(data)
}

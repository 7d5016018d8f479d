//! `skep context import`.

use crate::contexts::{Context, Contexts};
use crate::error::usage;
use crate::output::{note, say};
use anyhow::{Context as _, Result};
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:\n  skep context import prod prod.skepcontext")]
pub struct Args {
    /// The name it gets
    #[arg(value_name = "NAME")]
    name: String,
    /// What `skep context export` wrote; `-` for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Takes it over.
pub fn run(args: Args, contexts: &Contexts) -> Result<()> {
    let Args { name, file } = args;
    if contexts.has(&name)? {
        return Err(usage(format!(
            "context {name:?} exists: choose another name, or remove it first"
        )));
    }
    let text = match file == Path::new("-") {
        true => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).map(|_| text)
        }
        false => fs::read_to_string(&file),
    };
    let text = text.with_context(|| format!("cannot read {}", file.display()))?;
    let read = Context::from_text(&text);
    let context = Context {
        name: name.clone(),
        ..read.with_context(|| format!("cannot import {}", file.display()))?
    };
    context.to_host()?;
    contexts.keep(&context)?;
    say!("{name}")?;
    note!("Successfully imported context \"{name}\"");
    Ok(())
}

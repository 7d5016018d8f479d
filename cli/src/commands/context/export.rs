//! `skep context export`.

use crate::contexts::{Context, Contexts, DEFAULT};
use crate::error::usage;
use crate::kept::Aside;
use crate::output::{note, raw};
use anyhow::{Result, bail};
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:\n  skep context export prod")]
pub struct Args {
    /// Its name
    #[arg(value_name = "CONTEXT")]
    context: String,
    /// File to write; `-` for standard output [default: CONTEXT.skepcontext]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

/// Writes it, with the key of its client.
pub fn run(args: Args, contexts: &Contexts) -> Result<()> {
    let name = args.context;
    if name == DEFAULT {
        return Err(usage(
            "context \"default\" is the daemon of this machine, and there is nothing to export",
        ));
    }
    let context = contexts.find(&name)?;
    let text = context.to_text();
    let file = args
        .file
        .unwrap_or_else(|| format!("{name}.skepcontext").into());
    if file == Path::new("-") {
        if std::io::stdout().is_terminal() {
            bail!("cannot export to a terminal: name a file, or redirect the output");
        }
        return Ok(raw(text.as_bytes())?);
    }
    if file.exists() {
        bail!("{} exists; name another file", file.display());
    }
    let mut aside = Aside::begin(&file)?;
    aside.write(text.as_bytes())?;
    aside.finish()?;
    note!("Written file \"{}\"", file.display());
    if let Context {
        certificate: Some(_),
        ..
    } = context
    {
        note!("It holds a private key: whoever has it can do what this context can.");
    }
    Ok(())
}

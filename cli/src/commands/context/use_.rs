//! `skep context use`.

use super::note_what_counts_more;
use crate::contexts::Contexts;
use crate::output::{note, say};
use anyhow::Result;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:\n  skep context use prod")]
pub struct Args {
    /// Its name; `default` is the daemon of this machine
    #[arg(value_name = "CONTEXT")]
    context: String,
}

/// Remembers it.
pub fn run(args: Args, contexts: &Contexts) -> Result<()> {
    contexts.use_from_now(&args.context)?;
    say!("{}", args.context)?;
    note_what_counts_more();
    note!("Current context is now \"{}\"", args.context);
    Ok(())
}

//! `skep context update`.

use super::Parts;
use crate::contexts::Contexts;
use crate::output::{note, say};
use anyhow::Result;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:\n  skep context update prod --cert alice-2.pem")]
pub struct Args {
    #[command(flatten)]
    parts: Parts,
    /// Its name
    #[arg(value_name = "CONTEXT")]
    context: String,
}

/// Changes what was given.
pub fn run(args: Args, contexts: &Contexts) -> Result<()> {
    let present = contexts.find(&args.context)?;
    contexts.keep(&args.parts.put_into(present)?)?;
    say!("{}", args.context)?;
    note!("Successfully updated context \"{}\"", args.context);
    Ok(())
}

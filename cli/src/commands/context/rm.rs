//! `skep context rm`.

use crate::contexts::{Contexts, DEFAULT};
use crate::error::{CliError, usage};
use crate::output::{note, say};
use crate::place::{Place, variable};
use anyhow::Result;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(
    visible_alias = "remove",
    before_help = "Example:\n  skep context rm prod"
)]
pub struct Args {
    /// Remove also the one in use
    #[arg(short, long)]
    force: bool,
    /// Names of contexts
    #[arg(value_name = "CONTEXT", required = true)]
    contexts: Vec<String>,
}

/// Removes each.
pub fn run(args: Args, contexts: &Contexts, place: &Place) -> Result<()> {
    let mut failed = false;
    for name in &args.contexts {
        match remove(name, args.force, contexts, place) {
            Ok(()) => say!("{name}")?,
            Err(error) => {
                note!("skep: {error:#}");
                failed = true;
            }
        }
    }
    match failed {
        true => Err(CliError::Reported.into()),
        false => Ok(()),
    }
}

fn remove(name: &str, force: bool, contexts: &Contexts, place: &Place) -> Result<()> {
    let in_use = name != DEFAULT && place.context(variable)? == name;
    if in_use && !force {
        return Err(usage(format!(
            "context \"{name}\" is in use, set -f flag to force remove"
        )));
    }
    contexts.forget(name)?;
    if name != DEFAULT && contexts.current()? == name {
        contexts.use_from_now(DEFAULT)?;
    }
    Ok(())
}

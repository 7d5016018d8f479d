//! `skep context show`.

use crate::output::say;
use crate::place::{Place, variable};
use anyhow::Result;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:\n  skep context show")]
pub struct Args {}

/// Prints the name.
pub fn run(Args {}: Args, place: &Place) -> Result<()> {
    say!("{}", place.context(variable)?)?;
    Ok(())
}

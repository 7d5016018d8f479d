//! `skep stack config`.

use super::file::{Files, Named};
use super::findings::Findings;
use crate::output::raw;
use anyhow::Result;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:\n  skep stack config -c docker-stack.yml -c production.yml")]
pub struct Args {
    #[command(flatten)]
    files: Named,
    /// Leave variables as they are written
    #[arg(long)]
    skip_interpolation: bool,
    #[command(flatten)]
    findings: Findings,
}

/// Prints.
pub fn run(args: Args) -> Result<()> {
    let normal = Files::read(&args.files)?;
    let normal = normal.normalize(!args.skip_interpolation, &args.findings)?;
    Ok(raw(normal.yaml.as_bytes())?)
}

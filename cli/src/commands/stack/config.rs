//! `skep stack config`.

use super::file::Files;
use super::findings::Findings;
use crate::output::raw;
use anyhow::Result;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:\n  skep stack config -c docker-stack.yml -c production.yml")]
pub struct Args {
    /// Stack file, `-` for standard input; repeatable, later ones on top
    #[arg(short, long, value_name = "FILE", required = true)]
    compose_file: Vec<String>,
    /// Leave variables as they are written
    #[arg(long)]
    skip_interpolation: bool,
    #[command(flatten)]
    findings: Findings,
}

/// Prints.
pub fn run(args: Args) -> Result<()> {
    let normal = Files::read(&args.compose_file)?;
    let normal = normal.normalize(!args.skip_interpolation, &args.findings)?;
    Ok(raw(normal.yaml.as_bytes())?)
}

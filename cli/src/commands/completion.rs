//! `skep completion`.

use crate::args::Cli;
use crate::output::raw;
use anyhow::Result;
use clap::CommandFactory as _;
use clap_complete::Shell;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:\n  skep completion bash >/etc/bash_completion.d/skep")]
pub struct Args {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints the script.
pub fn run(args: &Args) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "skep", &mut script);
    Ok(raw(&script)?)
}

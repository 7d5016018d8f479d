//! `skep completion`.

use crate::complete;
use crate::output::raw;
use anyhow::Result;
use clap_complete::Shell;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  skep completion bash >/etc/bash_completion.d/skep
  skep completion zsh >/usr/local/share/zsh/site-functions/_skep
  skep completion fish >~/.config/fish/completions/skep.fish")]
pub struct Args {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints the script.
pub fn run(args: &Args) -> Result<()> {
    Ok(raw(complete::script(args.shell)?.as_bytes())?)
}

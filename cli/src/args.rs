//! The root of the command line.

use crate::client::DEFAULT_HOST;
use crate::commands::{self, Command};
use clap::Parser;

/// Run containers on many machines as on one.
#[derive(Debug, Parser)]
#[command(
    name = "skep",
    version = commands::version_text(),
    disable_help_subcommand = false,
    max_term_width = 100,
    before_help = "Examples:
  skep swarm init                                    make this machine the first of a swarm
  skep swarm join --token TOKEN HOST:2377            add a machine
  skep stack deploy -c docker-stack.yml vote         run what a stack file says
  skep service scale vote_vote=5                     more of one service
  skep help SK0301                                   what a code in an error or warning means"
)]
pub struct Cli {
    /// Socket of the daemon to talk to
    #[arg(short = 'H', long, value_name = "SOCKET", env = "SKEP_HOST", default_value = DEFAULT_HOST)]
    pub host: String,
    /// Show what this node's manager knew last, without asking the others; for a
    /// swarm that has lost most of its managers
    #[arg(long, global = true)]
    pub stale: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_tree_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_says_what_it_does() {
        fn check(command: &clap::Command, path: &str) {
            let path = format!("{path} {}", command.get_name());
            if command.get_name() != "help" {
                assert!(command.get_about().is_some(), "{path} has no description");
                for argument in command.get_arguments() {
                    let id = argument.get_id();
                    assert!(argument.get_help().is_some(), "{path}: {id} has no help");
                }
                let leaf = command.get_subcommands().next().is_none();
                assert!(
                    !leaf || command.get_before_help().is_some() || path == " skep daemon",
                    "{path} has no example"
                );
            }
            for inner in command.get_subcommands() {
                check(inner, &path);
            }
        }
        check(&Cli::command(), "");
    }
}

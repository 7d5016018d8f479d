//! The root of the command line.

use crate::commands::{self, Command};
use crate::place::Place;
use clap::{CommandFactory as _, Parser};
use std::ffi::OsString;

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
  skep help SK0301                                   what a code in an error or warning means
  skep help exit-codes                               how commands end"
)]
pub struct Cli {
    /// Whom to talk to.
    #[command(flatten)]
    pub place: Place,
    /// Show what this node's manager knew last, without asking the others; for a
    /// swarm that has lost most of its managers
    #[arg(long, global = true)]
    pub stale: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Whether a command line, right or wrong, is that of a `plan`, or as good as.
pub fn is_plan(line: &[OsString]) -> bool {
    let lenient = Cli::command().ignore_errors(true);
    let Ok(read) = lenient.try_get_matches_from(line) else {
        return false;
    };
    let mut at = &read;
    let mut name = "";
    while let Some((inner, below)) = at.subcommand() {
        (name, at) = (inner, below);
    }
    let is_dry = at.try_get_one::<bool>("dry_run").ok().flatten();
    name == "plan" || is_dry == Some(&true)
}

#[cfg(test)]
mod tests {
    use super::*;

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
                let examples = command.get_before_help().map(ToString::to_string);
                assert!(!leaf || examples.is_some(), "{path} has no example");
                // Manual pages show them line by line.
                let examples = examples.unwrap_or_default();
                let mut lines = examples.lines();
                let head = lines.next();
                assert!(
                    matches!(head, None | Some("Example:" | "Examples:")),
                    "{path}: {head:?}"
                );
                assert!(
                    lines.all(|line| line.starts_with("  ")),
                    "{path}: {examples}"
                );
            }
            for inner in command.get_subcommands() {
                check(inner, &path);
            }
        }
        check(&Cli::command(), "");
    }

    #[test]
    fn a_plan_is_told_from_other_commands_also_when_it_is_wrong() {
        for (line, expected) in [
            ("skep service plan --image nginx web", true),
            ("skep -H /run/plan service plan --imag nginx web", true),
            ("skep service plan", true),
            ("skep service update --image plan plan", false),
            ("skep service plna web", false),
            ("skep stack deploy --dry-run vote", true),
            ("skep stack deploy -c a.yml vote", false),
            ("skep plan", false),
        ] {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            assert_eq!(is_plan(&words), expected, "{line}");
        }
    }
}

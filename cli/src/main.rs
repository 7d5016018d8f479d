//! `skep`: the command line of a swarm, and, as `skep daemon`, its node.
//!
//! Owns the entry: reading arguments, running one command, and turning its
//! error into one line and an exit code. What the commands do is in `commands`,
//! one file each, laid out as the commands are.

#![forbid(unsafe_code)]
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod args;
mod changes;
mod client;
mod commands;
mod complete;
mod contexts;
mod each;
mod error;
mod exit;
mod explain;
mod filter;
mod find;
mod flags;
mod foreseen;
mod help;
mod human;
mod json;
mod kept;
mod man;
mod output;
mod place;
mod progress;
mod prompt;
mod style;
mod table;
mod tasks;
mod template;
#[cfg(test)]
mod testing;
mod view;
mod why;

use args::Cli;
use clap::Parser as _;
use error::CliError;
use exit::Exit;
use std::ffi::OsString;
use std::process::ExitCode;
use style::{Style, Tone};

/// Gives back what is not used: that of the C library stays at the most a manager
/// ever needed.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    if complete::answered() {
        return ExitCode::SUCCESS;
    }
    let line: Vec<OsString> = std::env::args_os().collect();
    let done = match Cli::try_parse_from(&line) {
        Ok(cli) => commands::run(cli),
        Err(answer) => match help::asked(&line) {
            Some(word) => help::run(word),
            None => {
                // Usage errors and help itself. Where that fails there is nobody to tell.
                let _ = answer.print();
                match answer.use_stderr() {
                    true => Err(CliError::ReportedInvalid.into()),
                    false => Ok(()),
                }
            }
        },
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if let Some(text) = error::message(&error) {
                let head = Style::stderr().paint(Tone::Bad, "skep:");
                output::note!("{head} {text}");
            }
            let exit = error::exit(&error);
            let of_plan = exit == Exit::Usage && args::is_plan(&line);
            ExitCode::from(exit.code(of_plan))
        }
    }
}

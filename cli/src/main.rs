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
mod each;
mod error;
mod explain;
mod filter;
mod find;
mod flags;
mod help;
mod human;
mod json;
mod output;
mod progress;
mod prompt;
mod table;
mod tasks;
mod template;
#[cfg(test)]
mod testing;
mod view;

use args::Cli;
use clap::Parser as _;
use std::ffi::OsString;
use std::process::ExitCode;

/// Gives back what is not used: that of the C library stays at the most a manager
/// ever needed.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let done = match Cli::try_parse() {
        Ok(cli) => commands::run(cli),
        Err(answer) => {
            let line: Vec<OsString> = std::env::args_os().collect();
            match help::asked(&line) {
                Some(word) => help::run(word),
                // Prints usage errors and help itself; exit codes 2 and 0.
                None => answer.exit(),
            }
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if let Some(text) = error::message(&error) {
                output::note!("skep: {text}");
            }
            error::exit_code(&error)
        }
    }
}

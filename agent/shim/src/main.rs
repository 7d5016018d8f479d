//! `skep-shim`: the supervisor of one container.
//!
//! It makes the container through libcontainer, then replaces itself by a small
//! poll loop that owns the container's output, its log and its end, and that
//! outlives the daemon. The container does not outlive it.
//!
//! Under another name it is process 1 of a container that asks for an init.
//!
//! It has one thread from first to last: libcontainer clones its caller. What
//! is run, with which limits and mounts, is decided by the runtime.

mod confine;
mod create;
mod devices;
mod error;
mod events;
mod exec;
mod init;
mod log;
mod monitor;
mod profile;
mod remove;
mod seccomp;
mod stdio;
mod sys;
mod workload;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use skep_agent_shim_api::Bundle;
use std::error::Error;
use std::process::ExitCode;

const USAGE: &str = "usage: skep-shim create --bundle DIR    make a container and watch it
       skep-shim exec --bundle DIR      run a command beside it (request on standard input)
       skep-shim ... --open-files N     and let them have so many files open
       skep-shim --version

skep-shim is started by the skep daemon; there is no need to run it by hand.";

fn main() -> ExitCode {
    let mut words = std::env::args_os();
    if words.next().is_some_and(|name| name == init::NAME) {
        return match words.next() {
            Some(program) => init::run(program, words),
            None => ExitCode::from(2),
        };
    }
    let args: Vec<String> = words
        .map(|arg| arg.to_string_lossy().into_owned())
        .collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let mut args = args.as_slice();
    if let [rest @ .., "--open-files", files] = args {
        if let Err(reason) = limit_open_files(files) {
            eprintln!("skep-shim: --open-files {files}: {reason}");
            return ExitCode::from(2);
        }
        args = rest;
    }
    match args {
        ["create", "--bundle", dir] => create::run(&Bundle::new(*dir)),
        ["monitor", state] => monitor::run(state),
        ["exec", "--bundle", dir] => exec::run(&Bundle::new(*dir)),
        ["--version"] => {
            println!("skep-shim {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

/// Sets the limit of open files, for this process and those it starts: the daemon
/// takes more for itself than containers are to have.
fn limit_open_files(files: &str) -> Result<(), Box<dyn Error>> {
    let files: u64 = files.parse()?;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, files.min(hard), hard)?;
    Ok(())
}

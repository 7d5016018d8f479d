//! Process 1 of a container that asks for one (`init: true`): starts the program,
//! hands every signal on to it, takes the status of whatever ends, and ends as the
//! program does.
//!
//! It is this binary, executed in the container in place of the program, confined
//! as that. Nothing of the container needs to be there for it.

use crate::sys;
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::SignalFd;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

/// The name it is executed by.
pub const NAME: &str = "skep-init";

/// Runs `program` under the name that is the first of `args`.
pub fn run(program: OsString, mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let mut command = Command::new(&program);
    if let Some(name) = args.next() {
        command.arg0(name);
    }
    command.args(args);
    match supervise(command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{NAME}: {}: {error}", program.to_string_lossy());
            match error.kind() {
                io::ErrorKind::NotFound => ExitCode::from(127),
                _ => ExitCode::from(126),
            }
        }
    }
}

fn supervise(mut command: Command) -> io::Result<ExitCode> {
    prctl::set_name(c"skep-init")?;
    // This binary is the node's: nobody in the container gets at it by way of us.
    prctl::set_dumpable(false)?;
    // Among the node's processes we are not the first: what the program leaves
    // behind comes to us all the same.
    prctl::set_child_subreaper(true)?;
    // Before the program runs, so that none is lost.
    let mask = SigSet::all();
    mask.thread_block()?;
    let signals = SignalFd::new(&mask)?;
    sys::unblock_signals_in(&mut command);
    let program = i32::try_from(command.spawn()?.id()).map_err(io::Error::other)?;
    loop {
        let Some(signal) = signals.read_signal()? else {
            continue;
        };
        let number = signal.ssi_signo.cast_signed();
        if number != Signal::SIGCHLD as i32 {
            // It may be at its end.
            let _gone = sys::kill(program, number);
        } else if let Some(code) = reap(Pid::from_raw(program))? {
            return Ok(code);
        }
    }
}

/// Takes the status of all that ended; the code of the program if it is among them.
fn reap(program: Pid) -> io::Result<Option<ExitCode>> {
    let mut ended = None;
    loop {
        let status = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) | Err(nix::errno::Errno::ECHILD) => return Ok(ended),
            status => status?,
        };
        let code = match status {
            WaitStatus::Exited(pid, code) if pid == program => code,
            WaitStatus::Signaled(pid, signal, _) if pid == program => 128 + signal as i32,
            _ => continue,
        };
        ended = Some(ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)));
    }
}

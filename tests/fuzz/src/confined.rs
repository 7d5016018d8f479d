//! The process in which a decoder reads: it has little memory and is watched, so that an
//! input which fills the memory, the stack or the time ends it and nothing else.
//!
//! Owns the limits and how the input at fault is known afterwards.

use crate::targets::Target;
use rustix::process::{Resource, Rlimit, setrlimit};
use std::fmt;
use std::fs;
use std::process::{Command, ExitStatus};
use std::thread::sleep;
use std::time::{Duration, SystemTime};

/// The word with which a process is told to be one of these.
pub const WITHIN: &str = "--within";
/// Most memory that it may have, its own and that of its threads: no decoder needs more,
/// whatever it is given.
const MEMORY: u64 = 256 << 20;
/// An input that keeps a decoder busy for longer is a fault as well. The machine may
/// stand still for some of it.
const TOO_LONG: Duration = Duration::from_secs(60);
/// How often is looked at it.
const PERIOD: Duration = Duration::from_millis(20);

/// This process, confined.
pub struct Confined {
    /// The file with the input that is being read.
    path: String,
}

impl Confined {
    pub fn enter(path: String) -> Result<Self, String> {
        // The kernel counts what is private and can be written, reserved or not.
        let limit = Rlimit {
            current: Some(MEMORY),
            maximum: Some(MEMORY),
        };
        setrlimit(Resource::Data, limit).map_err(|error| format!("no limit: {error}"))?;
        Ok(Confined { path })
    }

    /// Has a decoder read an input, which is kept where the watcher finds it.
    pub fn read(&mut self, target: &Target, input: &[u8]) -> Result<(), String> {
        let kept = fs::write(&self.path, input);
        kept.map_err(|error| format!("cannot write {}: {error}", self.path))?;
        (target.read)(input);
        Ok(())
    }

    /// What it took at most, in words.
    pub fn peak(&self) -> String {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib: u64 = line
            .and_then(|line| line.split_whitespace().next()?.parse().ok())
            .unwrap_or_default();
        format!("{} MB at most", kib >> 10)
    }
}

/// An input that a decoder cannot take.
pub struct Fault {
    pub input: Vec<u8>,
    /// How its process ended; none for one that did not.
    ended: Option<ExitStatus>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ended {
            Some(status) => write!(f, "ends with {status}, as said above"),
            None => write!(f, "takes longer than {TOO_LONG:?}"),
        }
    }
}

/// Starts a confined process with these options and watches it to its end.
pub fn watch(options: &[(&str, String)]) -> Result<Result<(), Fault>, String> {
    let wrong = |error: std::io::Error| format!("cannot confine a decoder: {error}");
    let folder = tempfile::tempdir().map_err(wrong)?;
    let path = folder.path().join("input");
    fs::write(&path, []).map_err(wrong)?;
    let mut command = Command::new(std::env::current_exe().map_err(wrong)?);
    for (word, value) in options {
        command.arg(word).arg(value);
    }
    let mut child = command.arg(WITHIN).arg(&path).spawn().map_err(wrong)?;
    let ended = loop {
        if let Some(status) = child.try_wait().map_err(wrong)? {
            break Some(status);
        }
        // Written when the reading began.
        let begun = fs::metadata(&path).and_then(|found| found.modified());
        let took = SystemTime::now().duration_since(begun.map_err(wrong)?);
        if took.is_ok_and(|took| took > TOO_LONG) {
            child.kill().and_then(|()| child.wait()).map_err(wrong)?;
            break None;
        }
        sleep(PERIOD);
    };
    if ended.is_some_and(|status| status.success()) {
        return Ok(Ok(()));
    }
    let input = fs::read(&path).map_err(wrong)?;
    Ok(Err(Fault { input, ended }))
}

//! Whether a bundle still has a shim, however that shim is.
//!
//! The runtime locks a file of the bundle and gives it to the shim as standard
//! input, so that the kernel lets go of the lock when the shim has ended and not
//! before. A shim has no socket until its container is made: without the lock it
//! would be taken for dead when the daemon is killed meanwhile, and would go on
//! in a bundle that belongs to its successor by then.

use crate::{Error, Result, Runtime};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use skep_agent_shim_api::Bundle;
use skep_types::TaskId;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long a shim may take to end by itself once it has nothing more to do.
const GRACE: Duration = Duration::from_secs(1);
/// How long one that was killed may take to be gone.
const KILL_LIMIT: Duration = Duration::from_secs(10);
/// How often the lock is looked at while a shim ends.
const INTERVAL: Duration = Duration::from_millis(2);

/// The locked file for the standard input of a new shim.
pub(crate) fn lock(bundle: &Bundle) -> Result<File> {
    let path = bundle.lock();
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).read(true).write(true);
    let file = options.open(&path).map_err(Error::file("make", &path))?;
    file.lock().map_err(Error::file("lock", &path))?;
    Ok(file)
}

/// Whether there is a process that has the lock.
pub(crate) fn has_shim(bundle: &Bundle) -> Result<bool> {
    let path = bundle.lock();
    let file = match File::open(&path) {
        Ok(file) => file,
        // None was ever started.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(Error::file("open", &path)(error)),
    };
    // Shared: two who look do not take each other for a shim.
    match file.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(Error::file("lock", &path)(error)),
    }
}

async fn ends_within(bundle: &Bundle, limit: Duration) -> Result<bool> {
    let end = Instant::now() + limit;
    while has_shim(bundle)? {
        if Instant::now() >= end {
            return Ok(false);
        }
        sleep(INTERVAL).await;
    }
    Ok(true)
}

impl Runtime {
    /// Waits for the shim to end; kills it where it does not.
    pub(crate) async fn end_shim(&self, task: &TaskId) -> Result<()> {
        let bundle = self.bundle(task);
        if ends_within(&bundle, GRACE).await? {
            return Ok(());
        }
        tracing::warn!(%task, "the shim does not end; it is killed");
        let fail = |source| Error::Remove {
            task: *task,
            what: "its supervisor".to_owned(),
            source,
        };
        kill_holders(&bundle).map_err(fail)?;
        if ends_within(&bundle, KILL_LIMIT).await? {
            Ok(())
        } else {
            Err(fail(io::ErrorKind::TimedOut.into()))
        }
    }
}

/// Kills every process whose standard input is the lock: the shim, and what it
/// has cloned that is not yet a container.
fn kill_holders(bundle: &Bundle) -> io::Result<()> {
    let lock = fs::metadata(bundle.lock())?;
    for entry in fs::read_dir("/proc")?.flatten() {
        let pid = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        // A process may end while we look at it.
        let (Some(pid), Ok(stdin)) = (pid, fs::metadata(entry.path().join("fd/0"))) else {
            continue;
        };
        if (stdin.dev(), stdin.ino()) == (lock.dev(), lock.ino()) {
            let _gone = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
    Ok(())
}

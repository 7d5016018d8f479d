//! What this node has taken on, on disk: each task as it was assigned and
//! where it was last. After a restart the agent goes on from here, whether a
//! manager can be reached or not. Secrets are not part of it.
//!
//! One file a task, written aside, synced and renamed.

use prost::Message;
use skep_proto::{pb, task_on_wire, task_with_spec};
use skep_types::{Task, TaskId};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

/// A file operation that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {path}")]
pub struct LedgerError {
    operation: &'static str,
    path: PathBuf,
    #[source]
    source: std::io::Error,
}

/// The directory of tasks.
#[derive(Debug, Clone)]
pub(crate) struct Ledger {
    dir: PathBuf,
}

impl Ledger {
    /// Opens the ledger, making its directory if need be.
    pub(crate) fn open(dir: PathBuf) -> Result<Ledger, LedgerError> {
        fs::create_dir_all(&dir).map_err(|source| failed("make", &dir, source))?;
        Ok(Ledger { dir })
    }

    /// All tasks in it. A file that cannot be read is a task nobody knows of
    /// any more: it is removed, and its container with it by the caller.
    pub(crate) fn load(&self) -> Result<Vec<Task>, LedgerError> {
        let mut tasks = Vec::new();
        let entries =
            fs::read_dir(&self.dir).map_err(|source| failed("list", &self.dir, source))?;
        for entry in entries {
            let path = entry
                .map_err(|source| failed("list", &self.dir, source))?
                .path();
            let bytes = fs::read(&path).map_err(|source| failed("read", &path, source))?;
            let task = pb::Task::decode(bytes.as_slice())
                .map_err(|error| error.to_string())
                .and_then(|task| task_with_spec(task, None).map_err(|error| error.to_string()));
            match task {
                Ok(task) => tasks.push(task),
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "task file dropped");
                    fs::remove_file(&path).map_err(|source| failed("remove", &path, source))?;
                }
            }
        }
        Ok(tasks)
    }

    /// Writes a task and its present status; durable on return.
    pub(crate) fn put(&self, task: &Task) -> Result<(), LedgerError> {
        let path = self.path(task.id);
        let aside = path.with_extension("new");
        let bytes = task_on_wire(task, true).encode_to_vec();
        let write = || {
            let mut file = File::create(&aside)?;
            file.write_all(&bytes)?;
            file.sync_data()?;
            fs::rename(&aside, &path)
        };
        write().map_err(|source| failed("write", &path, source))
    }

    /// Forgets a task; fine when it is not there.
    pub(crate) fn remove(&self, task: TaskId) -> Result<(), LedgerError> {
        let path = self.path(task);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                Err(failed("remove", &path, source))
            }
            _ => Ok(()),
        }
    }

    fn path(&self, task: TaskId) -> PathBuf {
        self.dir.join(task.to_string())
    }
}

fn failed(operation: &'static str, path: &Path, source: std::io::Error) -> LedgerError {
    LedgerError {
        operation,
        path: path.to_owned(),
        source,
    }
}

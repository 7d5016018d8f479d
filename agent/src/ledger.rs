//! What this node has taken on, on disk: each task as it was assigned and
//! where it was last. After a restart the agent goes on from here, whether a
//! manager can be reached or not. Secrets are not part of it.
//!
//! One file a task, written aside and renamed. How a task ended is synced, as its
//! container may be gone soon after. What comes before that need only outlive the
//! daemon: a machine that loses power loses its containers as well, and a mark of
//! the boot tells that what was written may lag behind.

use prost::Message;
use skep_proto::{pb, task_on_wire, task_with_spec};
use skep_types::{Task, TaskId};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
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
            if path.extension().is_some() {
                // Written aside and not renamed: the file it was to replace counts.
                fs::remove_file(&path).map_err(|source| failed("remove", &path, source))?;
                continue;
            }
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

    /// Marks the machine's present boot; whether it was marked before.
    pub(crate) fn mark_boot(&self) -> Result<bool, LedgerError> {
        let source = Path::new("/proc/sys/kernel/random/boot_id");
        let boot = fs::read(source).map_err(|error| failed("read", source, error))?;
        let mark = self.dir.with_extension("boot");
        if fs::read(&mark).is_ok_and(|marked| marked == boot) {
            return Ok(true);
        }
        fs::write(&mark, &boot).map_err(|source| failed("write", &mark, source))?;
        Ok(false)
    }

    /// Writes a task and its present status: durable on return if it has ended.
    pub(crate) async fn put(&self, task: Task) -> Result<(), LedgerError> {
        let (ledger, id) = (self.clone(), task.id);
        let written = tokio::task::spawn_blocking(move || ledger.write(&task)).await;
        written.unwrap_or_else(|cut| Err(failed("write", &self.path(id), cut.into())))
    }

    fn write(&self, task: &Task) -> Result<(), LedgerError> {
        let path = self.path(task.id);
        let aside = path.with_extension("new");
        let bytes = task_on_wire(task, true).encode_to_vec();
        let write = || {
            // A spec may hold passwords in its environment.
            let mut file = OpenOptions::new()
                .create(true)
                .truncate(true)
                .write(true)
                .mode(0o600)
                .open(&aside)?;
            file.write_all(&bytes)?;
            if !task.status.state.is_terminal() {
                return fs::rename(&aside, &path);
            }
            file.sync_data()?;
            fs::rename(&aside, &path)?;
            File::open(&self.dir)?.sync_data()
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

#[cfg(test)]
mod tests {
    use super::*;
    use skep_types::{Meta, ServiceId, Slot, TaskState, TaskStatus, Version};

    fn task(bits: u128) -> Task {
        Task {
            id: TaskId::from_bits(bits),
            meta: Meta::default(),
            service: ServiceId::from_bits(9),
            service_name: "web".into(),
            slot: Slot(1),
            node: None,
            spec: std::sync::Arc::default(),
            spec_version: Version(1),
            desired: TaskState::Running,
            status: TaskStatus {
                state: TaskState::Running,
                ..TaskStatus::default()
            },
            attachments: Vec::new(),
            cause: Default::default(),
            stop_cause: None,
            restarts: Default::default(),
            start_at: None,
            run: 0,
            generic: Default::default(),
        }
    }

    #[test]
    fn a_ledger_opened_again_holds_what_was_put_and_not_what_was_removed() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(dir.path().join("tasks")).unwrap();
        ledger.write(&task(1)).unwrap();
        ledger.write(&task(2)).unwrap();
        ledger.remove(TaskId::from_bits(1)).unwrap();
        ledger.remove(TaskId::from_bits(1)).unwrap();
        let again = Ledger::open(dir.path().join("tasks")).unwrap();
        assert_eq!(again.load().unwrap(), [task(2)]);
    }

    #[test]
    fn a_boot_is_new_once() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(dir.path().join("tasks")).unwrap();
        assert!(!ledger.mark_boot().unwrap());
        assert!(ledger.mark_boot().unwrap());
        fs::write(dir.path().join("tasks.boot"), "another").unwrap();
        assert!(!ledger.mark_boot().unwrap());
        assert_eq!(ledger.load().unwrap(), []);
    }

    #[test]
    fn a_damaged_file_is_dropped_and_the_others_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(dir.path().to_owned()).unwrap();
        ledger.write(&task(1)).unwrap();
        fs::write(dir.path().join("half"), b"\xff\xff").unwrap();
        fs::copy(
            dir.path().join(task(1).id.to_string()),
            dir.path().join("copy.new"),
        )
        .unwrap();
        assert_eq!(ledger.load().unwrap(), [task(1)]);
        assert!(!dir.path().join("half").exists() && !dir.path().join("copy.new").exists());
    }
}

//! What can go wrong with a container, in words that a user of `service ps` can
//! act on.

use skep_types::TaskId;
use std::io;
use std::path::{Path, PathBuf};

/// An operation that failed, with its object.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or directory of the runtime.
    #[error("cannot {verb} {}", .path.display())]
    File {
        /// What was tried.
        verb: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A mount that belongs to a container.
    #[error("cannot mount {what} on {}", .path.display())]
    Mount {
        /// What was to be mounted.
        what: String,
        /// Where.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A spec that asks for something that cannot be.
    #[error("{0}")]
    Spec(String),
    /// A bundle that is there already.
    #[error("task {0} has a container already")]
    Exists(TaskId),
    /// A task without a container.
    #[error("task {0} has no container")]
    NotFound(TaskId),
    /// The shim could not be started.
    #[error("cannot run {}", .shim.display())]
    Shim {
        /// The program.
        shim: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The container could not be made; the reason is the shim's.
    #[error("{reason}")]
    Create {
        /// One line.
        reason: String,
    },
    /// The program could not be run.
    #[error("{reason}")]
    Start {
        /// One line.
        reason: String,
    },
    /// A signal could not be sent.
    #[error("cannot signal the container: {reason}")]
    Signal {
        /// One line.
        reason: String,
    },
    /// A command beside the container could not be run.
    #[error("{reason}")]
    Exec {
        /// One line.
        reason: String,
    },
    /// The shim does not answer, or in a way that cannot be understood.
    #[error("the shim of task {task} does not answer")]
    Control {
        /// The task.
        task: TaskId,
        /// What happened on the connection.
        source: io::Error,
    },
    /// The thread and mount namespace in which a container is made.
    #[error("cannot make a mount namespace for the container")]
    Apart {
        /// Why not.
        source: io::Error,
    },
    /// A container of which something cannot be removed.
    #[error("cannot remove the container of task {task}: {what}")]
    Remove {
        /// The task.
        task: TaskId,
        /// What is in the way.
        what: String,
        /// Why.
        source: io::Error,
    },
    /// A background operation that was cut off.
    #[error("the operation was cut off")]
    Interrupted(#[source] tokio::task::JoinError),
}

impl Error {
    /// For `map_err` on operations with files.
    pub(crate) fn file<E: Into<io::Error>>(
        verb: &'static str,
        path: impl AsRef<Path>,
    ) -> impl FnOnce(E) -> Self {
        let path = path.as_ref().to_owned();
        move |source| Self::File {
            verb,
            path,
            source: source.into(),
        }
    }

    /// The error and its causes on one line, as a task shows it.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}

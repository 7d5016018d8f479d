//! The errors of the shim, and how a chain of them becomes the one line that
//! the user sees as the reason of a failed task.

use std::error::Error as _;
use std::io::{self, Write};
use std::path::PathBuf;

/// What the shim could not do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or directory of the bundle.
    #[error("cannot {verb} {}", .path.display())]
    File {
        /// What was tried.
        verb: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A request that is not one.
    #[error("the request in {} is broken", .path.display())]
    Request {
        /// Where it was read from.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// Something asked of the kernel.
    #[error("cannot {verb}")]
    Kernel {
        /// What was tried.
        verb: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// The system call filter.
    #[error("cannot compile the seccomp filter")]
    Seccomp(#[source] libseccomp::error::SeccompError),
    /// Reported in its own words from inside the container.
    #[error("{0}")]
    Reported(String),
}

/// Says what went wrong on standard error, which is a file of the bundle: a disk
/// that is full must not end the supervisor, as `eprintln!` would.
pub fn complain(text: &str) {
    let _full = writeln!(io::stderr(), "skep-shim: {text}");
}

impl Error {
    /// For `map_err` on a system call.
    pub fn kernel<E: Into<io::Error>>(verb: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::Kernel {
            verb,
            source: source.into(),
        }
    }

    /// The error and its causes on one line.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            let part = error.to_string();
            // Some libraries repeat their cause in their own text.
            if !text.ends_with(&part) {
                text.push_str(": ");
                text.push_str(&part);
            }
            cause = error.source();
        }
        text
    }
}

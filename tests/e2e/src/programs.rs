//! Where the programs are, and the repository they come from.

use crate::command;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

/// The programs under test.
#[derive(Debug, Clone)]
pub struct Programs {
    /// The folder with `skep` and `skep-shim`.
    pub folder: PathBuf,
}

impl Programs {
    /// Those in `SKEP_BIN`; without it those that `deploy/build --dev` makes, unless
    /// [`Programs::optimised`] was asked before.
    ///
    /// # Panics
    /// When they are not there or cannot be built.
    #[must_use]
    pub fn find() -> Self {
        Self::built(&["--dev"])
    }

    /// As [`Programs::find`], but built as users have them. All who ask later get
    /// the same.
    ///
    /// # Panics
    /// As [`Programs::find`].
    pub fn optimised() -> Self {
        Self::built(&[])
    }

    fn built(options: &[&str]) -> Self {
        static FOLDER: OnceLock<PathBuf> = OnceLock::new();
        let folder = FOLDER.get_or_init(|| match std::env::var_os("SKEP_BIN") {
            Some(folder) => root().join(folder),
            None => {
                let mut build = Command::new(root().join("deploy/build"));
                let built = command::run(build.args(options), Duration::from_secs(3600));
                PathBuf::from(built.succeeds().text())
            }
        });
        for name in ["skep", "skep-shim"] {
            let path = folder.join(name);
            assert!(path.is_file(), "{} is not there", path.display());
        }
        Self {
            folder: folder.clone(),
        }
    }

    /// The path of `skep`.
    #[must_use]
    pub fn skep(&self) -> PathBuf {
        self.folder.join("skep")
    }
}

/// The root of the repository.
#[must_use]
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("this crate lies in tests/e2e")
}

/// The voting application's stack file.
#[must_use]
pub fn voting_stack() -> PathBuf {
    root().join("stacks/examples/voting/docker-stack.yml")
}

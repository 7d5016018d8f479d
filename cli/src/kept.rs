//! Files that commands leave behind: whole or not at all, and read by nobody else where they
//! hold keys.

use anyhow::{Context as _, Result};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// A file that is written aside, and has its name once it is whole.
pub struct Aside {
    file: File,
    path: PathBuf,
    target: PathBuf,
    kept: bool,
}

impl Aside {
    /// Begins one, for the owner alone.
    ///
    /// # Errors
    /// When it cannot be made there.
    pub fn begin(target: &Path) -> Result<Self> {
        let mut name = target.as_os_str().to_owned();
        name.push(".new");
        let path = PathBuf::from(name);
        // What a command left that was killed; whoever may read that, nobody reads this.
        let _ = fs::remove_file(&path);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Aside {
            file,
            path,
            target: target.to_owned(),
            kept: false,
        })
    }

    /// Adds to it.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn write(&mut self, data: &[u8]) -> Result<()> {
        let written = self.file.write_all(data);
        written.with_context(|| format!("cannot write {}", self.path.display()))
    }

    /// Gives it its name.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn finish(mut self) -> Result<()> {
        let done = self.file.sync_all();
        done.and_then(|()| fs::rename(&self.path, &self.target))
            .with_context(|| format!("cannot write {}", self.target.display()))?;
        self.kept = true;
        Ok(())
    }
}

/// Puts a text into a file of the user's settings, in a folder that is made where it is not
/// there.
///
/// # Errors
/// When the disk refuses.
pub fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(folder) = path.parent() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let mut file = Aside::begin(path)?;
    file.write(text.as_bytes())?;
    file.finish()
}

impl Drop for Aside {
    fn drop(&mut self) {
        if !self.kept {
            // What ended it is said already.
            let _ = fs::remove_file(&self.path);
        }
    }
}

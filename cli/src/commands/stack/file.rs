//! Reading the stack files that a command names.

use super::findings::Findings;
use crate::error::{CliError, usage};
use anyhow::{Context as _, Result};
use skep_stacks::{Diagnostic, Diagnostics, LoadInput, Loaded, Normalized};
use std::io::Read as _;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

/// Stack files, read.
pub struct Files {
    /// Path as given, and text.
    texts: Vec<(String, String)>,
    /// Where relative paths start.
    workdir: PathBuf,
}

impl Files {
    /// Reads the files; `-` is standard input.
    ///
    /// # Errors
    /// When one cannot be read or is not text.
    pub fn read(paths: &[String]) -> Result<Self> {
        let here = std::env::current_dir().context("cannot find the working directory")?;
        let mut workdir = here.clone();
        let mut texts = Vec::with_capacity(paths.len());
        for (index, path) in paths.iter().enumerate() {
            let bytes = if path == "-" {
                let mut bytes = Vec::new();
                std::io::stdin()
                    .take(MOST_READ)
                    .read_to_end(&mut bytes)
                    .context("cannot read standard input")?;
                bytes
            } else {
                if index == 0 {
                    let absolute = here.join(path);
                    workdir = absolute.parent().map_or(here.clone(), Path::to_owned);
                }
                bounded(Path::new(path), true)
                    .map_err(|error| usage(format!("cannot read {path}: {error}")))?
            };
            let text = String::from_utf8(bytes)
                .map_err(|_| usage(format!("{path} is not text in UTF-8")))?;
            let name = if path == "-" { "stdin" } else { path };
            texts.push((name.to_owned(), text));
        }
        Ok(Files { texts, workdir })
    }

    /// Loads the files as a stack; says every warning and error.
    ///
    /// # Errors
    /// [`CliError::ReportedInvalid`].
    pub fn load(&self, stack: &str, how: &Findings) -> Result<Loaded> {
        self.with(stack, how, skep_stacks::load, |l| &mut l.warnings)
    }

    /// The files in normal form; says every warning and error.
    ///
    /// # Errors
    /// [`CliError::ReportedInvalid`].
    pub fn normalize(&self, interpolate: bool, how: &Findings) -> Result<Normalized> {
        let normal = |input: LoadInput<'_>| skep_stacks::normalize(input, interpolate);
        self.with("", how, normal, |n| &mut n.warnings)
    }

    fn with<T>(
        &self,
        stack: &str,
        how: &Findings,
        use_it: impl FnOnce(LoadInput<'_>) -> Result<T, Diagnostics>,
        warnings: impl FnOnce(&mut T) -> &mut Vec<Diagnostic>,
    ) -> Result<T> {
        let files: Vec<(&str, &str)> = self
            .texts
            .iter()
            .map(|(path, text)| (path.as_str(), text.as_str()))
            .collect();
        let input = LoadInput {
            files: &files,
            stack,
            env: &|key| std::env::var(key).ok(),
            read: &|path| bounded(path, false),
            workdir: &self.workdir,
        };
        match use_it(input) {
            Ok(mut done) => {
                how.tell(std::mem::take(warnings(&mut done)))?;
                Ok(done)
            }
            Err(Diagnostics(found)) => {
                how.tell(found)?;
                // There is an error among them.
                Err(CliError::ReportedInvalid.into())
            }
        }
    }
}

/// Most bytes that are read of one file: one more than anything a stack may name, so that
/// the loader says that it is too large.
const MOST_READ: u64 = (4 << 20) + 1;

/// Reads a file, or a pipe where that is allowed. What others name in a stack file must not
/// be able to keep the reader waiting, nor to fill its memory.
fn bounded(path: &Path, pipe: bool) -> std::io::Result<Vec<u8>> {
    // Asked before it is opened: that alone may wait.
    let kind = std::fs::metadata(path)?.file_type();
    let is_read = kind.is_file() || (pipe && kind.is_fifo());
    if !is_read {
        let message = match kind.is_dir() {
            true => "it is a directory",
            false => "it is not a regular file",
        };
        return Err(std::io::Error::other(message));
    }
    let mut bytes = Vec::new();
    std::fs::File::open(path)?
        .take(MOST_READ)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_file_is_not_read() -> Result<()> {
        let refused = |path: &str| bounded(Path::new(path), true).map_err(|e| e.to_string());
        assert_eq!(refused("/dev/zero"), Err("it is not a regular file".into()));
        assert_eq!(refused("/"), Err("it is a directory".into()));
        let folder = tempfile::tempdir()?;
        let large = folder.path().join("large");
        std::fs::File::create(&large)?.set_len(MOST_READ * 2)?;
        assert_eq!(bounded(&large, false)?.len() as u64, MOST_READ);
        Ok(())
    }
}

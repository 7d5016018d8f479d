//! Reading the stack files that a command names.

use crate::error::{CliError, usage};
use crate::output::note;
use anyhow::{Context as _, Result};
use skep_stacks::{Diagnostics, LoadInput, Loaded, Normalized};
use std::io::Read as _;
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
                    .read_to_end(&mut bytes)
                    .context("cannot read standard input")?;
                bytes
            } else {
                if index == 0 {
                    let absolute = here.join(path);
                    workdir = absolute.parent().map_or(here.clone(), Path::to_owned);
                }
                std::fs::read(path)
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
    pub fn load(&self, stack: &str) -> Result<Loaded> {
        self.with(stack, |input| {
            let loaded = skep_stacks::load(input);
            loaded.inspect(|loaded| {
                for warning in &loaded.warnings {
                    note!("{warning}");
                }
            })
        })
    }

    /// The files in normal form; says every warning and error.
    ///
    /// # Errors
    /// [`CliError::ReportedInvalid`].
    pub fn normalize(&self, interpolate: bool) -> Result<Normalized> {
        self.with("", |input| {
            let normal = skep_stacks::normalize(input, interpolate);
            normal.inspect(|normal| {
                for warning in &normal.warnings {
                    note!("{warning}");
                }
            })
        })
    }

    fn with<T>(
        &self,
        stack: &str,
        use_it: impl FnOnce(LoadInput<'_>) -> Result<T, Diagnostics>,
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
            read: &|path| std::fs::read(path),
            workdir: &self.workdir,
        };
        use_it(input).map_err(|diagnostics| {
            note!("{diagnostics}");
            CliError::ReportedInvalid.into()
        })
    }
}

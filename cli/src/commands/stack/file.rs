//! Reading the stack files that a command names, and the variables for them.

use super::findings::Findings;
use crate::error::{CliError, usage};
use anyhow::{Context as _, Result};
use skep_stacks::{Diagnostic, Diagnostics, LoadInput, Loaded, Normalized};
use std::io::Read as _;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

/// The files of a command line.
#[derive(Debug, clap::Args)]
pub struct Named {
    /// Stack file, `-` for standard input; repeatable, later ones on top
    #[arg(short, long, value_name = "FILE", required = true)]
    compose_file: Vec<String>,
    /// Variables for the stack files, instead of .env beside the first; repeatable, later ones on top
    #[arg(long, value_name = "FILE")]
    env_file: Vec<String>,
    /// Also services of this profile, * for all; repeatable, else those of COMPOSE_PROFILES
    #[arg(long, value_name = "NAME")]
    profile: Vec<String>,
}

/// Stack files, read.
pub struct Files {
    /// Path as given, and text.
    texts: Vec<(String, String)>,
    /// The same of the files with variables for them.
    variables: Vec<(String, String)>,
    /// Profiles whose services are there too.
    profiles: Vec<String>,
    /// Where relative paths start.
    workdir: PathBuf,
}

impl Files {
    /// Reads the files.
    ///
    /// # Errors
    /// When one cannot be read or is not text.
    pub fn read(named: &Named) -> Result<Self> {
        let here = std::env::current_dir().context("cannot find the working directory")?;
        let mut workdir = here.clone();
        let mut texts = Vec::with_capacity(named.compose_file.len());
        for (index, path) in named.compose_file.iter().enumerate() {
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
                bounded(Path::new(path), true).map_err(|error| unreadable(path, &error))?
            };
            let name = if path == "-" { "stdin" } else { path };
            texts.push((name.to_owned(), utf8(path, bytes)?));
        }
        let variables = match (&named.env_file[..], named.compose_file.first()) {
            ([], Some(first)) => beside(first, &workdir)?,
            (files, _) => {
                let texts = files.iter().map(|path| given(path));
                texts.collect::<Result<_>>()?
            }
        };
        Ok(Files {
            texts,
            variables,
            profiles: named.profile.clone(),
            workdir,
        })
    }

    /// Loads the files as a stack, which has their `name` unless one is given; says every warning and error.
    ///
    /// # Errors
    /// [`CliError::ReportedInvalid`].
    pub fn load(&self, stack: Option<&str>, how: &Findings) -> Result<Loaded> {
        self.with(stack, how, skep_stacks::load, |l| &mut l.warnings)
    }

    /// The files in normal form; says every warning and error.
    ///
    /// # Errors
    /// [`CliError::ReportedInvalid`].
    pub fn normalize(&self, interpolate: bool, how: &Findings) -> Result<Normalized> {
        let normal = |input: LoadInput<'_>| skep_stacks::normalize(input, interpolate);
        self.with(None, how, normal, |n| &mut n.warnings)
    }

    fn with<T>(
        &self,
        stack: Option<&str>,
        how: &Findings,
        use_it: impl FnOnce(LoadInput<'_>) -> Result<T, Diagnostics>,
        warnings: impl FnOnce(&mut T) -> &mut Vec<Diagnostic>,
    ) -> Result<T> {
        let (files, variables) = (lent(&self.texts), lent(&self.variables));
        let profiles: Vec<&str> = self.profiles.iter().map(String::as_str).collect();
        let input = LoadInput {
            files: &files,
            stack,
            profiles: &profiles,
            env: &|key| std::env::var(key).ok(),
            env_files: &variables,
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

fn lent(texts: &[(String, String)]) -> Vec<(&str, &str)> {
    let texts = texts.iter();
    texts.map(|(path, text)| (&**path, &**text)).collect()
}

fn unreadable(path: &str, error: &std::io::Error) -> anyhow::Error {
    usage(format!("cannot read {path}: {error}"))
}

fn utf8(path: &str, bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes).map_err(|_| usage(format!("{path} is not text in UTF-8")))
}

/// A file of `--env-file`; `/dev/null` is an empty one.
fn given(path: &str) -> Result<(String, String)> {
    let bytes = match path {
        "/dev/null" => Vec::new(),
        path => bounded(Path::new(path), true).map_err(|error| unreadable(path, &error))?,
    };
    Ok((path.to_owned(), utf8(path, bytes)?))
}

/// The `.env` beside the first stack file, where there is one. A directory of that name is
/// something else.
fn beside(first: &str, workdir: &Path) -> Result<Vec<(String, String)>> {
    let path = workdir.join(".env");
    let shown = match first {
        "-" => ".env".to_owned(),
        first => Path::new(first)
            .with_file_name(".env")
            .display()
            .to_string(),
    };
    if std::fs::metadata(&path).map_or(true, |found| found.is_dir()) {
        return Ok(Vec::new());
    }
    let bytes = bounded(&path, false).map_err(|error| unreadable(&shown, &error))?;
    let text = utf8(&shown, bytes)?;
    Ok(vec![(shown, text)])
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
        use std::io::{Error, ErrorKind};
        return Err(match kind.is_dir() {
            true => Error::new(ErrorKind::IsADirectory, "it is a directory"),
            false => Error::other("it is not a regular file"),
        });
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

    fn read(folder: &Path, env_files: &[&str]) -> Result<Vec<(String, String)>> {
        let path = |name: &str| match name {
            "/dev/null" => name.to_owned(),
            name => folder.join(name).display().to_string(),
        };
        let named = Named {
            compose_file: vec![path("stack.yml")],
            env_file: env_files.iter().map(|name| path(name)).collect(),
            profile: Vec::new(),
        };
        let all = Files::read(&named)?.variables.into_iter();
        let short = |name: String| name.replace(&format!("{}/", folder.display()), "");
        Ok(all.map(|(name, text)| (short(name), text)).collect())
    }

    #[test]
    fn variables_come_from_beside_the_first_file_or_where_one_says() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text);
        let file = |name: &str, text: &str| (name.to_owned(), text.to_owned());
        write("stack.yml", "services: {}")?;
        assert_eq!(read(folder.path(), &[])?, []);
        write(".env", "A=1")?;
        write("b.env", "A=2")?;
        assert_eq!(read(folder.path(), &[])?, [file(".env", "A=1")]);
        let two = [file("b.env", "A=2"), file(".env", "A=1")];
        assert_eq!(read(folder.path(), &["b.env", ".env"])?, two);
        assert_eq!(
            read(folder.path(), &["/dev/null"])?,
            [file("/dev/null", "")]
        );
        let missing = read(folder.path(), &["c.env"]).map_err(|error| error.to_string());
        assert!(missing.is_err_and(|error| error.starts_with("cannot read ")));
        std::fs::remove_file(folder.path().join(".env"))?;
        std::fs::create_dir(folder.path().join(".env"))?;
        assert_eq!(read(folder.path(), &[])?, []);
        Ok(())
    }

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

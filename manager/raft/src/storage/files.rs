//! Small helpers for files: private, durable, named in every error.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::error::OpenError;

/// Adds the operation and the path to an I/O error.
pub(crate) fn at<'a>(
    action: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> OpenError + 'a {
    move |source| OpenError::Io {
        action,
        path: path.into(),
        source,
    }
}

/// Makes the directory if need be and takes its lock, which lasts as long as
/// the file that is returned.
pub(crate) fn lock(dir: &Path) -> Result<File, OpenError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(at("make directory", dir))?;
    let path = dir.join("lock");
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(at("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(OpenError::InUse { path: dir.into() }),
        Err(fs::TryLockError::Error(source)) => Err(at("lock", &path)(source)),
    }
}

/// A new private file; an old one of that name is emptied.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
}

/// Makes renames and removals in a directory durable.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// The path of a numbered file.
pub(crate) fn numbered(dir: &Path, prefix: &str, number: u64) -> PathBuf {
    dir.join(format!("{prefix}-{number:016x}"))
}

/// The numbered files of a directory, in order. Unfinished ones are removed.
pub(crate) fn list(dir: &Path, prefix: &str) -> Result<Vec<(u64, PathBuf)>, OpenError> {
    let mut found = Vec::new();
    for item in fs::read_dir(dir).map_err(at("list", dir))? {
        let item = item.map_err(at("list", dir))?;
        let path = item.path();
        let name = item.file_name();
        let Some(rest) = name
            .to_str()
            .and_then(|n| n.strip_prefix(prefix))
            .and_then(|n| n.strip_prefix('-'))
        else {
            continue;
        };
        if rest == "spare" || rest.ends_with(".new") {
            fs::remove_file(&path).map_err(at("remove", &path))?;
        } else if let Ok(number) = u64::from_str_radix(rest, 16) {
            found.push((number, path));
        }
    }
    found.sort();
    Ok(found)
}

/// Random bytes for the salt of a file.
pub(crate) fn salt() -> Option<[u8; 32]> {
    let mut salt = [0; 32];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut salt).ok()?;
    Some(salt)
}

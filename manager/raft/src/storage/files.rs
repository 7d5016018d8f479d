//! Small helpers for files: numbered, and named in every error.

use std::io;
use std::path::{Path, PathBuf};

use crate::disk::Disk;
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

/// The lock on a directory, for as long as it is kept.
pub(crate) type Lock = Box<dyn Send>;

/// Makes the directory if need be and takes its lock.
pub(crate) fn lock(disk: &dyn Disk, dir: &Path) -> Result<Lock, OpenError> {
    disk.make_dir(dir).map_err(at("make directory", dir))?;
    let path = dir.join("lock");
    let lock = disk.lock(&path).map_err(at("lock", &path))?;
    lock.ok_or_else(|| OpenError::InUse { path: dir.into() })
}

/// The path of a numbered file.
pub(crate) fn numbered(dir: &Path, prefix: &str, number: u64) -> PathBuf {
    dir.join(format!("{prefix}-{number:016x}"))
}

/// The numbered files of a directory, in order. Unfinished ones are removed.
pub(crate) fn list(
    disk: &dyn Disk,
    dir: &Path,
    prefix: &str,
) -> Result<Vec<(u64, PathBuf)>, OpenError> {
    let mut found = Vec::new();
    for name in disk.list(dir).map_err(at("list", dir))? {
        let Some(rest) = name
            .strip_prefix(prefix)
            .and_then(|rest| rest.strip_prefix('-'))
        else {
            continue;
        };
        let path = dir.join(&name);
        if rest == "spare" || rest.ends_with(".new") {
            disk.remove(&path).map_err(at("remove", &path))?;
        } else if let Ok(number) = u64::from_str_radix(rest, 16) {
            found.push((number, path));
        }
    }
    found.sort();
    Ok(found)
}

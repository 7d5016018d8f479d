//! Directories that a layer uses without describing them. Their owner and mode
//! must be those of the layers below, or `/tmp` of a container would turn 0755
//! and root's. Since that depends on what lies below, a layer that is shared by
//! images with different lower layers may need more than one such tree; a
//! further one costs directories only, as its files are hard links.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::tree::{RealPath, entries, is_opaque, open_real, open_root};

/// Owner, mode and time of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Attributes {
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Seconds and nanoseconds; `None` leaves the time alone.
    pub mtime: Option<(i64, u32)>,
}

/// What a directory gets that no layer describes.
const DEFAULT: Attributes = Attributes {
    mode: 0o755,
    uid: 0,
    gid: 0,
    mtime: None,
};

fn split(path: &[u8]) -> RealPath {
    path.split(|b| *b == b'/')
        .filter(|part| !part.is_empty() && *part != b".")
        .map(<[u8]>::to_vec)
        .collect()
}

/// The attributes that a directory has in the stack of `lower`, bottom first.
pub(crate) fn attributes_below(lower: &[PathBuf], path: &[u8]) -> io::Result<Attributes> {
    let parts = split(path);
    for layer in lower.iter().rev() {
        match look(&open_root(layer)?, &parts)? {
            Look::Here(attributes) => return Ok(attributes),
            Look::Hidden => break,
            Look::Deeper => {}
        }
    }
    Ok(DEFAULT)
}

enum Look {
    Here(Attributes),
    /// This layer says that nothing is there, whatever lies below it.
    Hidden,
    /// This layer does not speak of it.
    Deeper,
}

fn look(root: &OwnedFd, parts: &[Vec<u8>]) -> io::Result<Look> {
    let mut directory = open_real(root, &[])?;
    let mut opaque = false;
    for (depth, part) in parts.iter().enumerate() {
        let stat = match rustix::fs::statat(&directory, part, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) if opaque => return Ok(Look::Hidden),
            Err(Errno::NOENT) => return Ok(Look::Deeper),
            Err(errno) => return Err(errno.into()),
        };
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            return Ok(Look::Hidden);
        }
        if depth + 1 == parts.len() {
            return Ok(Look::Here(Attributes {
                mode: stat.st_mode & 0o7777,
                uid: stat.st_uid,
                gid: stat.st_gid,
                mtime: Some((
                    stat.st_mtime,
                    u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
                )),
            }));
        }
        directory = open_real(root, &parts[..=depth])?;
        opaque = opaque || is_opaque(&directory);
    }
    Ok(Look::Hidden)
}

/// Sets attributes of directories of a layer, deepest first so that times hold.
pub(crate) fn set_attributes(
    layer: &Path,
    directories: &[(Vec<u8>, Attributes)],
) -> io::Result<()> {
    let root = open_root(layer)?;
    for (path, attributes) in directories.iter().rev() {
        let directory = open_real(&root, &split(path))?;
        apply(&directory, attributes)?;
    }
    Ok(())
}

fn apply(directory: &OwnedFd, attributes: &Attributes) -> Result<(), Errno> {
    let (uid, gid) = (Uid::from_raw(attributes.uid), Gid::from_raw(attributes.gid));
    rustix::fs::fchown(directory, Some(uid), Some(gid))?;
    rustix::fs::fchmod(directory, Mode::from(attributes.mode))?;
    if let Some((seconds, nanos)) = attributes.mtime {
        let time = Timespec {
            tv_sec: seconds,
            tv_nsec: nanos.into(),
        };
        rustix::fs::futimens(
            directory,
            &Timestamps {
                last_access: time,
                last_modification: time,
            },
        )?;
    }
    Ok(())
}

/// Makes `to`, an empty directory, a tree like `from`: directories anew, with
/// their attributes, everything else as hard links.
pub(crate) fn clone_tree(from: &Path, to: &Path) -> io::Result<()> {
    Ok(clone_directory(&open_root(from)?, &open_root(to)?)?)
}

fn clone_directory(from: &OwnedFd, to: &OwnedFd) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    for (name, kind) in entries(from)? {
        if kind == FileType::Directory {
            rustix::fs::mkdirat(to, &name, Mode::from(0o700))?;
            let below = rustix::fs::openat(from, &name, flags, Mode::empty())?;
            clone_directory(
                &below,
                &rustix::fs::openat(to, &name, flags, Mode::empty())?,
            )?;
        } else {
            rustix::fs::linkat(from, &name, to, &name, AtFlags::empty())?;
        }
    }
    copy_xattrs(from, to)?;
    let stat = rustix::fs::fstat(from)?;
    let attributes = Attributes {
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        mtime: Some((
            stat.st_mtime,
            u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
        )),
    };
    apply(to, &attributes)
}

fn copy_xattrs(from: &OwnedFd, to: &OwnedFd) -> Result<(), Errno> {
    let mut names = vec![0u8; 64 << 10];
    let got = match rustix::fs::flistxattr(from, &mut names[..]) {
        Ok(got) => got,
        Err(Errno::OPNOTSUPP) => 0,
        Err(errno) => return Err(errno),
    };
    let mut value = vec![0u8; 64 << 10];
    for name in names[..got]
        .split(|b| *b == 0)
        .filter(|name| !name.is_empty())
    {
        let length = rustix::fs::fgetxattr(from, name, &mut value[..])?;
        rustix::fs::fsetxattr(to, name, &value[..length], XattrFlags::empty())?;
    }
    Ok(())
}

//! Applies the entries of a layer to its directory: ownership, modes, times,
//! attributes, devices and links as the layer says, whiteouts in the form that
//! overlayfs understands. Paths go through `tree` alone.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use super::stream::{Entry, Kind, TarReader};
use super::tree::{
    Directory, Existing, PathError, RealPath, Tree, components, existing, set_opaque,
};
use super::{Limits, UnpackError, Unpacked};

/// Prefix of the name of a file that says "the one below is deleted".
const WHITEOUT: &[u8] = b".wh.";
/// Name of a file that says "everything below this directory is deleted".
const OPAQUE_MARK: &[u8] = b".wh..wh..opq";
/// Prefix of what aufs kept for itself; other tools ignore such entries too.
const AUFS: &[u8] = b".wh..wh.";

/// Unpacks a tar stream into an existing empty directory.
pub(super) fn unpack_tar<R: Read>(
    reader: &mut TarReader<R>,
    into: &Path,
    limits: &Limits,
) -> Result<Unpacked, UnpackError> {
    let tree = Tree::open(into).map_err(UnpackError::Directory)?;
    let mut unpack = Unpack {
        tree,
        times: BTreeMap::new(),
        size: 0,
        buffer: vec![0; 128 << 10].into_boxed_slice(),
    };
    let too_many = || UnpackError::TooLarge {
        limit: limits.layer_inodes,
        unit: "files",
    };
    let mut entries = 0;
    while let Some(entry) = reader.next().map_err(UnpackError::Stream)? {
        entries += 1;
        if entries + unpack.tree.made() > limits.layer_inodes {
            return Err(too_many());
        }
        unpack.apply(&entry, reader).map_err(|error| {
            let path = String::from_utf8_lossy(&entry.path).into_owned();
            match error {
                ApplyError::Path(PathError::Refused(reason)) => {
                    UnpackError::Refused { path, reason }
                }
                ApplyError::Path(PathError::Io(source)) => UnpackError::Entry { path, source },
                ApplyError::Stream(source) => UnpackError::Stream(source),
            }
        })?;
    }
    if entries + unpack.tree.made() > limits.layer_inodes {
        return Err(too_many());
    }
    unpack.finish()
}

struct Unpack {
    tree: Tree,
    /// Times of directories, set at the end: filling a directory changes its own.
    times: BTreeMap<RealPath, (i64, u32)>,
    size: u64,
    buffer: Box<[u8]>,
}

enum ApplyError {
    Path(PathError),
    Stream(io::Error),
}

impl From<PathError> for ApplyError {
    fn from(error: PathError) -> ApplyError {
        ApplyError::Path(error)
    }
}

impl From<Errno> for ApplyError {
    fn from(errno: Errno) -> ApplyError {
        ApplyError::Path(errno.into())
    }
}

impl From<io::Error> for ApplyError {
    fn from(error: io::Error) -> ApplyError {
        ApplyError::Path(PathError::Io(error))
    }
}

impl Unpack {
    fn apply(&mut self, entry: &Entry, content: &mut impl Read) -> Result<(), ApplyError> {
        let mut parts = components(&entry.path)?;
        let Some(name) = parts.pop() else {
            return self.root(entry);
        };
        if name == OPAQUE_MARK {
            let directory = self.tree.directory(&parts, true)?;
            set_opaque(&directory.fd)?;
            return Ok(());
        }
        // The bare prefix and those that would name the directory itself or its parent.
        if matches!(name.strip_prefix(WHITEOUT), Some(b"" | b"." | b"..")) {
            return Err(PathError::Refused("it is no valid whiteout").into());
        }
        if name.starts_with(AUFS) {
            return Ok(());
        }
        let parent = self.tree.directory(&parts, true)?;
        if let Some(hidden) = name.strip_prefix(WHITEOUT) {
            return Ok(self.whiteout(&parent, hidden)?);
        }
        match entry.kind {
            Kind::Directory => self.make_directory(entry, &parent, &name),
            Kind::File => self.file(entry, &parent, &name, content),
            Kind::HardLink => self.hard_link(entry, &parent, &name),
            Kind::Symlink => {
                if entry.link.is_empty() {
                    return Err(PathError::Refused("it is a link to nothing").into());
                }
                self.replacing(&parent, &name, |fd| {
                    rustix::fs::symlinkat(&entry.link[..], fd, &name)
                })?;
                self.attributes_at(entry, &parent.fd, &name)
            }
            Kind::CharDevice | Kind::BlockDevice | Kind::Fifo => {
                let kind = match entry.kind {
                    Kind::CharDevice => FileType::CharacterDevice,
                    Kind::BlockDevice => FileType::BlockDevice,
                    _ => FileType::Fifo,
                };
                let device = match entry.kind {
                    Kind::Fifo => 0,
                    _ => rustix::fs::makedev(entry.device.0, entry.device.1),
                };
                self.replacing(&parent, &name, |fd| {
                    rustix::fs::mknodat(fd, &name, kind, Mode::from(0o600), device)
                })?;
                self.attributes_at(entry, &parent.fd, &name)?;
                rustix::fs::chmodat(&*parent.fd, &name, Mode::from(entry.mode), AtFlags::empty())?;
                Ok(())
            }
        }
    }

    /// The entry that describes the layer's own root.
    fn root(&mut self, entry: &Entry) -> Result<(), ApplyError> {
        if entry.kind != Kind::Directory {
            return Err(PathError::Refused("it would replace the root").into());
        }
        let root = self.tree.directory(&[], false)?;
        self.describe(entry, &root)
    }

    fn make_directory(
        &mut self,
        entry: &Entry,
        parent: &Directory,
        name: &[u8],
    ) -> Result<(), ApplyError> {
        match rustix::fs::mkdirat(&*parent.fd, name, Mode::from(0o700)) {
            Ok(()) => {}
            Err(Errno::EXIST) => match existing(&parent.fd, name)? {
                Existing::Directory => {}
                found => {
                    self.tree.remove(parent, name)?;
                    rustix::fs::mkdirat(&*parent.fd, name, Mode::from(0o700))?;
                    if found == Existing::Whiteout {
                        // What was deleted below must not shine through.
                        let flags =
                            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                        set_opaque(&rustix::fs::openat(
                            &*parent.fd,
                            name,
                            flags,
                            Mode::empty(),
                        )?)?;
                    }
                }
            },
            Err(errno) => return Err(errno.into()),
        }
        let mut path = parent.path.clone();
        path.push(name.to_vec());
        let directory = self.tree.directory(&path, false)?;
        self.describe(entry, &directory)
    }

    fn describe(&mut self, entry: &Entry, directory: &Directory) -> Result<(), ApplyError> {
        set_owner_and_mode(&directory.fd, entry)?;
        set_xattrs(&directory.fd, entry)?;
        self.tree.described(&directory.path);
        self.times.insert(directory.path.clone(), entry.mtime);
        Ok(())
    }

    fn file(
        &mut self,
        entry: &Entry,
        parent: &Directory,
        name: &[u8],
        content: &mut impl Read,
    ) -> Result<(), ApplyError> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = self.replacing(parent, name, |fd| {
            rustix::fs::openat(fd, name, flags, Mode::from(0o600))
        })?;
        let mut file = File::from(fd);
        let mut left = entry.size;
        while left > 0 {
            let most = self
                .buffer
                .len()
                .min(usize::try_from(left).unwrap_or(usize::MAX));
            let got = match content.read(&mut self.buffer[..most]) {
                Ok(0) => return Err(ApplyError::Stream(io::ErrorKind::UnexpectedEof.into())),
                Ok(got) => got,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(ApplyError::Stream(e)),
            };
            file.write_all(&self.buffer[..got])?;
            left -= got as u64;
        }
        self.size += entry.size;
        let fd = OwnedFd::from(file);
        set_owner_and_mode(&fd, entry)?;
        set_xattrs(&fd, entry)?;
        rustix::fs::futimens(&fd, &timestamps(entry.mtime))?;
        Ok(())
    }

    fn hard_link(
        &mut self,
        entry: &Entry,
        parent: &Directory,
        name: &[u8],
    ) -> Result<(), ApplyError> {
        let mut target = components(&entry.link)?;
        let Some(target_name) = target.pop() else {
            return Err(PathError::Refused("it is a hard link to the root").into());
        };
        let target = self.tree.directory(&target, false)?;
        if target.path == parent.path && target_name == name {
            return Ok(());
        }
        match existing(&target.fd, &target_name)? {
            Existing::Other => {}
            Existing::Nothing => {
                return Err(PathError::Refused(
                    "it is a hard link to a file that the layer does not hold",
                )
                .into());
            }
            Existing::Directory | Existing::Whiteout => {
                return Err(PathError::Refused("it is a hard link to what is no file").into());
            }
        }
        let target_fd = target.fd.clone();
        self.replacing(parent, name, |fd| {
            rustix::fs::linkat(&*target_fd, &target_name, fd, name, AtFlags::empty())
        })?;
        Ok(())
    }

    fn whiteout(&mut self, parent: &Directory, name: &[u8]) -> Result<(), PathError> {
        let made = rustix::fs::mknodat(
            &*parent.fd,
            name,
            FileType::CharacterDevice,
            Mode::empty(),
            0,
        );
        match made {
            Ok(()) => Ok(()),
            // A whiteout speaks of lower layers only: what this layer itself
            // holds under that name stays, and hides the lower one anyway,
            // a directory if it is told to.
            Err(Errno::EXIST) => {
                if existing(&parent.fd, name)? == Existing::Directory {
                    let mut path = parent.path.clone();
                    path.push(name.to_vec());
                    set_opaque(&self.tree.open_described(&path)?)?;
                }
                Ok(())
            }
            Err(errno) => Err(errno.into()),
        }
    }

    /// Makes something at a name; what an earlier entry put there goes first.
    fn replacing<T>(
        &mut self,
        parent: &Directory,
        name: &[u8],
        make: impl Fn(&OwnedFd) -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        match make(&parent.fd) {
            Err(Errno::EXIST) => {
                self.tree.remove(parent, name)?;
                make(&parent.fd)
            }
            made => made,
        }
    }

    /// Owner and time of what cannot be opened without side effects.
    fn attributes_at(
        &self,
        entry: &Entry,
        parent: &OwnedFd,
        name: &[u8],
    ) -> Result<(), ApplyError> {
        let (uid, gid) = owner(entry);
        rustix::fs::chownat(
            parent,
            name,
            Some(uid),
            Some(gid),
            AtFlags::SYMLINK_NOFOLLOW,
        )?;
        rustix::fs::utimensat(
            parent,
            name,
            &timestamps(entry.mtime),
            AtFlags::SYMLINK_NOFOLLOW,
        )?;
        Ok(())
    }

    fn finish(self) -> Result<Unpacked, UnpackError> {
        for (path, mtime) in self.times.iter().rev() {
            // A later entry may have replaced the directory.
            match self.tree.open_described(path) {
                Ok(fd) => rustix::fs::futimens(&fd, &timestamps(*mtime))
                    .map_err(|errno| UnpackError::Directory(errno.into()))?,
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                Err(errno) => return Err(UnpackError::Directory(errno.into())),
            }
        }
        Ok(Unpacked {
            size: self.size,
            implied: self.tree.into_implied(),
        })
    }
}

fn owner(entry: &Entry) -> (Uid, Gid) {
    (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid))
}

/// Owner first: changing it clears the set-id bits.
fn set_owner_and_mode(fd: &OwnedFd, entry: &Entry) -> Result<(), Errno> {
    let (uid, gid) = owner(entry);
    rustix::fs::fchown(fd, Some(uid), Some(gid))?;
    rustix::fs::fchmod(fd, Mode::from(entry.mode))
}

/// Sets the extended attributes that an image may carry; the others mean
/// something to this host's kernel (overlayfs, security modules) and are left
/// out. After the owner: changing that clears file capabilities.
fn set_xattrs(fd: &OwnedFd, entry: &Entry) -> Result<(), Errno> {
    for (name, value) in &entry.xattrs {
        let allowed = name == b"security.capability"
            || name == b"system.posix_acl_access"
            || name == b"system.posix_acl_default"
            || (name.starts_with(b"user.") && !name.starts_with(b"user.overlay."));
        if !allowed {
            continue;
        }
        match rustix::fs::fsetxattr(fd.as_fd(), &name[..], value, XattrFlags::empty()) {
            // Not every filesystem keeps every attribute; containers run without.
            Ok(()) | Err(Errno::OPNOTSUPP) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

pub(super) fn timestamps((seconds, nanos): (i64, u32)) -> Timestamps {
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: nanos.into(),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

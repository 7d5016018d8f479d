//! The only code that touches the filesystem at paths which a layer names.
//! Every directory is reached from the layer's own root without following a
//! single symbolic link in the kernel (`RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS`);
//! links within a layer are resolved here, component by component, with the
//! root as their root. Nobody else writes below the root meanwhile.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::rc::Rc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, XattrFlags};
use rustix::io::Errno;

/// The attribute by which overlayfs knows that a directory hides the ones below.
pub(crate) const OPAQUE: &str = "trusted.overlay.opaque";
/// How deep directories may nest: real images stay below fifty, and cleaning up
/// recurses.
const DEPTH_MAX: usize = 128;
/// How many links one path may lead through, as in the kernel.
const LINKS_MAX: usize = 40;

/// Path components from the root, none of them a link, `.` or `..`.
pub(crate) type RealPath = Vec<Vec<u8>>;

/// An open directory of a layer.
#[derive(Clone)]
pub(crate) struct Directory {
    pub fd: Rc<OwnedFd>,
    pub path: RealPath,
}

/// A layer's directory tree while it is filled.
pub(crate) struct Tree {
    root: Rc<OwnedFd>,
    /// The last directory that was asked for: entries come sorted.
    last: Option<(RealPath, Directory)>,
    /// Directories that exist only because something lies in them.
    implied: BTreeSet<RealPath>,
    /// How many directories were made because something lies in them.
    made: u64,
}

/// What is at a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Existing {
    Nothing,
    Directory,
    Whiteout,
    Other,
}

/// Why a path within a layer cannot be used.
pub(crate) enum PathError {
    Refused(&'static str),
    Io(io::Error),
}

impl From<Errno> for PathError {
    fn from(errno: Errno) -> PathError {
        PathError::Io(errno.into())
    }
}

/// Splits a path of a layer, which counts from the layer's root whether it
/// begins with a slash or not.
pub(crate) fn components(path: &[u8]) -> Result<RealPath, PathError> {
    let mut parts = RealPath::new();
    for part in path.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return Err(PathError::Refused("its path contains \"..\"")),
            part => parts.push(part.to_vec()),
        }
    }
    Ok(parts)
}

pub(crate) fn join(parts: &[Vec<u8>]) -> Vec<u8> {
    if parts.is_empty() {
        b".".to_vec()
    } else {
        parts.join(&b'/')
    }
}

/// Opens a directory below `root` whose path holds no link.
pub(crate) fn open_real(root: &OwnedFd, parts: &[Vec<u8>]) -> Result<OwnedFd, Errno> {
    rustix::fs::openat2(
        root,
        join(parts),
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW,
        Mode::empty(),
        ResolveFlags::BENEATH
            | ResolveFlags::NO_SYMLINKS
            | ResolveFlags::NO_MAGICLINKS
            | ResolveFlags::NO_XDEV,
    )
}

/// Opens the root of a layer.
pub(crate) fn open_root(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

/// What is at `name` in `directory`.
pub(crate) fn existing(directory: &OwnedFd, name: &[u8]) -> Result<Existing, Errno> {
    let stat = match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(Errno::NOENT) => return Ok(Existing::Nothing),
        Err(errno) => return Err(errno),
    };
    Ok(match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Existing::Directory,
        FileType::CharacterDevice if stat.st_rdev == 0 => Existing::Whiteout,
        _ => Existing::Other,
    })
}

/// Marks a directory as hiding everything below it.
pub(crate) fn set_opaque(directory: &OwnedFd) -> Result<(), Errno> {
    rustix::fs::fsetxattr(directory, OPAQUE, b"y", XattrFlags::empty())
}

/// Whether a directory hides everything below it.
pub(crate) fn is_opaque(directory: &OwnedFd) -> bool {
    let mut value = [0u8; 1];
    rustix::fs::fgetxattr(directory, OPAQUE, &mut value[..]) == Ok(1) && value == *b"y"
}

impl Tree {
    pub(crate) fn open(path: &Path) -> io::Result<Tree> {
        Ok(Tree {
            root: Rc::new(open_root(path)?),
            last: None,
            implied: BTreeSet::new(),
            made: 0,
        })
    }

    /// How many directories were made that no entry had described by then.
    pub(crate) fn made(&self) -> u64 {
        self.made
    }

    /// The directories that nothing described so far, parents first.
    pub(crate) fn into_implied(self) -> Vec<Vec<u8>> {
        self.implied.iter().map(|parts| join(parts)).collect()
    }

    /// Notes that an entry describes this directory.
    pub(crate) fn described(&mut self, path: &RealPath) {
        self.implied.remove(path);
    }

    /// Opens a directory that has no link in its path.
    pub(crate) fn open_described(&self, path: &[Vec<u8>]) -> Result<OwnedFd, Errno> {
        open_real(&self.root, path)
    }

    /// The directory at a path as the layer gives it; with `make`, missing ones
    /// are made and noted as implied.
    pub(crate) fn directory(
        &mut self,
        parts: &[Vec<u8>],
        make: bool,
    ) -> Result<Directory, PathError> {
        if let Some((path, directory)) = &self.last
            && path == parts
        {
            return Ok(directory.clone());
        }
        if parts.len() > DEPTH_MAX {
            return Err(PathError::Refused("its directories nest too deep"));
        }
        let directory = match open_real(&self.root, parts) {
            Ok(fd) => Directory {
                fd: Rc::new(fd),
                path: parts.to_vec(),
            },
            Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR) => self.walk(parts, make)?,
            Err(errno) => return Err(errno.into()),
        };
        self.last = Some((parts.to_vec(), directory.clone()));
        Ok(directory)
    }

    /// Resolves a path step by step, with the layer's root as the root of links.
    fn walk(&mut self, parts: &[Vec<u8>], make: bool) -> Result<Directory, PathError> {
        let mut todo: VecDeque<Vec<u8>> = parts.iter().cloned().collect();
        let mut path = RealPath::new();
        let mut links = 0;
        while let Some(name) = todo.pop_front() {
            if name == b".." {
                path.pop();
                continue;
            }
            let parent = open_real(&self.root, &path)?;
            let stat = match rustix::fs::statat(&parent, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => Some(stat),
                Err(Errno::NOENT) => None,
                Err(errno) => return Err(errno.into()),
            };
            let kind = stat
                .as_ref()
                .map(|stat| FileType::from_raw_mode(stat.st_mode));
            match kind {
                Some(FileType::Directory) => path.push(name),
                Some(FileType::Symlink) => {
                    links += 1;
                    if links > LINKS_MAX {
                        return Err(Errno::LOOP.into());
                    }
                    let target = rustix::fs::readlinkat(&parent, &name, Vec::new())?;
                    let target = target.as_bytes();
                    if target.starts_with(b"/") {
                        path.clear();
                    }
                    for part in target.split(|b| *b == b'/').rev() {
                        if !part.is_empty() && part != b"." {
                            todo.push_front(part.to_vec());
                        }
                    }
                }
                None if make => {
                    rustix::fs::mkdirat(&parent, &name, Mode::from(0o755))?;
                    self.made += 1;
                    path.push(name);
                    self.implied.insert(path.clone());
                }
                // Deleted by this very layer, and then used again.
                Some(FileType::CharacterDevice)
                    if make && stat.is_some_and(|stat| stat.st_rdev == 0) =>
                {
                    rustix::fs::unlinkat(&parent, &name, AtFlags::empty())?;
                    rustix::fs::mkdirat(&parent, &name, Mode::from(0o755))?;
                    self.made += 1;
                    path.push(name);
                    set_opaque(&open_real(&self.root, &path)?)?;
                    self.implied.insert(path.clone());
                }
                None => return Err(Errno::NOENT.into()),
                Some(_) => return Err(Errno::NOTDIR.into()),
            }
            if path.len() > DEPTH_MAX {
                return Err(PathError::Refused("its directories nest too deep"));
            }
        }
        let fd = open_real(&self.root, &path)?;
        Ok(Directory {
            fd: Rc::new(fd),
            path,
        })
    }

    /// Removes whatever is at `name`, with everything in it.
    pub(crate) fn remove(&mut self, directory: &Directory, name: &[u8]) -> Result<(), Errno> {
        // Any path may have led through it.
        self.last = None;
        let mut path = directory.path.clone();
        path.push(name.to_vec());
        self.implied.retain(|implied| !implied.starts_with(&path));
        match rustix::fs::unlinkat(&*directory.fd, name, AtFlags::empty()) {
            Err(Errno::ISDIR | Errno::PERM) => remove_directory(&directory.fd, name),
            done => done,
        }
    }
}

/// Removes a directory and what is in it. Depth is bounded by [`DEPTH_MAX`].
fn remove_directory(parent: &OwnedFd, name: &[u8]) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let fd = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    let names = entries(&fd)?;
    for (entry, kind) in names {
        if kind == FileType::Directory {
            remove_directory(&fd, &entry)?;
        } else {
            rustix::fs::unlinkat(&fd, &entry, AtFlags::empty())?;
        }
    }
    rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)
}

/// Names and types of everything in a directory.
pub(crate) fn entries(directory: &OwnedFd) -> Result<Vec<(Vec<u8>, FileType)>, Errno> {
    let mut found = Vec::new();
    for entry in rustix::fs::Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        let kind = match entry.file_type() {
            FileType::Unknown => {
                let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
                FileType::from_raw_mode(stat.st_mode)
            }
            kind => kind,
        };
        found.push((name.to_vec(), kind));
    }
    Ok(found)
}

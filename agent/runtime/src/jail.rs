//! A directory tree that somebody else filled: paths in it are resolved as a
//! process inside it would, so that no symbolic link leads out.

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{Mode, mkdirat};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

/// Largest file that is read from an image (`/etc/passwd` and the like).
const FILE_MAX_BYTES: u64 = 4 << 20;

/// A root directory.
pub(crate) struct Jail {
    root: OwnedFd,
}

impl Jail {
    /// The tree at `root`.
    pub(crate) fn open(root: &Path) -> io::Result<Self> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        Ok(Self {
            root: nix::fcntl::open(root, flags, Mode::empty())?,
        })
    }

    /// Opens a path in the tree.
    pub(crate) fn open_at(&self, path: &Path, flags: OFlag) -> Result<OwnedFd, Errno> {
        let how = OpenHow::new()
            .flags(flags | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        loop {
            match openat2(&self.root, path, how) {
                // The kernel could not rule out a race with a rename.
                Err(Errno::EAGAIN) => {}
                result => return result,
            }
        }
    }

    /// A directory in the tree; `None` where there is none.
    pub(crate) fn directory(&self, path: &Path) -> io::Result<Option<OwnedFd>> {
        match self.open_at(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY) {
            Ok(fd) => Ok(Some(fd)),
            Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// The content of a regular file in the tree; `None` where there is none.
    pub(crate) fn read(&self, path: &Path) -> io::Result<Option<String>> {
        // To open a device is to use it, and a fifo blocks: look at it first.
        let found = match self.open_at(path, OFlag::O_PATH) {
            Ok(fd) => File::from(fd),
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        };
        if !found.metadata()?.is_file() {
            return Ok(None);
        }
        let file = File::open(format!("/proc/self/fd/{}", found.as_raw_fd()))?;
        let mut bytes = Vec::new();
        file.take(FILE_MAX_BYTES).read_to_end(&mut bytes)?;
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Makes a directory and those above it, owned by root with mode 755, and
    /// opens it.
    pub(crate) fn make_directories(&self, path: &Path) -> io::Result<OwnedFd> {
        let mut done = PathBuf::from("/");
        let mut parent = self.open_at(&done, OFlag::O_RDONLY | OFlag::O_DIRECTORY)?;
        for component in path.components() {
            let name: &OsStr = match component {
                Component::Normal(name) => name,
                Component::RootDir | Component::CurDir => continue,
                _ => return Err(io::ErrorKind::InvalidInput.into()),
            };
            done.push(name);
            let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
            parent = match self.open_at(&done, flags) {
                Err(Errno::ENOENT) => {
                    mkdirat(&parent, name, Mode::from_bits_truncate(0o755))?;
                    self.open_at(&done, flags)?
                }
                result => result?,
            };
        }
        Ok(parent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_lead_nowhere_but_into_the_tree() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let root = dir.path().join("root");
        fs::create_dir_all(root.join("etc"))?;
        fs::write(dir.path().join("outside"), "outside")?;
        fs::write(root.join("outside"), "inside")?;
        symlink("../../outside", root.join("etc/relative"))?;
        symlink("/outside", root.join("etc/absolute"))?;
        let jail = Jail::open(&root)?;
        for link in ["etc/relative", "/etc/absolute"] {
            assert_eq!(jail.read(Path::new(link))?, Some("inside".to_owned()));
        }
        symlink("/etc", root.join("link"))?;
        jail.make_directories(Path::new("/link/a/b"))?;
        assert!(root.join("etc/a/b").is_dir());
        Ok(())
    }

    #[test]
    fn a_device_in_place_of_a_file_is_not_opened() -> io::Result<()> {
        use nix::sys::stat::{SFlag, makedev, mknod};
        let dir = tempfile::tempdir()?;
        // Nobody drives it: to open it is an error.
        let nobody = makedev(511, 1_000_000);
        mknod(
            &dir.path().join("passwd"),
            SFlag::S_IFCHR,
            Mode::S_IRUSR,
            nobody,
        )?;
        let jail = Jail::open(dir.path())?;
        assert_eq!(jail.read(Path::new("/passwd"))?, None);
        Ok(())
    }
}

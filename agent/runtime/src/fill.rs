//! Fills a new volume with what the image has at its place: owners, modes,
//! times, links, special files and extended attributes included (the latter of
//! files and directories).
//!
//! The source is an image, so nothing in it is followed: each entry is opened
//! relative to its directory, never through a link.

use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::{
    FchmodatFlags, FileStat, Mode, SFlag, UtimensatFlags, fchmodat, fstatat, mkdirat, mknodat,
    utimensat,
};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchownat, symlinkat};
use rustix::fs::XattrFlags;
use std::collections::HashMap;
use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

/// The kernel's limit for the names of the attributes of a file, and for the
/// value of one.
const XATTR_MAX_BYTES: usize = 64 << 10;

/// Copies the content, owner and mode of a directory into an empty one.
///
/// # Errors
/// The first entry that cannot be copied.
pub(crate) fn copy_directory(source: OwnedFd, target: OwnedFd) -> io::Result<()> {
    let mut links = HashMap::new();
    let root_target = target.try_clone()?;
    copy_content(
        source.try_clone()?,
        &target,
        &root_target,
        &mut Vec::new(),
        &mut links,
    )?;
    let stat = nix::sys::stat::fstat(&source)?;
    finish(root_target.as_fd(), c".", &stat, SFlag::S_IFDIR)?;
    copy_xattrs(&source, &root_target)
}

/// Paths, relative to the root of the copy, of files with several names.
type Links = HashMap<(u64, u64), CString>;

fn copy_content(
    source: OwnedFd,
    target: &OwnedFd,
    root: &OwnedFd,
    path: &mut Vec<u8>,
    links: &mut Links,
) -> io::Result<()> {
    let reader = source.try_clone()?;
    let mut dir = Dir::from_fd(reader)?;
    let entries: Vec<(CString, Option<Type>)> = dir
        .iter()
        .map(|entry| entry.map(|entry| (entry.file_name().to_owned(), entry.file_type())))
        .collect::<Result<_, Errno>>()?;
    for (name, _) in entries {
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let length = path.len();
        if length > 0 {
            path.push(b'/');
        }
        path.extend_from_slice(name.to_bytes());
        copy_entry(&source, target, root, &name, path, links)?;
        path.truncate(length);
    }
    Ok(())
}

fn copy_entry(
    source: &OwnedFd,
    target: &OwnedFd,
    root: &OwnedFd,
    name: &CStr,
    path: &mut Vec<u8>,
    links: &mut Links,
) -> io::Result<()> {
    let stat = fstatat(source, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
    let kind = SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits());
    if stat.st_nlink > 1 && kind != SFlag::S_IFDIR {
        let key = (stat.st_dev, stat.st_ino);
        if let Some(first) = links.get(&key) {
            return Ok(nix::unistd::linkat(
                root,
                first.as_c_str(),
                target,
                name,
                AtFlags::empty(),
            )?);
        }
        links.insert(key, CString::new(path.clone())?);
    }
    match kind {
        SFlag::S_IFDIR => {
            mkdirat(target, name, Mode::S_IRWXU)?;
            let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            let from = openat(source, name, flags, Mode::empty())?;
            let to = openat(target, name, flags, Mode::empty())?;
            copy_content(from.try_clone()?, &to, root, path, links)?;
            finish(target.as_fd(), name, &stat, kind)?;
            return copy_xattrs(&from, &to);
        }
        SFlag::S_IFREG => {
            let flags = OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            let from = openat(source, name, flags | OFlag::O_RDONLY, Mode::empty())?;
            let to = openat(
                target,
                name,
                flags | OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL,
                Mode::S_IRUSR | Mode::S_IWUSR,
            )?;
            let (mut from, mut to) = (File::from(from), File::from(to));
            io::copy(&mut from, &mut to)?;
            finish(target.as_fd(), name, &stat, kind)?;
            return copy_xattrs(&from, &to);
        }
        SFlag::S_IFLNK => {
            let to = readlinkat(source, name)?;
            symlinkat(to.as_os_str(), target, name)?;
        }
        _ => mknodat(target, name, kind, Mode::S_IRUSR, stat.st_rdev)?,
    }
    finish(target.as_fd(), name, &stat, kind)
}

/// Copies the extended attributes of a file or directory, file capabilities and
/// access lists among them. After the owner: changing that clears the former.
fn copy_xattrs(from: impl AsFd, to: impl AsFd) -> io::Result<()> {
    let (from, to) = (from.as_fd(), to.as_fd());
    let mut names = vec![0; XATTR_MAX_BYTES];
    let length = match rustix::fs::flistxattr(from, &mut names[..]) {
        Ok(length) => length,
        Err(rustix::io::Errno::OPNOTSUPP) => 0,
        Err(errno) => return Err(errno.into()),
    };
    let mut value = vec![0; XATTR_MAX_BYTES];
    let names = names[..length].split(|byte| *byte == 0);
    for name in names.filter(|name| !name.is_empty()) {
        let length = rustix::fs::fgetxattr(from, name, &mut value[..])?;
        match rustix::fs::fsetxattr(to, name, &value[..length], XattrFlags::empty()) {
            // Not every file system keeps every attribute; programs run without.
            Ok(()) | Err(rustix::io::Errno::OPNOTSUPP) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// Owner first: changing it clears the set-user-id bits of the mode.
fn finish(dir: BorrowedFd<'_>, name: &CStr, stat: &FileStat, kind: SFlag) -> io::Result<()> {
    let name = OsStr::from_bytes(name.to_bytes());
    let owner = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    fchownat(
        dir,
        name,
        Some(owner.0),
        Some(owner.1),
        AtFlags::AT_SYMLINK_NOFOLLOW,
    )?;
    if kind != SFlag::S_IFLNK {
        let mode = Mode::from_bits_truncate(stat.st_mode & 0o7777);
        // Not a link, and made by us a moment ago where nobody else can write.
        fchmodat(dir, name, mode, FchmodatFlags::FollowSymlink)?;
    }
    utimensat(
        dir,
        name,
        &TimeSpec::new(stat.st_atime, stat.st_atime_nsec),
        &TimeSpec::new(stat.st_mtime, stat.st_mtime_nsec),
        UtimensatFlags::NoFollowSymlink,
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};

    #[test]
    fn a_copy_keeps_owners_modes_and_links() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::create_dir_all(from.join("sub"))?;
        fs::create_dir(&to)?;
        fs::write(from.join("sub/file"), "text")?;
        chown(from.join("sub/file"), Some(70), Some(71))?;
        fs::set_permissions(from.join("sub/file"), fs::Permissions::from_mode(0o4711))?;
        fs::hard_link(from.join("sub/file"), from.join("twin"))?;
        symlink("/nowhere", from.join("link"))?;
        fs::set_permissions(&from, fs::Permissions::from_mode(0o1777))?;
        // cap_net_bind_service, permitted and effective.
        let capability = [[1, 0, 0, 2], [0, 4, 0, 0], [0; 4], [0; 4], [0; 4]].concat();
        let name = "security.capability";
        let set = |path: &std::path::Path, name: &str, value: &[u8]| {
            rustix::fs::setxattr(path, name, value, XattrFlags::empty())
        };
        set(&from.join("sub/file"), name, &capability)?;
        set(&from.join("sub"), "trusted.skep", b"value")?;
        copy_directory(File::open(&from)?.into(), File::open(&to)?.into())?;
        let file = fs::metadata(to.join("sub/file"))?;
        assert_eq!(
            (file.uid(), file.gid(), file.mode() & 0o7777),
            (70, 71, 0o4711)
        );
        assert_eq!(file.ino(), fs::metadata(to.join("twin"))?.ino());
        assert_eq!(fs::read_link(to.join("link"))?.as_os_str(), "/nowhere");
        assert_eq!(fs::metadata(&to)?.mode() & 0o7777, 0o1777);
        assert_eq!(fs::read_to_string(to.join("twin"))?, "text");
        let mut value = [0; 64];
        let length = rustix::fs::getxattr(to.join("sub/file"), name, &mut value[..])?;
        assert_eq!(value[..length], capability);
        let length = rustix::fs::getxattr(to.join("sub"), "trusted.skep", &mut value[..])?;
        assert_eq!(value[..length], *b"value");
        Ok(())
    }
}

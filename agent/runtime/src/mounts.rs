//! Mounts below a bundle directory: finding and undoing them.

use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Mount points at or below `dir`, innermost and latest first.
///
/// # Errors
/// `/proc/self/mountinfo` that cannot be read.
pub(crate) fn below(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let text = fs::read_to_string("/proc/self/mountinfo")?;
    let mut found: Vec<PathBuf> = text
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(|field| PathBuf::from(unescape(field)))
        .filter(|path| path.starts_with(dir))
        .collect();
    found.reverse();
    Ok(found)
}

/// Undoes all mounts at or below `dir`. When it returns without an error there
/// are none left, and removing files below `dir` reaches nothing else.
///
/// # Errors
/// The mount that cannot be undone.
pub(crate) fn unmount_below(dir: &Path) -> io::Result<()> {
    // Mounts may be stacked; each pass takes the ones on top.
    for _ in 0..16 {
        let mounts = below(dir)?;
        if mounts.is_empty() {
            return Ok(());
        }
        for path in mounts {
            match umount2(&path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
                Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
    Err(io::Error::new(
        io::ErrorKind::ResourceBusy,
        "mounts come back after they were undone",
    ))
}

/// mountinfo writes space, tab, newline and backslash as `\ooo`.
fn unescape(field: &str) -> String {
    let mut text = String::with_capacity(field.len());
    let mut rest = field;
    while let Some(at) = rest.find('\\') {
        text.push_str(&rest[..at]);
        let code = rest
            .get(at + 1..at + 4)
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(code) => {
                text.push(char::from(code));
                rest = &rest[at + 4..];
            }
            None => {
                text.push('\\');
                rest = &rest[at + 1..];
            }
        }
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_paths_are_read_as_they_are() {
        assert_eq!(unescape(r"/a\040b\134c"), r"/a b\c");
        assert_eq!(unescape(r"/plain\"), r"/plain\");
    }
}

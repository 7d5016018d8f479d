//! What a simulated disk holds: what is seen, and what is durable when.
//!
//! Owns files and names with their history since the last sync. A change
//! begins at one moment and is durable from a later one, if it was synced;
//! both may lie ahead of the clock. Leaves time, room and faults to its
//! caller.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use tokio::time::Instant;

use crate::runtime::Chance;

/// What a disk writes as one.
pub(super) const SECTOR: u64 = 512;

/// A change to a file.
#[derive(Clone)]
pub(super) enum Written {
    Bytes { offset: u64, bytes: Vec<u8> },
    Length(u64),
}

/// A change to the names.
#[derive(Clone)]
enum Named {
    Create(PathBuf, u64),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

/// A change and its times.
struct Change<T> {
    what: T,
    began: Instant,
    /// From when on it survives a crash; a sync has set it.
    durable: Option<Instant>,
    /// A sync of it failed: it survives no crash.
    lost: bool,
}

#[derive(Default)]
struct Inode {
    seen: Vec<u8>,
    /// What survives a crash, before `changes`.
    kept: Vec<u8>,
    changes: Vec<Change<Written>>,
}

#[derive(Default)]
pub(super) struct Platters {
    inodes: BTreeMap<u64, Inode>,
    next: u64,
    names: BTreeMap<PathBuf, u64>,
    kept_names: BTreeMap<PathBuf, u64>,
    changes: Vec<Change<Named>>,
    dirs: BTreeSet<PathBuf>,
}

fn not_found(path: &Path) -> io::Error {
    io::Error::new(
        io::ErrorKind::NotFound,
        format!("no simulated {}", path.display()),
    )
}

fn change<T>(what: T, began: Instant) -> Change<T> {
    Change {
        what,
        began,
        durable: None,
        lost: false,
    }
}

fn write(file: &mut Vec<u8>, what: &Written) {
    match what {
        Written::Length(bytes) => file.resize(*bytes as usize, 0),
        Written::Bytes { offset, bytes } => {
            let start = *offset as usize;
            let end = start + bytes.len();
            if file.len() < end {
                file.resize(end, 0);
            }
            file[start..end].copy_from_slice(bytes);
        }
    }
}

/// Writes the sectors of a change that chance takes: all, none or some.
fn tear(file: &mut Vec<u8>, what: &Written, chance: &mut Chance) {
    let fate = chance.below(3);
    match what {
        _ if fate == 0 => {}
        _ if fate == 1 => write(file, what),
        Written::Length(_) => {}
        Written::Bytes { offset, bytes } => {
            let mut at = 0;
            while at < bytes.len() {
                let here = offset + at as u64;
                let next = at + (SECTOR - here % SECTOR) as usize;
                let next = next.min(bytes.len());
                if chance.below(2) == 0 {
                    let part = Written::Bytes {
                        offset: here,
                        bytes: bytes[at..next].to_vec(),
                    };
                    write(file, &part);
                }
                at = next;
            }
        }
    }
}

fn name(names: &mut BTreeMap<PathBuf, u64>, what: &Named) {
    match what {
        Named::Create(path, file) => {
            names.insert(path.clone(), *file);
        }
        Named::Rename(from, to) => {
            if let Some(file) = names.remove(from) {
                names.insert(to.clone(), file);
            }
        }
        Named::Remove(path) => {
            names.remove(path);
        }
    }
}

impl Platters {
    pub(super) fn make_dir(&mut self, dir: &Path) {
        self.dirs.extend(dir.ancestors().map(PathBuf::from));
    }

    pub(super) fn find(&self, path: &Path) -> io::Result<u64> {
        self.names.get(path).copied().ok_or_else(|| not_found(path))
    }

    fn inode(&mut self, file: u64) -> io::Result<&mut Inode> {
        self.inodes
            .get_mut(&file)
            .ok_or_else(|| io::Error::other("a simulated file that is gone"))
    }

    pub(super) fn create(&mut self, path: &Path, began: Instant) -> io::Result<u64> {
        if !path.parent().is_some_and(|dir| self.dirs.contains(dir)) {
            return Err(not_found(path));
        }
        if let Some(file) = self.names.get(path).copied() {
            self.write(file, began, Written::Length(0))?;
            return Ok(file);
        }
        self.next += 1;
        self.inodes.insert(self.next, Inode::default());
        self.rename_as(Named::Create(path.into(), self.next), began);
        Ok(self.next)
    }

    pub(super) fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let inode = self.inodes.get(&self.find(path)?);
        inode.map(|i| i.seen.clone()).ok_or_else(|| not_found(path))
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path, began: Instant) -> io::Result<()> {
        self.find(from)?;
        self.rename_as(Named::Rename(from.into(), to.into()), began);
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &Path, began: Instant) -> io::Result<()> {
        self.find(path)?;
        self.rename_as(Named::Remove(path.into()), began);
        Ok(())
    }

    fn rename_as(&mut self, what: Named, began: Instant) {
        name(&mut self.names, &what);
        self.changes.push(change(what, began));
    }

    pub(super) fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        if !self.dirs.contains(dir) {
            return Err(not_found(dir));
        }
        let inside = self.names.keys().filter(|p| p.parent() == Some(dir));
        Ok(inside
            .filter_map(|p| Some(p.file_name()?.to_str()?.to_owned()))
            .collect())
    }

    pub(super) fn write(&mut self, file: u64, began: Instant, what: Written) -> io::Result<()> {
        let inode = self.inode(file)?;
        write(&mut inode.seen, &what);
        inode.changes.push(change(what, began));
        Ok(())
    }

    /// Makes what was written so far durable at `done`.
    pub(super) fn sync(&mut self, file: u64, now: Instant, done: Instant) {
        if let Some(inode) = self.inodes.get_mut(&file) {
            for change in &mut inode.changes {
                change.durable.get_or_insert(done);
            }
        }
        self.settle(now);
    }

    /// Loses at the next crash what is not durable yet.
    pub(super) fn forget(&mut self, file: u64) {
        if let Some(inode) = self.inodes.get_mut(&file) {
            let open = inode.changes.iter_mut().filter(|c| c.durable.is_none());
            open.for_each(|change| change.lost = true);
        }
    }

    /// Makes the names made so far durable at `done`.
    pub(super) fn sync_names(&mut self, now: Instant, done: Instant) {
        for change in &mut self.changes {
            change.durable.get_or_insert(done);
        }
        self.settle(now);
    }

    /// Drops the history of what is durable by now.
    fn settle(&mut self, now: Instant) {
        let settled =
            |durable: Option<Instant>, lost: bool| !lost && durable.is_some_and(|d| d <= now);
        for inode in self.inodes.values_mut() {
            let count = inode
                .changes
                .iter()
                .take_while(|c| settled(c.durable, c.lost))
                .count();
            for change in inode.changes.drain(..count) {
                write(&mut inode.kept, &change.what);
            }
        }
        let durable = self.changes.iter();
        let count = durable.take_while(|c| settled(c.durable, c.lost)).count();
        for change in self.changes.drain(..count) {
            name(&mut self.kept_names, &change.what);
        }
        let named: BTreeSet<u64> = self
            .names
            .values()
            .chain(self.kept_names.values())
            .chain(self.changes.iter().filter_map(|c| match &c.what {
                Named::Create(_, file) => Some(file),
                Named::Rename(..) | Named::Remove(_) => None,
            }))
            .copied()
            .collect();
        self.inodes.retain(|file, _| named.contains(file));
    }

    pub(super) fn crash(&mut self, now: Instant, chance: &mut Chance) {
        self.settle(now);
        for inode in self.inodes.values_mut() {
            for change in inode.changes.drain(..) {
                if change.durable.is_some_and(|d| d <= now) && !change.lost {
                    write(&mut inode.kept, &change.what);
                } else if change.began <= now && !change.lost {
                    tear(&mut inode.kept, &change.what, chance);
                }
            }
            inode.seen = inode.kept.clone();
        }
        // A journal keeps names in order: some of them from the first on.
        let begun = self.changes.iter().filter(|c| c.began <= now).count();
        let kept = chance.below(begun as u64 + 1) as usize;
        for change in self.changes.drain(..).take(kept) {
            name(&mut self.kept_names, &change.what);
        }
        self.names = self.kept_names.clone();
        self.settle(now);
    }

    /// By how much a file grows that is to reach `end`.
    pub(super) fn growth(&self, file: u64, end: u64) -> u64 {
        let length = self.inodes.get(&file).map_or(0, |i| i.seen.len() as u64);
        end.saturating_sub(length)
    }

    pub(super) fn used(&self) -> u64 {
        self.files().into_iter().map(|(_, bytes)| bytes).sum()
    }

    pub(super) fn files(&self) -> Vec<(PathBuf, u64)> {
        let length = |file| self.inodes.get(file).map_or(0, |i| i.seen.len() as u64);
        self.names
            .iter()
            .map(|(path, file)| (path.clone(), length(file)))
            .collect()
    }

    pub(super) fn flip(&mut self, path: &Path, byte: u64, bit: u8) -> bool {
        let Some(inode) = self
            .find(path)
            .ok()
            .and_then(|file| self.inodes.get_mut(&file))
        else {
            return false;
        };
        let at = byte as usize;
        let Some(seen) = inode.seen.get_mut(at) else {
            return false;
        };
        *seen ^= 1 << (bit % 8);
        // For good: as if written and synced before everything.
        let flipped = *seen;
        if let Some(kept) = inode.kept.get_mut(at) {
            *kept = flipped;
        }
        for change in &mut inode.changes {
            if let Written::Bytes { offset, bytes } = &mut change.what
                && let Some(inside) = byte.checked_sub(*offset)
                && let Some(old) = bytes.get_mut(inside as usize)
            {
                *old = flipped;
            }
        }
        true
    }
}

//! Snapshot files: one current, written aside, synced and renamed.
//!
//! Owns reading and writing them. A snapshot that cannot be read is damage
//! and is said so, never skipped: the log before it is gone. Leaves what is
//! in a snapshot to `machine`.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use prost::Message;

use super::Place;
use super::files::{self, at};
use super::frame::{self, FILE_HEADER, Purpose, Seal, Step};
use crate::disk::Disk;
use crate::error::OpenError;
use crate::types::SnapshotMeta;
use crate::{runtime, wire};

/// Bytes of a snapshot per record, so that damage is found to within that.
const RECORD_BYTES: usize = 1 << 20;

/// A snapshot read back.
pub(crate) struct Stored {
    pub meta: SnapshotMeta,
    pub bytes: Vec<u8>,
    pub path: PathBuf,
    /// The key it is under.
    pub data_key: [u8; 32],
}

struct Current {
    number: u64,
    meta: SnapshotMeta,
    /// The key it is under.
    data_key: [u8; 32],
}

/// What changes while a node runs.
struct Held {
    /// The key for the next one.
    data_key: [u8; 32],
    current: Option<Current>,
}

/// The snapshots of a node.
pub(crate) struct Snapshots {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    held: Mutex<Held>,
}

impl Snapshots {
    /// Opens the directory; also reads the newest snapshot if there is one.
    pub(crate) fn open(place: &Place) -> Result<(Self, Option<Stored>), OpenError> {
        let mut files = files::list(&*place.disk, &place.dir, "snapshot")?;
        let newest = files.pop();
        // What is older was superseded by a durable newer one.
        for (_, path) in files {
            place.disk.remove(&path).map_err(at("remove", &path))?;
        }
        let stored = match &newest {
            Some((number, path)) => Some(read(&*place.disk, &place.keys(), *number, path)?),
            None => None,
        };
        let current = newest
            .zip(stored.as_ref())
            .map(|((number, _), stored)| Current {
                number,
                meta: stored.meta.clone(),
                data_key: stored.data_key,
            });
        let snapshots = Self {
            disk: place.disk.clone(),
            dir: place.dir.clone(),
            held: Mutex::new(Held {
                data_key: place.data_key,
                current,
            }),
        };
        if let Some(stored) = &stored
            && stored.data_key != place.data_key
        {
            snapshots
                .save(&stored.meta, &stored.bytes)
                .map_err(at("write again", &stored.path))?;
        }
        Ok((snapshots, stored))
    }

    /// The disk they are on.
    pub(crate) fn disk(&self) -> Arc<dyn Disk> {
        self.disk.clone()
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Makes a snapshot the current one and removes the one before. One that
    /// is older than the current one is dropped. Blocks on the disk.
    pub(crate) fn save(&self, meta: &SnapshotMeta, bytes: &[u8]) -> io::Result<()> {
        // Held throughout: a snapshot built here and one received from the
        // leader may end at the same time.
        let mut held = self.held();
        if held
            .current
            .as_ref()
            .is_some_and(|c| c.meta.last_log_id > meta.last_log_id)
        {
            return Ok(());
        }
        self.replace(&mut held, meta, bytes)
    }

    /// Puts the current snapshot, and all after it, under another key. Blocks
    /// on the disk.
    pub(crate) fn rekey(&self, key: [u8; 32]) -> Result<(), OpenError> {
        let mut held = self.held();
        let stored = match &held.current {
            Some(current) => Some(self.read(current)?),
            None => None,
        };
        held.data_key = key;
        match stored {
            Some(stored) => self
                .replace(&mut held, &stored.meta, &stored.bytes)
                .map_err(at("write again", &stored.path)),
            None => Ok(()),
        }
    }

    fn replace(&self, held: &mut Held, meta: &SnapshotMeta, bytes: &[u8]) -> io::Result<()> {
        let old = held.current.as_ref().map(|c| c.number);
        let number = old.map_or(1, |n| n + 1);
        let path = files::numbered(&self.dir, "snapshot", number);
        let aside = path.with_extension("new");
        write(&*self.disk, &held.data_key, number, &aside, meta, bytes)?;
        self.disk.rename(&aside, &path)?;
        self.disk.sync_dir(&self.dir)?;
        held.current = Some(Current {
            number,
            meta: meta.clone(),
            data_key: held.data_key,
        });
        if let Some(old) = old {
            let old = files::numbered(&self.dir, "snapshot", old);
            self.disk.remove(&old)?;
            self.disk.sync_dir(&self.dir)?;
        }
        Ok(())
    }

    /// Reads the current snapshot. Blocks on the disk.
    pub(crate) fn load(&self) -> Result<Option<Stored>, OpenError> {
        let held = self.held();
        let current = held.current.as_ref();
        current.map(|current| self.read(current)).transpose()
    }

    fn read(&self, current: &Current) -> Result<Stored, OpenError> {
        let path = files::numbered(&self.dir, "snapshot", current.number);
        read(&*self.disk, &[current.data_key], current.number, &path)
    }
}

fn write(
    disk: &dyn Disk,
    data_key: &[u8; 32],
    number: u64,
    path: &Path,
    meta: &SnapshotMeta,
    bytes: &[u8],
) -> io::Result<()> {
    let crypto = || io::Error::other("cannot make a file key");
    let salt = runtime::random().ok_or_else(crypto)?;
    let seal = Seal::derive(data_key, salt).ok_or_else(crypto)?;
    let header = seal
        .file_header(Purpose::Snapshot, number, None)
        .ok_or_else(crypto)?;
    let file = disk.create(path)?;
    file.write_all_at(&header, 0)?;
    let mut meta: wire::SnapshotMeta = meta.into();
    meta.length = bytes.len() as u64;
    let mut offset = FILE_HEADER;
    let mut buffer = Vec::with_capacity(RECORD_BYTES + 64);
    let meta = meta.encode_to_vec();
    for plain in std::iter::once(meta.as_slice()).chain(bytes.chunks(RECORD_BYTES)) {
        buffer.clear();
        seal.encode(offset, 0, plain, &mut buffer)
            .ok_or_else(crypto)?;
        file.write_all_at(&buffer, offset as u64)?;
        offset += buffer.len();
    }
    file.sync()
}

fn read(
    disk: &dyn Disk,
    data_keys: &[[u8; 32]],
    number: u64,
    path: &Path,
) -> Result<Stored, OpenError> {
    let damaged = |offset: usize, what: &str| OpenError::Damaged {
        path: path.into(),
        offset: offset as u64,
        what: what.into(),
    };
    let file = disk.read(path).map_err(at("read", path))?;
    let header =
        frame::open_header(data_keys, Purpose::Snapshot, &file).map_err(|flaw| flaw.at(path))?;
    if header.number != number {
        return Err(damaged(16, "file is not the one its name says"));
    }
    let mut offset = FILE_HEADER;
    let mut next = || match header.seal.decode(&file, offset) {
        Step::Record { plain, next } => {
            offset = next;
            Ok(plain)
        }
        Step::End => Err(damaged(offset, "records are missing")),
        Step::Bad(flaw) => Err(damaged(offset, flaw.what)),
    };
    let meta: wire::SnapshotMeta = wire::decode("snapshot meta", &next()?)
        .map_err(|e| damaged(FILE_HEADER, &e.to_string()))?;
    let length =
        usize::try_from(meta.length).map_err(|_| damaged(FILE_HEADER, "snapshot is too long"))?;
    // No more than the file has, whatever the length claims.
    let mut bytes = Vec::with_capacity(length.min(file.len()));
    while bytes.len() < length {
        bytes.extend_from_slice(&next()?);
    }
    let meta = meta
        .try_into()
        .map_err(|e: wire::WireError| damaged(FILE_HEADER, &e.to_string()))?;
    Ok(Stored {
        meta,
        bytes,
        path: path.into(),
        data_key: header.data_key,
    })
}

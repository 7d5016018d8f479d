//! Snapshot files: one current, written aside, synced and renamed.
//!
//! Owns reading and writing them. A snapshot that cannot be read is damage
//! and is said so, never skipped: the log before it is gone. Leaves what is
//! in a snapshot to `machine`.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use prost::Message;

use super::Place;
use super::files::{self, at};
use super::frame::{self, FILE_HEADER, HeaderFlaw, Purpose, Seal, Step};
use crate::error::OpenError;
use crate::types::SnapshotMeta;
use crate::wire;

/// Bytes of a snapshot per record, so that damage is found to within that.
const RECORD_BYTES: usize = 1 << 20;

/// A snapshot read back.
pub(crate) struct Stored {
    pub meta: SnapshotMeta,
    pub bytes: Vec<u8>,
    pub path: PathBuf,
}

struct Current {
    number: u64,
    meta: SnapshotMeta,
}

/// The snapshots of a node.
pub(crate) struct Snapshots {
    dir: PathBuf,
    data_key: [u8; 32],
    current: Mutex<Option<Current>>,
}

impl Snapshots {
    /// Opens the directory; also reads the newest snapshot if there is one.
    pub(crate) fn open(place: &Place) -> Result<(Self, Option<Stored>), OpenError> {
        let mut files = files::list(&place.dir, "snapshot")?;
        let newest = files.pop();
        // What is older was superseded by a durable newer one.
        for (_, path) in files {
            fs::remove_file(&path).map_err(at("remove", &path))?;
        }
        let stored = match &newest {
            Some((number, path)) => Some(read(&place.data_key, *number, path)?),
            None => None,
        };
        let current = newest
            .zip(stored.as_ref())
            .map(|((number, _), stored)| Current {
                number,
                meta: stored.meta.clone(),
            });
        let snapshots = Self {
            dir: place.dir.clone(),
            data_key: place.data_key,
            current: Mutex::new(current),
        };
        Ok((snapshots, stored))
    }

    fn current(&self) -> std::sync::MutexGuard<'_, Option<Current>> {
        self.current.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Makes a snapshot the current one and removes the one before. One that
    /// is older than the current one is dropped. Blocks on the disk.
    pub(crate) fn save(&self, meta: &SnapshotMeta, bytes: &[u8]) -> io::Result<()> {
        // Held throughout: a snapshot built here and one received from the
        // leader may end at the same time.
        let mut current = self.current();
        if current
            .as_ref()
            .is_some_and(|c| c.meta.last_log_id > meta.last_log_id)
        {
            return Ok(());
        }
        let old = current.as_ref().map(|c| c.number);
        let number = old.map_or(1, |n| n + 1);
        let path = files::numbered(&self.dir, "snapshot", number);
        let aside = path.with_extension("new");
        write(&self.data_key, number, &aside, meta, bytes)?;
        fs::rename(&aside, &path)?;
        files::sync_dir(&self.dir)?;
        *current = Some(Current {
            number,
            meta: meta.clone(),
        });
        if let Some(old) = old {
            fs::remove_file(files::numbered(&self.dir, "snapshot", old))?;
        }
        Ok(())
    }

    /// Reads the current snapshot. Blocks on the disk.
    pub(crate) fn load(&self) -> Result<Option<Stored>, OpenError> {
        let current = self.current();
        let Some(Current { number, .. }) = *current else {
            return Ok(None);
        };
        let path = files::numbered(&self.dir, "snapshot", number);
        read(&self.data_key, number, &path).map(Some)
    }
}

fn write(
    data_key: &[u8; 32],
    number: u64,
    path: &Path,
    meta: &SnapshotMeta,
    bytes: &[u8],
) -> io::Result<()> {
    let crypto = || io::Error::other("cannot make a file key");
    let salt = files::salt().ok_or_else(crypto)?;
    let seal = Seal::derive(data_key, salt).ok_or_else(crypto)?;
    let header = seal
        .file_header(Purpose::Snapshot, number, None)
        .ok_or_else(crypto)?;
    let mut file = files::create(path)?;
    file.write_all(&header)?;
    let mut meta: wire::SnapshotMeta = meta.into();
    meta.length = bytes.len() as u64;
    let mut offset = FILE_HEADER;
    let mut buffer = Vec::with_capacity(RECORD_BYTES + 64);
    let meta = meta.encode_to_vec();
    for plain in std::iter::once(meta.as_slice()).chain(bytes.chunks(RECORD_BYTES)) {
        buffer.clear();
        seal.encode(offset, 0, plain, &mut buffer)
            .ok_or_else(crypto)?;
        file.write_all(&buffer)?;
        offset += buffer.len();
    }
    file.sync_all()
}

fn read(data_key: &[u8; 32], number: u64, path: &Path) -> Result<Stored, OpenError> {
    let damaged = |offset: usize, what: &str| OpenError::Damaged {
        path: path.into(),
        offset: offset as u64,
        what: what.into(),
    };
    let file = fs::read(path).map_err(at("read", path))?;
    let header =
        frame::open_header(data_key, Purpose::Snapshot, &file).map_err(|flaw| match flaw {
            HeaderFlaw::WrongKey => OpenError::WrongKey { path: path.into() },
            HeaderFlaw::Damaged(what) => damaged(0, what),
        })?;
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
    })
}

//! One log file: how it begins, and the room in it.
//!
//! Owns the making of files. A file has its name only once its beginning is
//! durable, so one that lacks it is damaged. Leaves records that come later
//! to `writer`.
//!
//! Files are filled with zeros in advance: overwriting allocated blocks keeps
//! the file system's journal out of fdatasync, which otherwise costs two
//! orders of magnitude at the 99th percentile.

use std::io;
use std::path::{Path, PathBuf};

use prost::Message;

use super::Place;
use super::files;
use super::frame::{FILE_HEADER, Purpose, Seal};
use super::recovery::{Sealed, State};
use crate::disk::{Disk, File};
use crate::runtime;
use crate::types::Entry;
use crate::wire::{self, RecordKind, to_wire_id};

/// Bytes gathered before they are written.
const WRITE_BYTES: usize = 1 << 20;

/// The file being written.
pub(super) struct Segment {
    pub file: Box<dyn File>,
    pub path: PathBuf,
    pub number: u64,
    pub seal: Seal,
    /// Where the next record goes.
    pub offset: usize,
    /// How much is known to be on disk.
    pub synced: usize,
    /// How much is filled with zeros or records.
    pub allocated: usize,
    pub last_index: Option<u64>,
}

/// What a file begins with.
pub(super) struct Beginning<'a> {
    pub number: u64,
    /// Where the file before ends, if there is one.
    pub previous_end: Option<u64>,
    pub state: &'a State,
    /// All entries there are: then this file takes the place of all before.
    pub entries: Option<&'a [Entry]>,
}

/// The file that the next one is made from.
pub(super) fn spare(dir: &Path) -> PathBuf {
    dir.join("log-spare")
}

impl Segment {
    /// Writes the beginning into the spare file and makes it durable. Nothing
    /// has changed until [`Segment::publish`].
    pub(super) fn prepare(place: &Place, begin: &Beginning) -> io::Result<Self> {
        let crypto = || io::Error::other("cannot make a file key");
        let seal = runtime::random()
            .and_then(|salt| Seal::derive(&place.data_key, salt))
            .ok_or_else(crypto)?;
        let header = seal
            .file_header(Purpose::Log, begin.number, begin.previous_end)
            .ok_or_else(crypto)?;
        let state = wire::State {
            node: place.node,
            vote: begin.state.vote.as_ref().map(Into::into),
            purged: to_wire_id(&begin.state.purged),
            committed: to_wire_id(&begin.state.committed),
            whole: begin.entries.map(|entries| entries.len() as u64),
        };
        let entries = begin.entries.unwrap_or_default();
        let kinds = std::iter::once(RecordKind::State(state))
            .chain(entries.iter().map(|entry| RecordKind::Entry(entry.into())));
        let file = place.disk.open(&spare(&place.dir))?;
        let mut offset = 0;
        let mut buffer = header.to_vec();
        for kind in kinds {
            if buffer.len() >= WRITE_BYTES {
                file.write_all_at(&buffer, offset as u64)?;
                offset += buffer.len();
                buffer.clear();
            }
            let plain = wire::Record { kind: Some(kind) }.encode_to_vec();
            let at = offset + buffer.len();
            // All before it is durable when anybody reads it.
            seal.encode(at, at, &plain, &mut buffer)
                .ok_or_else(|| io::Error::other("log record is too long"))?;
        }
        file.write_all_at(&buffer, offset as u64)?;
        offset += buffer.len();
        file.sync()?;
        Ok(Self {
            file,
            path: files::numbered(&place.dir, "log", begin.number),
            number: begin.number,
            seal,
            offset,
            synced: offset,
            allocated: place.segment_bytes.max(offset),
            last_index: entries.last().map(|entry| entry.log_id.index),
        })
    }

    /// Gives the file its name, and so makes it a part of the log.
    pub(super) fn publish(self, place: &Place) -> io::Result<Self> {
        place.disk.rename(&spare(&place.dir), &self.path)?;
        place.disk.sync_dir(&place.dir)?;
        Ok(self)
    }

    /// The same once nothing is written to it any more.
    pub(super) fn sealed(self) -> Sealed {
        Sealed {
            number: self.number,
            path: self.path,
            last_index: self.last_index,
            end: self.offset as u64,
        }
    }

    /// Whether a record of so many bytes belongs into the next file.
    pub(super) fn is_full(&self, place: &Place, bytes: usize) -> bool {
        self.offset + bytes > place.segment_bytes && self.offset > FILE_HEADER
    }

    /// Writes a batch and waits for the disk.
    pub(super) fn append(&mut self, batch: &[u8]) -> io::Result<()> {
        let end = self.offset + batch.len();
        if end > self.allocated {
            // A batch larger than a file. The size must be durable before
            // the records are, or a crash would look like damage.
            let grown = end.next_multiple_of(1 << 16);
            zero(&*self.file, self.allocated, grown)?;
            self.file.sync()?;
            self.allocated = grown;
        }
        self.file.write_all_at(batch, self.offset as u64)?;
        self.file.sync()?;
        self.offset = end;
        self.synced = end;
        Ok(())
    }
}

/// Makes the spare file, durable and full of zeros.
pub(super) fn make_spare(disk: &dyn Disk, dir: &Path, bytes: usize) -> io::Result<()> {
    let file = disk.create(&spare(dir))?;
    zero(&*file, 0, bytes)?;
    file.sync()
}

fn zero(file: &dyn File, from: usize, to: usize) -> io::Result<()> {
    let zeros = vec![0; WRITE_BYTES.min(to.saturating_sub(from))];
    let mut at = from;
    while at < to {
        let n = zeros.len().min(to - at);
        file.write_all_at(&zeros[..n], at as u64)?;
        at += n;
    }
    Ok(())
}

/// Makes durable what was read of the file that was written last. A process that was
/// killed left some of it in the system's memory alone; and where a sync failed,
/// another does not help, as the system takes for written what it could not write. So
/// it is written again.
pub(super) fn settle(disk: &dyn Disk, last: &Sealed) -> io::Result<()> {
    let bytes = disk.read(&last.path)?;
    let end = usize::try_from(last.end).unwrap_or(usize::MAX);
    let file = disk.open(&last.path)?;
    file.write_all_at(bytes.get(..end).unwrap_or(&bytes), 0)?;
    file.sync()
}

/// Gives back what a finished file did not use. Its successor, which names
/// its end, is durable by now.
pub(super) fn cut(disk: &dyn Disk, sealed: &Sealed) -> io::Result<()> {
    disk.open(&sealed.path)?.set_len(sealed.end)
}

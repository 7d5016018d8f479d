//! The one thread that writes the log.
//!
//! Owns the file being written, group commit (everything that waits goes out
//! in one write and one fdatasync) and the switch to the next file. Leaves
//! reading to `recovery` and the entries in memory to `log`.
//!
//! Files are filled with zeros in advance: overwriting allocated blocks keeps
//! the file system's journal out of fdatasync, which otherwise costs two
//! orders of magnitude at the 99th percentile.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use openraft::storage::LogFlushed;
use prost::Message;
use tokio::sync::oneshot;

use super::Place;
use super::files::{self, at};
use super::frame::{FILE_HEADER, Purpose, Seal};
use super::recovery::{Sealed, State};
use crate::error::OpenError;
use crate::types::{Entry, LogId, TypeConfig, Vote};
use crate::wire::{self, RecordKind, to_wire_id};

/// Bytes after which a batch is written even if more waits.
const BATCH_BYTES: usize = 1 << 20;

/// One thing to write.
pub(crate) enum Change {
    Entries(Vec<Entry>),
    Vote(Vote),
    Truncate(LogId),
    Purge(LogId),
}

/// Whom to tell once it is on disk.
pub(crate) enum Done {
    Flushed(LogFlushed<TypeConfig>),
    Reply(oneshot::Sender<io::Result<()>>),
}

impl Done {
    fn tell(self, result: &io::Result<()>) {
        // Everyone gets the reason, and such errors cannot be cloned.
        let result = match result {
            Ok(()) => Ok(()),
            Err(e) => Err(io::Error::new(e.kind(), e.to_string())),
        };
        match self {
            Self::Flushed(callback) => callback.log_io_completed(result),
            // The asker may have been cancelled; the write stands.
            Self::Reply(reply) => drop(reply.send(result)),
        }
    }
}

/// A [`Change`] on its way to the disk.
pub(crate) struct Write {
    pub change: Change,
    pub done: Done,
}

/// The file being written.
struct Active {
    file: File,
    path: PathBuf,
    number: u64,
    seal: Seal,
    /// Where the next record goes.
    offset: usize,
    /// How much is known to be on disk.
    synced: usize,
    /// How much is filled with zeros or records.
    allocated: usize,
    last_index: Option<u64>,
}

pub(crate) struct Writer {
    place: Place,
    state: State,
    /// The newest committed id; written with the next batch.
    committed: Arc<Mutex<Option<LogId>>>,
    active: Active,
    sealed: Vec<Sealed>,
    spare: Option<JoinHandle<io::Result<()>>>,
    buffer: Vec<u8>,
    /// Held for as long as the thread runs.
    _lock: File,
}

impl Writer {
    /// Starts a new file after those that were recovered.
    pub(crate) fn open(
        place: Place,
        state: State,
        mut sealed: Vec<Sealed>,
        committed: Arc<Mutex<Option<LogId>>>,
        lock: File,
    ) -> Result<Self, OpenError> {
        let spare = place.dir.join("log-spare");
        fill(&spare, place.segment_bytes).map_err(at("write", &spare))?;
        let number = sealed.last().map_or(1, |last| last.number + 1);
        let previous_end = sealed.last().map(|last| last.end);
        let active = Active::start(&place, &state, &spare, number, previous_end)
            .map_err(at("start log file in", &place.dir))?;
        if let Some(last) = sealed.last() {
            cut(last).map_err(at("cut", &last.path))?;
        }
        remove_purged(&place.dir, &mut sealed, state.purged)
            .map_err(at("remove old log files in", &place.dir))?;
        let mut writer = Self {
            place,
            state,
            committed,
            active,
            sealed,
            spare: None,
            buffer: Vec::new(),
            _lock: lock,
        };
        writer.prepare_spare();
        Ok(writer)
    }

    /// Writes until every sender is gone, or until a write fails: after a
    /// failed fdatasync nobody knows what is on the disk, so nothing is
    /// acknowledged any more.
    pub(crate) fn run(mut self, writes: &Receiver<Write>) {
        let mut waiting = Vec::new();
        let mut failed: Option<io::Error> = None;
        while let Ok(first) = writes.recv() {
            let mut result = match failed.take() {
                Some(error) => Err(error),
                None => self.take(first.change, &mut waiting, first.done),
            };
            while result.is_ok() && self.buffer.len() < BATCH_BYTES {
                let Ok(next) = writes.try_recv() else { break };
                result = self.take(next.change, &mut waiting, next.done);
            }
            if result.is_ok() {
                result = self.flush();
            }
            for done in waiting.drain(..) {
                done.tell(&result);
            }
            if let Err(error) = result {
                tracing::error!(dir = %self.place.dir.display(), %error, "cannot write the raft log");
                failed = Some(error);
            }
        }
        if failed.is_none()
            && let Err(error) = self.note_committed().and_then(|()| self.flush())
        {
            tracing::warn!(%error, "cannot write the last commit index");
        }
        if let Some(spare) = self.spare.take() {
            let _ = spare.join();
        }
    }

    /// Puts a change into the batch.
    fn take(&mut self, change: Change, waiting: &mut Vec<Done>, done: Done) -> io::Result<()> {
        waiting.push(done);
        self.note_committed()?;
        match change {
            Change::Entries(entries) => {
                for entry in &entries {
                    self.record(RecordKind::Entry(entry.into()))?;
                    let index = Some(entry.log_id.index);
                    self.active.last_index = self.active.last_index.max(index);
                }
            }
            Change::Vote(vote) => {
                self.state.vote = Some(vote);
                self.record(RecordKind::Vote((&vote).into()))?;
            }
            Change::Truncate(id) => self.record(RecordKind::Truncate((&id).into()))?,
            Change::Purge(id) => {
                self.state.purged = Some(id);
                self.record(RecordKind::Purge((&id).into()))?;
                // Only what is durable may make files go.
                self.flush()?;
                remove_purged(&self.place.dir, &mut self.sealed, self.state.purged)?;
            }
        }
        Ok(())
    }

    fn note_committed(&mut self) -> io::Result<()> {
        let committed = *self.committed.lock().unwrap_or_else(|e| e.into_inner());
        if committed == self.state.committed {
            return Ok(());
        }
        self.state.committed = committed;
        match committed {
            Some(id) => self.record(RecordKind::Committed((&id).into())),
            None => Ok(()),
        }
    }

    fn record(&mut self, kind: RecordKind) -> io::Result<()> {
        let plain = wire::Record { kind: Some(kind) }.encode_to_vec();
        let needed = self.active.offset + self.buffer.len() + plain.len() + 64;
        if needed > self.place.segment_bytes && self.active.offset > FILE_HEADER {
            self.flush()?;
            self.roll()?;
        }
        let at = self.active.offset + self.buffer.len();
        self.active
            .seal
            .encode(at, self.active.synced, &plain, &mut self.buffer)
            .ok_or_else(|| io::Error::other("log record is too long"))
    }

    /// Writes the batch and waits for the disk.
    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let end = self.active.offset + self.buffer.len();
        if end > self.active.allocated {
            // A batch larger than a file. The size must be durable before
            // the records are, or a crash would look like damage.
            let grown = end.next_multiple_of(1 << 16);
            zero(&self.active.file, self.active.allocated, grown)?;
            self.active.file.sync_all()?;
            self.active.allocated = grown;
        }
        self.active
            .file
            .write_all_at(&self.buffer, self.active.offset as u64)?;
        self.active.file.sync_data()?;
        self.active.offset = end;
        self.active.synced = end;
        self.buffer.clear();
        Ok(())
    }

    /// Goes on in a new file.
    fn roll(&mut self) -> io::Result<()> {
        let spare = self.place.dir.join("log-spare");
        let prepared = match self.spare.take() {
            Some(thread) => thread
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("panicked"))),
            None => Err(io::ErrorKind::NotFound.into()),
        };
        if prepared.is_err() {
            fill(&spare, self.place.segment_bytes)?;
        }
        let next = Active::start(
            &self.place,
            &self.state,
            &spare,
            self.active.number + 1,
            Some(self.active.offset as u64),
        )?;
        let last = std::mem::replace(&mut self.active, next);
        let last = Sealed {
            number: last.number,
            path: last.path,
            last_index: last.last_index,
            end: last.offset as u64,
        };
        cut(&last)?;
        self.sealed.push(last);
        self.prepare_spare();
        Ok(())
    }

    fn prepare_spare(&mut self) {
        let path = self.place.dir.join("log-spare");
        let bytes = self.place.segment_bytes;
        self.spare = std::thread::Builder::new()
            .name("raft-spare".into())
            .spawn(move || fill(&path, bytes))
            .ok();
    }
}

impl Active {
    /// Turns the spare file into log file `number`. It has its name only once
    /// its header and state are durable.
    fn start(
        place: &Place,
        state: &State,
        spare: &Path,
        number: u64,
        previous_end: Option<u64>,
    ) -> io::Result<Self> {
        let crypto = || io::Error::other("cannot make a file key");
        let salt = files::salt().ok_or_else(crypto)?;
        let seal = Seal::derive(&place.data_key, salt).ok_or_else(crypto)?;
        let header = seal
            .file_header(Purpose::Log, number, previous_end)
            .ok_or_else(crypto)?;
        let mut start = header.to_vec();
        let record = wire::Record {
            kind: Some(RecordKind::State(wire::State {
                node: place.node,
                vote: state.vote.as_ref().map(Into::into),
                purged: to_wire_id(&state.purged),
                committed: to_wire_id(&state.committed),
            })),
        };
        seal.encode(FILE_HEADER, 0, &record.encode_to_vec(), &mut start)
            .ok_or_else(crypto)?;
        let file = File::options().read(true).write(true).open(spare)?;
        file.write_all_at(&start, 0)?;
        file.sync_all()?;
        let path = files::numbered(&place.dir, "log", number);
        fs::rename(spare, &path)?;
        files::sync_dir(&place.dir)?;
        Ok(Self {
            file,
            path,
            number,
            seal,
            offset: start.len(),
            synced: start.len(),
            allocated: place.segment_bytes.max(start.len()),
            last_index: None,
        })
    }
}

/// Makes a durable file of zeros.
fn fill(path: &Path, bytes: usize) -> io::Result<()> {
    let file = files::create(path)?;
    zero(&file, 0, bytes)?;
    file.sync_all()
}

fn zero(file: &File, from: usize, to: usize) -> io::Result<()> {
    let zeros = vec![0; (1 << 20).min(to.saturating_sub(from))];
    let mut at = from;
    while at < to {
        let n = zeros.len().min(to - at);
        file.write_all_at(&zeros[..n], at as u64)?;
        at += n;
    }
    Ok(())
}

/// Gives back what a finished file did not use. Its successor, which names
/// its end, is durable by now.
fn cut(sealed: &Sealed) -> io::Result<()> {
    File::options()
        .write(true)
        .open(&sealed.path)?
        .set_len(sealed.end)
}

/// Removes finished files, oldest first, whose entries are all purged.
fn remove_purged(dir: &Path, sealed: &mut Vec<Sealed>, purged: Option<LogId>) -> io::Result<()> {
    let purged = purged.map(|id| id.index);
    let gone = sealed.iter().take_while(|s| s.last_index <= purged).count();
    for old in sealed.drain(..gone) {
        fs::remove_file(&old.path)?;
    }
    if gone > 0 {
        files::sync_dir(dir)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::frame::align;
    use super::*;

    #[test]
    fn a_frame_is_never_longer_than_the_room_that_is_kept_for_it() {
        let seal = Seal::derive(&[1; 32], [2; 32]).unwrap();
        for length in 0..100 {
            let mut out = Vec::new();
            seal.encode(FILE_HEADER, 0, &vec![1; length], &mut out)
                .unwrap();
            assert!(out.len() <= length + 64, "{length} became {}", out.len());
            assert_eq!(out.len(), align(out.len()));
        }
    }
}

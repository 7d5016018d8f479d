//! The one that writes the log: a thread, or a task where the disk does not
//! block.
//!
//! Owns group commit (everything that waits goes out in one write and one
//! fdatasync), the switch to the next file and the removal of old ones.
//! Leaves the making of files to `segment`, reading to `recovery` and the
//! entries in memory to `log`.

use std::io;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use openraft::storage::LogFlushed;
use prost::Message;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::{oneshot, watch};

use super::Place;
use super::durable::Durable;
use super::files::{Lock, at};
use super::recovery::{Recovered, Sealed, State};
use super::segment::{self, Beginning, Segment, make_spare};
use crate::disk::Disk;
use crate::error::OpenError;
use crate::types::{Entry, LogId, TypeConfig, Vote};
use crate::wire::{self, RecordKind};

/// Bytes after which a batch is written even if more waits.
const BATCH_BYTES: usize = 1 << 20;

/// One thing to write.
pub(crate) enum Change {
    Entries(Vec<Entry>),
    Vote(Vote),
    Truncate(LogId),
    Purge(LogId),
    /// From now on under another key; with all entries that the log holds
    /// after the changes before this one.
    Rekey([u8; 32], Vec<Entry>),
}

/// Whom to tell once it is on disk.
pub(crate) enum Done {
    /// Nobody: what is later on disk says that this is, too.
    Nobody,
    Entries(Arc<Durable>, Option<LogFlushed<TypeConfig>>),
    Reply(oneshot::Sender<io::Result<()>>),
}

impl Done {
    fn tell(self, result: io::Result<()>) {
        match self {
            Self::Nobody => {}
            Self::Entries(durable, callback) => {
                if result.is_ok() {
                    durable.written();
                }
                if let Some(callback) = callback {
                    callback.log_io_completed(result);
                }
            }
            // The asker may have been cancelled; the write stands.
            Self::Reply(reply) => drop(reply.send(result)),
        }
    }
}

fn tell(waiting: Vec<Done>, result: &io::Result<()>) {
    for done in waiting {
        done.tell(match result {
            Ok(()) => Ok(()),
            Err(error) => Err(same(error)),
        });
    }
}

/// Everyone gets the reason, and such errors cannot be cloned.
fn same(error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), error.to_string())
}

/// A [`Change`] on its way to the disk.
pub(crate) struct Write {
    pub change: Change,
    pub done: Done,
}

pub(crate) struct Writer {
    place: Place,
    state: State,
    durable: Arc<Durable>,
    /// The newest committed id; written with the next batch.
    committed: Arc<Mutex<Option<LogId>>>,
    active: Segment,
    sealed: Vec<Sealed>,
    spare: Option<JoinHandle<io::Result<()>>>,
    buffer: Vec<u8>,
    /// Why nothing is written any more: after a failed sync nobody knows what
    /// is on the disk, so nothing may be acknowledged.
    failed: Option<io::Error>,
    /// Held for as long as this writes.
    _lock: Lock,
}

impl Writer {
    /// Starts a new file after those that were recovered. It takes their
    /// place if some of them are under an older key.
    pub(crate) fn open(
        place: Place,
        recovered: &mut Recovered,
        durable: Arc<Durable>,
        committed: Arc<Mutex<Option<LogId>>>,
        lock: Lock,
    ) -> Result<Self, OpenError> {
        let mut sealed = std::mem::take(&mut recovered.sealed);
        let whole = recovered
            .old_key
            .then(|| recovered.entries.make_contiguous() as &[Entry]);
        let state = recovered.state.clone();
        if let Some(last) = sealed.last() {
            // The next file says how far this one goes.
            segment::settle(&*place.disk, last).map_err(at("write", &last.path))?;
        }
        let spare = segment::spare(&place.dir);
        make_spare(&*place.disk, &place.dir, place.segment_bytes).map_err(at("write", &spare))?;
        let beginning = Beginning {
            number: sealed.last().map_or(1, |last| last.number + 1),
            previous_end: sealed.last().map(|last| last.end),
            state: &state,
            entries: whole,
        };
        let active = Segment::prepare(&place, &beginning)
            .and_then(|segment| segment.publish(&place))
            .map_err(at("start log file in", &place.dir))?;
        let gone = match whole {
            Some(_) => sealed.len(),
            None => purged(&sealed, state.purged),
        };
        remove(&place, &mut sealed, gone).map_err(at("remove old log files in", &place.dir))?;
        if let Some(last) = sealed.last() {
            segment::cut(&*place.disk, last).map_err(at("cut", &last.path))?;
        }
        let mut writer = Self {
            place,
            state,
            durable,
            committed,
            active,
            sealed,
            spare: None,
            buffer: Vec::new(),
            failed: None,
            _lock: lock,
        };
        writer.prepare_spare();
        Ok(writer)
    }

    /// Writes what comes until every sender is gone; drops `running` last.
    pub(crate) fn start(
        mut self,
        disk: &Arc<dyn Disk>,
        mut writes: UnboundedReceiver<Write>,
        running: watch::Sender<()>,
    ) -> io::Result<()> {
        if disk.blocks() {
            let thread = std::thread::Builder::new().name("raft-log".into());
            thread.spawn(move || {
                while let Some(first) = writes.blocking_recv() {
                    let (waiting, result) = self.round(first, &mut writes);
                    tell(waiting, &result);
                }
                self.end();
                drop(running);
            })?;
            return Ok(());
        }
        let disk = disk.clone();
        tokio::spawn(async move {
            while let Some(first) = writes.recv().await {
                let (waiting, result) = self.round(first, &mut writes);
                disk.settled().await;
                tell(waiting, &result);
            }
            self.end();
            disk.settled().await;
            drop(running);
        });
        Ok(())
    }

    /// Writes one batch: what is given and all that waits behind it.
    fn round(
        &mut self,
        first: Write,
        writes: &mut UnboundedReceiver<Write>,
    ) -> (Vec<Done>, io::Result<()>) {
        let mut waiting = Vec::new();
        let mut result = match &self.failed {
            Some(error) => {
                waiting.push(first.done);
                Err(same(error))
            }
            None => self.take(first.change, &mut waiting, first.done),
        };
        while result.is_ok() && self.buffer.len() < BATCH_BYTES {
            let Ok(next) = writes.try_recv() else { break };
            result = self.take(next.change, &mut waiting, next.done);
        }
        if result.is_ok() {
            result = self.flush();
        }
        if let Err(error) = &result
            && self.failed.is_none()
        {
            tracing::error!(dir = %self.place.dir.display(), %error, "cannot write the raft log");
            self.durable.fail(error.to_string());
            self.failed = Some(same(error));
        }
        (waiting, result)
    }

    /// Notes what is committed, so that the next start applies it at once,
    /// and lets go of the directory.
    fn end(mut self) {
        if self.failed.is_none()
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
        if let Change::Rekey(key, entries) = change {
            return self.rekey(key, &entries, waiting, done);
        }
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
                let gone = purged(&self.sealed, self.state.purged);
                remove(&self.place, &mut self.sealed, gone)?;
            }
            Change::Rekey(..) => {}
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
        if self
            .active
            .is_full(&self.place, self.buffer.len() + plain.len() + 64)
        {
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
        self.active.append(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }

    /// Goes on in a new file.
    fn roll(&mut self) -> io::Result<()> {
        self.await_spare()?;
        let next = Segment::prepare(
            &self.place,
            &Beginning {
                number: self.active.number + 1,
                previous_end: Some(self.active.offset as u64),
                state: &self.state,
                entries: None,
            },
        )?;
        let next = next.publish(&self.place)?;
        let last = std::mem::replace(&mut self.active, next).sealed();
        segment::cut(&*self.place.disk, &last)?;
        self.sealed.push(last);
        self.prepare_spare();
        Ok(())
    }

    /// Goes on in a new file under another key, which takes the place of all
    /// others. If it cannot be made, everything stays as it was and only the
    /// asker is told.
    fn rekey(
        &mut self,
        key: [u8; 32],
        entries: &[Entry],
        waiting: &mut Vec<Done>,
        done: Done,
    ) -> io::Result<()> {
        if let Err(error) = self.flush() {
            waiting.push(done);
            return Err(error);
        }
        let place = Place {
            data_key: key,
            ..self.place.clone()
        };
        let next = self.await_spare().and_then(|()| {
            Segment::prepare(
                &place,
                &Beginning {
                    number: self.active.number + 1,
                    previous_end: Some(self.active.offset as u64),
                    state: &self.state,
                    entries: Some(entries),
                },
            )
        });
        let next = match next {
            Ok(next) => next,
            Err(error) => {
                self.prepare_spare();
                done.tell(Err(error));
                return Ok(());
            }
        };
        waiting.push(done);
        let next = next.publish(&place)?;
        self.place = place;
        let last = std::mem::replace(&mut self.active, next).sealed();
        self.sealed.push(last);
        let all = self.sealed.len();
        remove(&self.place, &mut self.sealed, all)?;
        self.prepare_spare();
        Ok(())
    }

    /// Waits until the spare file is there, and makes it if nobody did.
    fn await_spare(&mut self) -> io::Result<()> {
        let made = self.spare.take().map(JoinHandle::join);
        match made {
            Some(Ok(Ok(()))) => Ok(()),
            _ => make_spare(&*self.place.disk, &self.place.dir, self.place.segment_bytes),
        }
    }

    /// Has the next file made meanwhile. Where the disk does not block there
    /// is no meanwhile, and [`Writer::roll`] makes it.
    fn prepare_spare(&mut self) {
        if !self.place.disk.blocks() {
            return;
        }
        let place = self.place.clone();
        self.spare = std::thread::Builder::new()
            .name("raft-spare".into())
            .spawn(move || make_spare(&*place.disk, &place.dir, place.segment_bytes))
            .ok();
    }
}

/// How many finished files, from the oldest on, hold only purged entries.
fn purged(sealed: &[Sealed], purged: Option<LogId>) -> usize {
    let purged = purged.map(|id| id.index);
    sealed.iter().take_while(|s| s.last_index <= purged).count()
}

/// Removes the oldest finished files.
fn remove(place: &Place, sealed: &mut Vec<Sealed>, count: usize) -> io::Result<()> {
    for old in sealed.drain(..count) {
        place.disk.remove(&old.path)?;
    }
    if count > 0 {
        place.disk.sync_dir(&place.dir)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::frame::{FILE_HEADER, Seal, align};

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

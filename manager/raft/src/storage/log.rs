//! openraft's log storage: entries in memory, every change sent to `writer`.
//!
//! Owns the view of the log that openraft reads. Entries since the last
//! purge stay in memory (snapshots bound them), so reading never touches the
//! disk. Leaves durability to the writer.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::{Arc, Mutex, MutexGuard, RwLock};

use openraft::storage::{LogFlushed, RaftLogStorage};
use openraft::{LogState, OptionalSend, RaftLogReader, StorageIOError};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::{oneshot, watch};

use super::Place;
use super::durable::Durable;
use super::files::{Lock, at};
use super::recovery::Recovered;
use super::writer::{Change, Done, Write, Writer};
use crate::error::OpenError;
use crate::types::{Entry, LogId, NodeId, StorageError, TypeConfig, Vote, size};

/// Bytes of proposals after which a message to a peer is full; it holds at
/// least one entry, however large.
const MESSAGE_BYTES: usize = 512 * 1024;

/// The entries and what belongs to them, as openraft sees them.
#[derive(Default)]
struct View {
    entries: VecDeque<Entry>,
    vote: Option<Vote>,
    purged: Option<LogId>,
    /// Bytes of proposals held.
    bytes: usize,
}

struct Shared {
    node: NodeId,
    durable: Arc<Durable>,
    /// Who changes it sends the change before letting go, so that the writer
    /// sees changes in the same order.
    view: RwLock<View>,
    committed: Arc<Mutex<Option<LogId>>>,
    writes: Mutex<Option<UnboundedSender<Write>>>,
    /// Its other end is gone when the writer is.
    writing: watch::Receiver<()>,
}

/// A handle to the log; clones share it.
#[derive(Clone)]
pub(crate) struct LogStore(Arc<Shared>);

/// A leader that comes back is to be elected anew. openraft lets it go on in its
/// old term, and answers reads as of what it had noted as committed, which is
/// less than it has acknowledged. Only who won that election has this vote, so
/// nothing that was promised to others is forgotten.
fn stands_anew(vote: Vote, node: NodeId) -> Vote {
    let led = vote.leader_id.voted_for() == Some(node);
    Vote {
        committed: vote.committed && !led,
        ..vote
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What the locks guard is changed by single assignments, so it is whole
    // even if a thread panicked while holding one.
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

impl LogStore {
    /// Takes over what was recovered and starts the writer.
    pub(crate) fn open(
        place: Place,
        mut recovered: Recovered,
        lock: Lock,
    ) -> Result<Self, OpenError> {
        let (dir, disk) = (place.dir.clone(), place.disk.clone());
        let committed = Arc::new(Mutex::new(recovered.state.committed));
        let (node, durable) = (place.node, Arc::new(Durable::new()));
        let writer = Writer::open(
            place,
            &mut recovered,
            durable.clone(),
            committed.clone(),
            lock,
        )?;
        let Recovered { state, entries, .. } = recovered;
        let view = View {
            bytes: entries.iter().map(size).sum(),
            entries,
            vote: state.vote.map(|vote| stands_anew(vote, node)),
            purged: state.purged,
        };
        let (writes, received) = unbounded_channel();
        let (running, writing) = watch::channel(());
        writer
            .start(&disk, received, running)
            .map_err(at("start the writer of", &dir))?;
        Ok(Self(Arc::new(Shared {
            node,
            durable,
            view: RwLock::new(view),
            committed,
            writes: Mutex::new(Some(writes)),
            writing,
        })))
    }

    /// Ends the writer after what it was given, and with it the lock on the
    /// directory.
    pub(crate) async fn close(&self) {
        drop(locked(&self.0.writes).take());
        let mut writing = self.0.writing.clone();
        while writing.changed().await.is_ok() {}
    }

    /// How far it is on disk.
    pub(crate) fn durable(&self) -> Arc<Durable> {
        self.0.durable.clone()
    }

    /// Bytes of proposals that the log holds.
    pub(crate) fn bytes(&self) -> usize {
        self.read().bytes
    }

    /// Bytes of proposals of the entries up to this one.
    pub(crate) fn bytes_until(&self, last: u64) -> usize {
        let view = self.read();
        let entries = view.range(0, last.saturating_add(1));
        entries.map(size).sum()
    }

    /// Where the log ends; it may not be on disk yet.
    pub(crate) fn last(&self) -> Option<LogId> {
        self.read().last()
    }

    /// The last committed id that is known.
    pub(crate) fn committed(&self) -> Option<LogId> {
        *locked(&self.0.committed)
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, View> {
        self.0.view.read().unwrap_or_else(|e| e.into_inner())
    }

    fn change(&self) -> std::sync::RwLockWriteGuard<'_, View> {
        self.0.view.write().unwrap_or_else(|e| e.into_inner())
    }

    fn send(&self, write: Write) -> io::Result<()> {
        let closed = || io::Error::other("the raft log is closed");
        locked(&self.0.writes)
            .as_ref()
            .ok_or_else(closed)?
            .send(write)
            .map_err(|_| closed())
    }

    /// Has a change written; what is returned ends when it is on disk.
    fn write(&self, change: Change) -> impl Future<Output = io::Result<()>> + use<> {
        let (reply, answer) = oneshot::channel();
        let sent = self.send(Write {
            change,
            done: Done::Reply(reply),
        });
        async move {
            sent?;
            answer
                .await
                .unwrap_or_else(|_| Err(io::Error::other("the raft log is closed")))
        }
    }

    /// Has a change written before all that come after it.
    fn note(&self, change: Change) -> io::Result<()> {
        self.send(Write {
            change,
            done: Done::Nobody,
        })
    }

    /// Puts the whole log under another key.
    pub(crate) async fn rekey(&self, key: [u8; 32]) -> io::Result<()> {
        let written = {
            let view = self.change();
            let entries = view.entries.iter().cloned().collect();
            self.write(Change::Rekey(key, entries))
        };
        written.await
    }
}

impl View {
    fn last(&self) -> Option<LogId> {
        self.entries.back().map(|e| e.log_id).or(self.purged)
    }

    /// The entries of `[start, end)` that are there.
    fn range(&self, start: u64, end: u64) -> impl Iterator<Item = &Entry> {
        let first = self.entries.front().map_or(0, |e| e.log_id.index);
        let from = usize::try_from(start.saturating_sub(first)).unwrap_or(usize::MAX);
        let to = usize::try_from(end.saturating_sub(first)).unwrap_or(usize::MAX);
        let to = to.min(self.entries.len());
        self.entries.range(from.min(to)..to)
    }
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, StorageError> {
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(before) => before + 1,
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(last) => last + 1,
            Bound::Excluded(end) => *end,
            Bound::Unbounded => u64::MAX,
        };
        Ok(self.read().range(start, end).cloned().collect())
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry>, StorageError> {
        let mut bytes = 0;
        let mut entries = Vec::new();
        for entry in self.read().range(start, end) {
            bytes += size(entry);
            if bytes > MESSAGE_BYTES && !entries.is_empty() {
                break;
            }
            entries.push(entry.clone());
        }
        Ok(entries)
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, StorageError> {
        let view = self.read();
        Ok(LogState {
            last_purged_log_id: view.purged,
            last_log_id: view.last(),
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), StorageError> {
        self.write(Change::Vote(*vote))
            .await
            .map_err(|e| StorageIOError::write_vote(&e))?;
        self.change().vote = Some(*vote);
        Ok(())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, StorageError> {
        Ok(self.read().vote)
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), StorageError> {
        *locked(&self.0.committed) = committed;
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, StorageError> {
        Ok(self.committed())
    }

    async fn append<I>(
        &mut self,
        entries: I,
        callback: LogFlushed<TypeConfig>,
    ) -> Result<(), StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        if entries.is_empty() {
            callback.log_io_completed(Ok(()));
            return Ok(());
        }
        let own = |entry: &Entry| entry.log_id.leader_id.node_id == self.0.node;
        let (waiting, told) = if entries.iter().any(own) {
            (Some(callback), None)
        } else {
            (None, Some(callback))
        };
        {
            let mut view = self.change();
            view.bytes += entries.iter().map(size).sum::<usize>();
            view.entries.extend(entries.iter().cloned());
            let durable = self.durable();
            if let Some(first) = entries.first() {
                durable.sent(first.log_id.index);
            }
            self.send(Write {
                change: Change::Entries(entries),
                done: Done::Entries(durable, waiting),
            })
            .map_err(|e| StorageIOError::write_logs(&e))?;
        }
        // See `durable` for who waits in its place.
        if let Some(told) = told {
            told.log_io_completed(Ok(()));
        }
        Ok(())
    }

    async fn truncate(&mut self, since: LogId) -> Result<(), StorageError> {
        let written = {
            let mut view = self.change();
            while view
                .entries
                .back()
                .is_some_and(|e| e.log_id.index >= since.index)
            {
                let gone = view.entries.pop_back().as_ref().map_or(0, size);
                view.bytes -= gone;
            }
            self.note(Change::Truncate(since))
        };
        written.map_err(|e| StorageIOError::write_logs(&e))?;
        Ok(())
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), StorageError> {
        let written = {
            let mut view = self.change();
            view.purged = Some(upto);
            while view
                .entries
                .front()
                .is_some_and(|e| e.log_id.index <= upto.index)
            {
                let gone = view.entries.pop_front().as_ref().map_or(0, size);
                view.bytes -= gone;
            }
            self.note(Change::Purge(upto))
        };
        written.map_err(|e| StorageIOError::write_logs(&e))?;
        Ok(())
    }
}

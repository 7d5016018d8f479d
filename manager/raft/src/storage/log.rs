//! openraft's log storage: entries in memory, every change sent to `writer`.
//!
//! Owns the view of the log that openraft reads. Entries since the last
//! purge stay in memory (snapshots bound them), so reading never touches the
//! disk. Leaves durability to the writer's thread.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::fs::File;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, RwLock};
use std::thread::JoinHandle;

use openraft::storage::{LogFlushed, RaftLogStorage};
use openraft::{LogState, OptionalSend, RaftLogReader, StorageIOError};
use tokio::sync::oneshot;

use super::Place;
use super::recovery::Recovered;
use super::writer::{Change, Done, Write, Writer};
use crate::error::OpenError;
use crate::types::{Entry, LogId, StorageError, TypeConfig, Vote, size};

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
    view: RwLock<View>,
    committed: Arc<Mutex<Option<LogId>>>,
    writes: Mutex<Option<Sender<Write>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// A handle to the log; clones share it.
#[derive(Clone)]
pub(crate) struct LogStore(Arc<Shared>);

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What the locks guard is changed by single assignments, so it is whole
    // even if a thread panicked while holding one.
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

impl LogStore {
    /// Takes over what was recovered and starts the writer.
    pub(crate) fn open(place: Place, recovered: Recovered, lock: File) -> Result<Self, OpenError> {
        let Recovered {
            state,
            entries,
            sealed,
        } = recovered;
        let committed = Arc::new(Mutex::new(state.committed));
        let view = View {
            bytes: entries.iter().map(size).sum(),
            entries,
            vote: state.vote,
            purged: state.purged,
        };
        let dir = place.dir.clone();
        let writer = Writer::open(place, state, sealed, committed.clone(), lock)?;
        let (writes, received) = channel();
        let thread = std::thread::Builder::new()
            .name("raft-log".into())
            .spawn(move || writer.run(&received))
            .map_err(super::files::at("start the writer of", &dir))?;
        Ok(Self(Arc::new(Shared {
            view: RwLock::new(view),
            committed,
            writes: Mutex::new(Some(writes)),
            thread: Mutex::new(Some(thread)),
        })))
    }

    /// Ends the writer after what it was given, and with it the lock on the
    /// directory. Blocks on the disk.
    pub(crate) fn close(&self) {
        drop(locked(&self.0.writes).take());
        if let Some(thread) = locked(&self.0.thread).take() {
            let _ = thread.join();
        }
    }

    /// Bytes of proposals that the log holds.
    pub(crate) fn bytes(&self) -> usize {
        self.read().bytes
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

    /// Writes a change and waits until it is on disk.
    async fn write(&self, change: Change) -> io::Result<()> {
        let (reply, answer) = oneshot::channel();
        self.send(Write {
            change,
            done: Done::Reply(reply),
        })?;
        answer
            .await
            .unwrap_or_else(|_| Err(io::Error::other("the raft log is closed")))
    }
}

impl View {
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
            last_log_id: view.entries.back().map(|e| e.log_id).or(view.purged),
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
        {
            let mut view = self.change();
            view.bytes += entries.iter().map(size).sum::<usize>();
            view.entries.extend(entries.iter().cloned());
        }
        self.send(Write {
            change: Change::Entries(entries),
            done: Done::Flushed(callback),
        })
        .map_err(|e| StorageIOError::write_logs(&e))?;
        Ok(())
    }

    async fn truncate(&mut self, since: LogId) -> Result<(), StorageError> {
        {
            let mut view = self.change();
            while view
                .entries
                .back()
                .is_some_and(|e| e.log_id.index >= since.index)
            {
                let gone = view.entries.pop_back().as_ref().map_or(0, size);
                view.bytes -= gone;
            }
        }
        let written = self.write(Change::Truncate(since)).await;
        written.map_err(|e| StorageIOError::write_logs(&e))?;
        Ok(())
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), StorageError> {
        {
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
        }
        let written = self.write(Change::Purge(upto)).await;
        written.map_err(|e| StorageIOError::write_logs(&e))?;
        Ok(())
    }
}

//! openraft's state machine storage over the caller's [`Machine`].
//!
//! Owns the position (what was applied, the membership, how many proposals)
//! and the moment at which a snapshot is taken. Leaves the state itself to
//! the machine and files to `snapshot`.

use std::io::{self, Cursor};
use std::sync::{Arc, Mutex};

use openraft::storage::RaftStateMachine;
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder, Snapshot, StorageIOError};
use prost::Message;
use tokio::sync::watch;

use super::Place;
use super::snapshot::{Snapshots, Stored};
use crate::error::OpenError;
use crate::types::{
    BatchResult, Entry, LogId, SnapshotMeta, StorageError, StoredMembership, TypeConfig,
};
use crate::{Machine, disk, runtime, wire};

/// The machine and where it stands.
pub(crate) struct StateMachine {
    machine: Arc<dyn Machine>,
    snapshots: Arc<Snapshots>,
    last_applied: Option<LogId>,
    membership: StoredMembership,
    /// The index of the last proposal that was applied.
    applied: watch::Sender<u64>,
}

type Freeze = Box<dyn FnOnce() -> Vec<u8> + Send>;

/// Writes one snapshot of the moment it was made at.
pub(crate) struct Builder {
    meta: SnapshotMeta,
    applied: u64,
    /// Taken once; openraft asks a builder for one snapshot. The lock is only
    /// there because openraft wants builders to be `Sync`.
    freeze: Mutex<Option<Freeze>>,
    snapshots: Arc<Snapshots>,
}

impl StateMachine {
    /// Opens the snapshots and restores the machine from the newest.
    pub(crate) fn open(place: &Place, machine: Arc<dyn Machine>) -> Result<Self, OpenError> {
        let (snapshots, stored) = Snapshots::open(place)?;
        let mut this = Self {
            machine,
            snapshots: Arc::new(snapshots),
            last_applied: None,
            membership: StoredMembership::default(),
            applied: watch::Sender::new(0),
        };
        if let Some(Stored {
            meta, bytes, path, ..
        }) = stored
        {
            this.restore(&meta, &bytes)
                .map_err(|reason| OpenError::Restore { path, reason })?;
        }
        Ok(this)
    }

    pub(crate) fn last_applied(&self) -> Option<LogId> {
        self.last_applied
    }

    pub(crate) fn snapshots(&self) -> Arc<Snapshots> {
        self.snapshots.clone()
    }

    /// Follows the index of the last proposal that was applied.
    pub(crate) fn watch_applied(&self) -> watch::Receiver<u64> {
        self.applied.subscribe()
    }

    fn restore(&mut self, meta: &SnapshotMeta, bytes: &[u8]) -> Result<(), String> {
        let state: wire::MachineState =
            wire::decode("snapshot", bytes).map_err(|e| e.to_string())?;
        self.machine.restore(&state.machine)?;
        self.last_applied = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        self.applied.send_replace(state.applied);
        Ok(())
    }
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    async fn build_snapshot(&mut self) -> Result<Snapshot<TypeConfig>, StorageError> {
        let failed = |e: &io::Error| StorageIOError::write_snapshot(None, e);
        let freeze = self
            .freeze
            .get_mut()
            .unwrap_or_else(|e| e.into_inner())
            .take();
        let Some(freeze) = freeze else {
            return Err(failed(&io::Error::other("the snapshot was built already")).into());
        };
        let (meta, snapshots, applied) = (self.meta.clone(), self.snapshots.clone(), self.applied);
        let disk = snapshots.disk();
        let bytes = disk::work(&*disk, move || {
            let bytes = wire::MachineState {
                applied,
                machine: freeze(),
            }
            .encode_to_vec();
            snapshots.save(&meta, &bytes).map(|()| bytes)
        })
        .await
        .and_then(|saved| saved)
        .map_err(|e| failed(&e))?;
        Ok(Snapshot {
            meta: self.meta.clone(),
            snapshot: Box::new(Cursor::new(bytes)),
        })
    }
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), StorageError> {
        Ok((self.last_applied, self.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<BatchResult>, StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut results = Vec::new();
        let mut applied = *self.applied.borrow();
        for entry in entries {
            let mut result = BatchResult::default();
            match &entry.payload {
                EntryPayload::Blank => {}
                EntryPayload::Normal(batch) => {
                    result.first = applied + 1;
                    for proposal in batch.0.iter() {
                        applied += 1;
                        let answer = self.machine.apply(applied, proposal).map_err(|reason| {
                            StorageIOError::apply(entry.log_id, &io::Error::other(reason))
                        })?;
                        result.responses.push(answer);
                    }
                }
                EntryPayload::Membership(membership) => {
                    self.membership = StoredMembership::new(Some(entry.log_id), membership.clone());
                }
            }
            self.last_applied = Some(entry.log_id);
            results.push(result);
        }
        self.applied.send_if_modified(|current| {
            let changed = *current != applied;
            *current = applied;
            changed
        });
        Ok(results)
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        // Only to tell apart transfers of snapshots that end at the same
        // entry; without randomness the entry alone has to do.
        let unique = runtime::random().unwrap_or_default();
        let index = self.last_applied.map_or(0, |id| id.index);
        Builder {
            meta: SnapshotMeta {
                last_log_id: self.last_applied,
                last_membership: self.membership.clone(),
                snapshot_id: format!("{index}-{:016x}", u64::from_le_bytes(unique)),
            },
            applied: *self.applied.borrow(),
            freeze: Mutex::new(Some(self.machine.freeze())),
            snapshots: self.snapshots.clone(),
        }
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<Cursor<Vec<u8>>>, StorageError> {
        Ok(Box::default())
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: Box<Cursor<Vec<u8>>>,
    ) -> Result<(), StorageError> {
        let bytes = Arc::new(snapshot.into_inner());
        self.restore(meta, &bytes).map_err(|reason| {
            StorageIOError::read_snapshot(Some(meta.signature()), &io::Error::other(reason))
        })?;
        let (snapshots, saved) = (self.snapshots.clone(), meta.clone());
        let disk = snapshots.disk();
        disk::work(&*disk, move || snapshots.save(&saved, &bytes))
            .await
            .and_then(|saved| saved)
            .map_err(|e| StorageIOError::write_snapshot(Some(meta.signature()), &e))?;
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<TypeConfig>>, StorageError> {
        let snapshots = self.snapshots.clone();
        let failed = |e: io::Error| StorageIOError::read_snapshot(None, &e);
        let disk = snapshots.disk();
        let stored = disk::work(&*disk, move || snapshots.load())
            .await
            .map_err(failed)?
            .map_err(|e| failed(io::Error::other(e)))?;
        Ok(stored.map(|Stored { meta, bytes, .. }| Snapshot {
            meta,
            snapshot: Box::new(Cursor::new(bytes)),
        }))
    }
}

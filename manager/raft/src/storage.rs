//! Everything this crate keeps on disk.
//!
//! Owns the data directory: the log (`log`, `writer`, `segment`, `recovery`,
//! and `rebuild` for a group that is made anew), the snapshots (`snapshot`), the record format (`frame`) and the state machine
//! that feeds the caller's [`crate::Machine`] (`machine`). Leaves consensus to
//! openraft.

mod durable;
mod files;
mod frame;
mod log;
mod machine;
mod rebuild;
mod recovery;
mod segment;
mod snapshot;
#[cfg(test)]
mod tests;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;

pub(crate) use durable::Durable;
pub(crate) use frame::{FILE_HEADER, Purpose, Seal};
pub(crate) use log::LogStore;
pub(crate) use machine::StateMachine;
pub(crate) use rebuild::{reform, seed};
use recovery::Recovered;
pub(crate) use recovery::recover_from;
pub(crate) use snapshot::Snapshots;

use crate::Machine;
use crate::disk::Disk;
use crate::error::OpenError;
use crate::types::{LogId, NodeId};

/// Where and under which key a node keeps its data.
#[derive(Clone)]
pub(crate) struct Place {
    pub disk: Arc<dyn Disk>,
    pub dir: PathBuf,
    pub node: NodeId,
    pub data_key: [u8; 32],
    /// Keys that files may still be under.
    pub old_keys: Vec<[u8; 32]>,
    /// Whether there must be a log.
    pub existing: bool,
    /// Bytes of a log file; tests make it small.
    pub segment_bytes: usize,
}

impl Place {
    /// All keys that files may be under, the current one first.
    fn keys(&self) -> Vec<[u8; 32]> {
        let mut keys = vec![self.data_key];
        keys.extend(&self.old_keys);
        keys
    }
}

/// Opens (or makes) the directory, recovers log and snapshot and restores the
/// machine from the latter. Blocks on the disk.
pub(crate) fn open(
    place: Place,
    machine: Arc<dyn Machine>,
) -> Result<(LogStore, StateMachine), OpenError> {
    let lock = files::lock(&*place.disk, &place.dir)?;
    let recovered = recovery::recover(&place)?;
    if place.existing && recovered.sealed.is_empty() {
        return Err(OpenError::Missing { path: place.dir });
    }
    let state_machine = StateMachine::open(&place, machine)?;
    let snapshot = state_machine.last_applied();
    check_together(&place, &recovered, snapshot)?;
    let log = LogStore::open(place, recovered, lock)?;
    Ok((log, state_machine))
}

/// Whether log and snapshot can be of the same member at the same time.
fn check_together(
    place: &Place,
    recovered: &Recovered,
    snapshot: Option<LogId>,
) -> Result<(), OpenError> {
    let damaged = |what: String| OpenError::Damaged {
        path: place.dir.clone(),
        offset: 0,
        what,
    };
    if snapshot.is_some() && recovered.sealed.is_empty() {
        return Err(damaged("there is a snapshot, but no log".into()));
    }
    let snapshot = snapshot.map(|id| id.index);
    let purged = recovered.state.purged.map(|id| id.index);
    if purged > snapshot {
        return Err(damaged(format!(
            "the log starts after entry {}, but the snapshot that should hold what came before {}",
            purged.unwrap_or_default(),
            snapshot.map_or("is missing".into(), |s| format!("ends at entry {s}")),
        )));
    }
    Ok(())
}

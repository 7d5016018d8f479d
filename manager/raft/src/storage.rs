//! Everything this crate keeps on disk.
//!
//! Owns the data directory: the log (`log`, `writer`, `recovery`), the
//! snapshots (`snapshot`), the record format (`frame`) and the state machine
//! that feeds the caller's [`crate::Machine`] (`machine`). Leaves consensus to
//! openraft.

mod files;
mod frame;
mod log;
mod machine;
mod recovery;
mod snapshot;
#[cfg(test)]
mod tests;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;

pub(crate) use log::LogStore;
pub(crate) use machine::StateMachine;

use crate::Machine;
use crate::error::OpenError;
use crate::types::NodeId;

/// Where and under which key a node keeps its data.
#[derive(Clone)]
pub(crate) struct Place {
    pub dir: PathBuf,
    pub node: NodeId,
    pub data_key: [u8; 32],
    /// Bytes of a log file; tests make it small.
    pub segment_bytes: usize,
}

/// Opens (or makes) the directory, recovers log and snapshot and restores the
/// machine from the latter. Blocks on the disk.
pub(crate) fn open(
    place: Place,
    machine: Arc<dyn Machine>,
) -> Result<(LogStore, StateMachine), OpenError> {
    let lock = files::lock(&place.dir)?;
    let state_machine = StateMachine::open(&place, machine)?;
    let recovered = recovery::recover(&place)?;
    let snapshot = state_machine.last_applied().map(|id| id.index);
    let purged = recovered.state.purged.map(|id| id.index);
    if purged > snapshot {
        return Err(OpenError::Damaged {
            path: place.dir.clone(),
            offset: 0,
            what: format!(
                "the log starts after entry {}, but the snapshot that should hold what came before {}",
                purged.unwrap_or_default(),
                snapshot.map_or("is missing".into(), |s| format!("ends at entry {s}")),
            ),
        });
    }
    let log = LogStore::open(place, recovered, lock)?;
    Ok((log, state_machine))
}

//! The names openraft's generic types have in this crate.
//!
//! Owns the type configuration: what a log entry carries and what applying
//! it returns. Leaves encoding to `wire` and behaviour to everyone else.

use std::fmt;
use std::io::Cursor;
use std::sync::Arc;

use openraft::BasicNode;

openraft::declare_raft_types!(
    /// Our instance of openraft's type configuration.
    pub(crate) TypeConfig:
        D = Batch,
        R = BatchResult,
        NodeId = u64,
        Node = BasicNode,
        Entry = openraft::Entry<TypeConfig>,
        SnapshotData = Cursor<Vec<u8>>,
        AsyncRuntime = crate::runtime::Runtime,
);

/// What one normal log entry carries: the proposals that were waiting when
/// it was written. openraft flushes the log once per entry, so this is where
/// the group commit comes from.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Batch(pub Arc<Vec<Vec<u8>>>);

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes: usize = self.0.iter().map(Vec::len).sum();
        write!(f, "Batch({} proposals, {bytes} bytes)", self.0.len())
    }
}

/// What applying a [`Batch`] gave: the index of its first proposal and the
/// machine's answers, in order. Empty for entries that carry no proposals.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct BatchResult {
    pub first: u64,
    pub responses: Vec<Vec<u8>>,
}

impl fmt::Debug for BatchResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "BatchResult(first {}, {} responses)",
            self.first,
            self.responses.len()
        )
    }
}

pub(crate) type NodeId = u64;
pub(crate) type Entry = openraft::Entry<TypeConfig>;
pub(crate) type LogId = openraft::LogId<NodeId>;
pub(crate) type Vote = openraft::Vote<NodeId>;
pub(crate) type StoredMembership = openraft::StoredMembership<NodeId, BasicNode>;
pub(crate) type SnapshotMeta = openraft::SnapshotMeta<NodeId, BasicNode>;
pub(crate) type StorageError = openraft::StorageError<NodeId>;
pub(crate) type CoreRaft = openraft::Raft<TypeConfig>;
pub(crate) type Metrics = openraft::RaftMetrics<NodeId, BasicNode>;

/// Bytes of the proposals in an entry.
pub(crate) fn size(entry: &Entry) -> usize {
    match &entry.payload {
        openraft::EntryPayload::Normal(batch) => batch.0.iter().map(Vec::len).sum(),
        openraft::EntryPayload::Blank | openraft::EntryPayload::Membership(_) => 0,
    }
}

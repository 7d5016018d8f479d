//! Takes over a snapshot that a leader sends in parts.
//!
//! In place of openraft's own reception, which takes any part at any place: here
//! they follow each other, and what they make is looked at before it replaces
//! anything. How long it may be says `plausible`.

use std::cmp::Ordering;
use std::io::Cursor;

use openraft::Snapshot;

use crate::error::HandleError;
use crate::node::Raft;
use crate::types::{SnapshotMeta, Vote};
use crate::wire::{self, ResponseKind, SnapshotChunk};

/// What has come so far of a snapshot. One at a time: who begins another one
/// gives this one up.
#[derive(Debug, Default)]
pub(crate) struct Receiving {
    id: String,
    bytes: Vec<u8>,
}

impl Receiving {
    /// Adds a part. What came before may come again.
    ///
    /// # Errors
    /// When it does not follow: the sender is to begin anew.
    fn add(&mut self, id: &str, offset: u64, data: &[u8]) -> Result<(), wire::SnapshotMismatch> {
        if offset == 0 {
            self.id = id.to_owned();
            self.bytes = Vec::new();
        }
        let length = self.bytes.len() as u64;
        if id != self.id || offset > length {
            return Err(wire::SnapshotMismatch {
                expected_id: self.id.clone(),
                expected_offset: length,
                got_id: id.to_owned(),
                got_offset: offset,
            });
        }
        let known = usize::try_from(length - offset).unwrap_or(usize::MAX);
        if let Some(new) = data.get(known..) {
            self.bytes.extend_from_slice(new);
        }
        Ok(())
    }

    fn done(&mut self) -> Vec<u8> {
        std::mem::take(self).bytes
    }
}

impl Raft {
    /// Takes a part, and with the last one the snapshot.
    pub(crate) async fn receive(&self, chunk: SnapshotChunk) -> Result<ResponseKind, HandleError> {
        let need = |field| wire::WireError::Missing {
            what: "snapshot chunk",
            field,
        };
        let SnapshotChunk {
            vote,
            meta,
            offset,
            data,
            done,
        } = chunk;
        let vote: Vote = (&vote.ok_or(HandleError::Decode(need("vote")))?).into();
        let meta = meta.ok_or(HandleError::Decode(need("meta")))?;
        let meta: SnapshotMeta = meta.try_into().map_err(HandleError::Decode)?;
        let core = &self.inner.core;
        let known = core.with_raft_state(|state| *state.vote_ref()).await;
        let known = known.map_err(|_| HandleError::Stopped)?;
        let answer = |vote: &Vote| {
            ResponseKind::Snapshot(wire::SnapshotResponse {
                vote: Some(vote.into()),
            })
        };
        // Two may be neither, so what is not less is not good enough.
        if !matches!(
            vote.partial_cmp(&known),
            Some(Ordering::Equal | Ordering::Greater)
        ) {
            return Ok(answer(&known));
        }
        let bytes = {
            let mut receiving = self
                .inner
                .receiving
                .lock()
                .unwrap_or_else(|e| e.into_inner());
            if let Err(mismatch) = receiving.add(&meta.snapshot_id, offset, &data) {
                return Ok(ResponseKind::SnapshotMismatch(mismatch));
            }
            if !done {
                return Ok(answer(&known));
            }
            receiving.done()
        };
        drop(data);
        self.is_snapshot(&bytes)
            .map_err(|reason| HandleError::Implausible {
                from: vote.leader_id.node_id,
                reason,
            })?;
        let snapshot = Snapshot {
            meta,
            snapshot: Box::new(Cursor::new(bytes)),
        };
        let response = core.install_full_snapshot(vote, snapshot).await;
        Ok(answer(&response.map_err(|_| HandleError::Stopped)?.vote))
    }

    fn is_snapshot(&self, bytes: &[u8]) -> Result<(), String> {
        let state: wire::MachineState =
            wire::decode("snapshot", bytes).map_err(|error| error.to_string())?;
        self.inner.machine.is_snapshot(&state.machine)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_follow_each_other_and_may_come_again() {
        let mut receiving = Receiving::default();
        receiving.add("a", 5, b"x").unwrap_err();
        receiving.add("a", 0, b"abc").unwrap();
        receiving.add("a", 3, b"def").unwrap();
        receiving.add("a", 3, b"def").unwrap();
        let expected = receiving.add("a", 7, b"h").unwrap_err();
        assert_eq!((expected.expected_offset, expected.got_offset), (6, 7));
        receiving.add("b", 6, b"g").unwrap_err();
        receiving.add("a", 5, b"fgh").unwrap();
        assert_eq!(receiving.done(), b"abcdefgh");
        receiving.add("a", 8, b"i").unwrap_err();
        receiving.add("b", 0, b"").unwrap();
        assert!(receiving.done().is_empty());
    }

    #[test]
    fn one_that_begins_anew_gives_up_what_came_before() {
        let mut receiving = Receiving::default();
        receiving.add("a", 0, &[1; 100]).unwrap();
        receiving.add("b", 0, &[2; 10]).unwrap();
        receiving.add("a", 100, &[1; 100]).unwrap_err();
        receiving.add("b", 0, &[3; 5]).unwrap();
        assert_eq!(receiving.done(), [3; 5]);
    }
}

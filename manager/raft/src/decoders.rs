//! What is read here of bytes that others wrote, for `tests/fuzz`: no part of the
//! interface. Nothing of it may panic, whatever it is given.

use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, VoteRequest, VoteResponse};
use prost::Message;

use crate::plausible::Known;
use crate::storage::{FILE_HEADER, Purpose, Seal, recover_from};
use crate::types::{self, LogId, SnapshotMeta, TypeConfig};
use crate::wire::{self, RecordKind, RequestKind, ResponseKind};

const KEY: [u8; 32] = [7; 32];
/// The sender, where this is member 1.
const FROM: u64 = 2;

fn known() -> Known {
    Known {
        id: 1,
        term: 5,
        applied: Some((&place(10)).into()),
    }
}

fn place(index: u64) -> wire::LogId {
    wire::LogId {
        term: 5,
        node: FROM,
        index,
    }
}

fn vote(committed: bool) -> Option<wire::Vote> {
    Some(wire::Vote {
        term: 5,
        node: FROM,
        committed,
    })
}

fn members() -> wire::Membership {
    wire::Membership {
        configs: vec![wire::Quorum { voters: vec![1, 2] }],
        members: [1, 2]
            .map(|id| wire::Member {
                id,
                address: format!("10.0.0.{id}:2377"),
            })
            .to_vec(),
    }
}

fn entries() -> Vec<wire::Entry> {
    let batch = wire::Batch {
        proposals: vec![b"one".to_vec(), Vec::new()],
    };
    let payloads = [
        None,
        Some(wire::Payload::Normal(batch)),
        Some(wire::Payload::Membership(members())),
    ];
    let entry = |(index, payload)| wire::Entry {
        log_id: Some(place(index)),
        payload,
    };
    (11..).zip(payloads).map(entry).collect()
}

fn meta() -> wire::SnapshotMeta {
    wire::SnapshotMeta {
        last_log_id: Some(place(20)),
        membership: Some(wire::StoredMembership {
            log_id: Some(place(3)),
            membership: Some(members()),
        }),
        id: "20-1".into(),
        length: 0,
    }
}

/// What a snapshot begins with.
pub fn snapshot_metas() -> Vec<Vec<u8>> {
    vec![meta().encode_to_vec()]
}

/// Messages of other members.
pub fn requests() -> Vec<Vec<u8>> {
    let kinds = [
        RequestKind::Vote(wire::VoteRequest {
            vote: vote(false),
            last_log_id: Some(place(10)),
        }),
        RequestKind::Append(wire::AppendRequest {
            vote: vote(true),
            previous: Some(place(10)),
            entries: entries(),
            commit: Some(place(12)),
        }),
        RequestKind::Snapshot(wire::SnapshotChunk {
            vote: vote(true),
            meta: Some(meta()),
            offset: 0,
            data: vec![1; 100],
            done: true,
        }),
        RequestKind::TakeOver(wire::Empty {}),
    ];
    let request = |kind| wire::Request {
        from: FROM,
        to: 1,
        kind: Some(kind),
    };
    kinds.map(|kind| request(kind).encode_to_vec()).to_vec()
}

/// Reads a message as a member does, up to where openraft takes it.
pub fn request(bytes: &[u8]) {
    let Ok(request) = wire::decode::<wire::Request>("raft request", bytes) else {
        return;
    };
    let Some(kind) = request.kind else { return };
    if known().request(request.from, &kind).is_err() {
        return;
    }
    match kind {
        RequestKind::Vote(vote) | RequestKind::PreVote(vote) => {
            drop(VoteRequest::try_from(vote));
        }
        RequestKind::Append(append) => {
            drop(AppendEntriesRequest::<TypeConfig>::try_from(append));
        }
        RequestKind::Snapshot(chunk) => drop(chunk.meta.map(SnapshotMeta::try_from)),
        RequestKind::ReadIndex(_) | RequestKind::TakeOver(_) | RequestKind::Ping(_) => {}
    }
}

/// Answers of other members.
pub fn responses() -> Vec<Vec<u8>> {
    let outcomes = [
        wire::AppendOutcome::HigherVote(vote(true).unwrap_or_default()),
        wire::AppendOutcome::Partial(wire::PartialSuccess {
            matched: Some(place(11)),
        }),
    ];
    let mut kinds = vec![ResponseKind::Vote(wire::VoteResponse {
        vote: vote(false),
        granted: true,
        last_log_id: Some(place(9)),
    })];
    kinds.extend(outcomes.map(|outcome| {
        ResponseKind::Append(wire::AppendResponse {
            outcome: Some(outcome),
        })
    }));
    let response = |kind| wire::Response { kind: Some(kind) };
    let bytes = kinds.into_iter().map(|k| response(k).encode_to_vec());
    bytes.collect()
}

/// Reads an answer.
pub fn response(bytes: &[u8]) {
    let Ok(response) = wire::decode::<wire::Response>("raft response", bytes) else {
        return;
    };
    let Some(kind) = response.kind else { return };
    if known().response(&kind).is_err() {
        return;
    }
    match kind {
        ResponseKind::Vote(vote) => drop(VoteResponse::try_from(vote)),
        ResponseKind::Append(append) => {
            drop(AppendEntriesResponse::<u64>::try_from(append));
        }
        _ => {}
    }
}

fn state() -> RecordKind {
    RecordKind::State(wire::State {
        node: 1,
        vote: vote(true),
        purged: Some(place(10)),
        committed: Some(place(10)),
        whole: None,
    })
}

/// What records of a log hold, each after its length in two bytes.
pub fn records() -> Vec<Vec<u8>> {
    let mut kinds = vec![state()];
    kinds.extend(entries().into_iter().map(RecordKind::Entry));
    kinds.extend([
        RecordKind::Committed(place(12)),
        RecordKind::Truncate(place(12)),
        RecordKind::Purge(place(11)),
        RecordKind::Vote(vote(false).unwrap_or_default()),
    ]);
    let mut all = Vec::new();
    for kind in kinds {
        let record = wire::Record { kind: Some(kind) }.encode_to_vec();
        all.extend(u16::try_from(record.len()).unwrap_or(0).to_le_bytes());
        all.extend(record);
    }
    vec![all]
}

/// Replays a log that holds these records, sealed as they should be.
pub fn replay(mut bytes: &[u8]) {
    let mut plain = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<2>() {
        let length = usize::from(u16::from_le_bytes(*length)).min(rest.len());
        let (record, rest) = rest.split_at(length);
        plain.push(record);
        bytes = rest;
    }
    if let Some(file) = file(Purpose::Log, &plain) {
        drop(recover_from(KEY, file));
    }
}

fn file(purpose: Purpose, records: &[&[u8]]) -> Option<Vec<u8>> {
    let seal = Seal::derive(&KEY, [9; 32])?;
    let mut file = seal.file_header(purpose, 1, None)?.to_vec();
    for record in records {
        let offset = file.len();
        seal.encode(offset, offset, record, &mut file)?;
    }
    file.resize(file.len() + FILE_HEADER, 0);
    Some(file)
}

/// Files of the log as they are on disk.
pub fn files() -> Vec<Vec<u8>> {
    let state = wire::Record {
        kind: Some(state()),
    };
    let entry = |entry| wire::Record {
        kind: Some(RecordKind::Entry(entry)),
    };
    let entries = entries().into_iter().map(entry);
    let records: Vec<Vec<u8>> = std::iter::once(state)
        .chain(entries)
        .map(|record| record.encode_to_vec())
        .collect();
    let records: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
    file(Purpose::Log, &records).into_iter().collect()
}

/// Reads a file of the log.
pub fn log_file(bytes: &[u8]) {
    drop(recover_from(KEY, bytes.to_vec()));
}

/// Reads what a snapshot begins with, on disk or on its way.
pub fn snapshot_meta(bytes: &[u8]) {
    if let Ok(meta) = wire::decode::<wire::SnapshotMeta>("snapshot meta", bytes) {
        let meta: Result<types::SnapshotMeta, _> = meta.try_into();
        drop(meta.map(|meta| meta.last_log_id.map(|id: LogId| id.index)));
    }
}

//! Reading the log back after a stop or a crash.
//!
//! Owns the replay of all log files and the decision what a bad record means:
//! the unfinished write at the very end is dropped, anything else is damage
//! and refuses to open. Changes nothing on disk but leftovers of unfinished
//! files; `writer` continues in a new file.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};

use openraft::RaftLogId;

use super::Place;
use super::files::{self, at};
use super::frame::{self, FILE_HEADER, FileHeader, HeaderFlaw, Purpose, Step};
use crate::error::OpenError;
use crate::types::{Entry, LogId, Vote};
use crate::wire::{self, RecordKind, from_wire_id};

/// What must be known besides the entries.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    pub vote: Option<Vote>,
    pub purged: Option<LogId>,
    pub committed: Option<LogId>,
}

/// A log file that is no longer written.
#[derive(Debug)]
pub(crate) struct Sealed {
    pub number: u64,
    pub path: PathBuf,
    /// The highest index of an entry in it.
    pub last_index: Option<u64>,
    /// Where its records end.
    pub end: u64,
}

/// The log as it was found.
#[derive(Default)]
pub(crate) struct Recovered {
    pub state: State,
    pub entries: VecDeque<Entry>,
    pub sealed: Vec<Sealed>,
}

/// Replays the log files of a directory.
pub(crate) fn recover(place: &Place) -> Result<Recovered, OpenError> {
    let files = files::list(&place.dir, "log")?;
    let mut opened = Vec::with_capacity(files.len());
    for (number, path) in files {
        let bytes = fs::read(&path).map_err(at("read", &path))?;
        let header =
            frame::open_header(&place.data_key, Purpose::Log, &bytes).map_err(
                |flaw| match flaw {
                    HeaderFlaw::WrongKey => OpenError::WrongKey { path: path.clone() },
                    HeaderFlaw::Damaged(what) => damaged(&path, 0, what),
                },
            )?;
        if header.number != number {
            return Err(damaged(&path, 16, "file is not the one its name says"));
        }
        opened.push((path, bytes, header));
    }
    for pair in opened.windows(2) {
        if pair[0].2.number + 1 != pair[1].2.number {
            let what = format!(
                "log file {:016x} before it is missing",
                pair[1].2.number - 1
            );
            return Err(damaged(&pair[1].0, 0, &what));
        }
    }
    let ends: Vec<Option<u64>> = opened
        .iter()
        .skip(1)
        .map(|(_, _, next)| next.previous_end)
        .chain([None])
        .collect();
    let mut recovered = Recovered::default();
    for ((path, bytes, header), end) in opened.into_iter().zip(ends) {
        let sealed = replay(place, &mut recovered, path, &bytes, &header, end)?;
        recovered.sealed.push(sealed);
    }
    check_whole(place, &recovered)?;
    Ok(recovered)
}

fn damaged(path: &Path, offset: usize, what: &str) -> OpenError {
    OpenError::Damaged {
        path: path.into(),
        offset: offset as u64,
        what: what.into(),
    }
}

/// Replays one file. `known_end` is where its successor says it ended; only
/// the last file has none, and only there may a write have been cut short.
fn replay(
    place: &Place,
    recovered: &mut Recovered,
    path: PathBuf,
    bytes: &[u8],
    header: &FileHeader,
    known_end: Option<u64>,
) -> Result<Sealed, OpenError> {
    let limit = match known_end {
        Some(end) => usize::try_from(end).unwrap_or(usize::MAX),
        None => bytes.len(),
    };
    let Some(bytes) = bytes.get(..limit) else {
        return Err(damaged(
            &path,
            bytes.len(),
            "file is shorter than its records",
        ));
    };
    let mut last_index = None;
    let mut offset = FILE_HEADER;
    loop {
        let flaw = match header.seal.decode(bytes, offset) {
            Step::Record { plain, next } => {
                let index = apply(place, recovered, &plain)
                    .map_err(|what| what.at(&path, &place.dir, offset))?;
                last_index = last_index.max(index);
                offset = next;
                continue;
            }
            Step::End => None,
            Step::Bad(flaw) => Some(flaw),
        };
        if known_end.is_some() {
            if offset == limit {
                break;
            }
            let what = flaw.map_or("records are missing", |flaw| flaw.what);
            return Err(damaged(&path, offset, what));
        }
        if header.seal.was_synced(bytes, offset) {
            let what = flaw.map_or("records are missing", |flaw| flaw.what);
            return Err(damaged(&path, offset, what));
        }
        if let Some(flaw) = flaw {
            if !flaw.torn {
                return Err(damaged(&path, offset, flaw.what));
            }
            tracing::warn!(
                path = %path.display(),
                offset,
                "dropped an unfinished write at the end of the raft log"
            );
        }
        break;
    }
    Ok(Sealed {
        number: header.number,
        path,
        last_index,
        end: offset as u64,
    })
}

/// Why a record that reads well cannot be replayed.
enum Refused {
    What(String),
    OtherMember(u64, u64),
}

impl Refused {
    fn at(self, path: &Path, dir: &Path, offset: usize) -> OpenError {
        match self {
            Self::What(what) => damaged(path, offset, &what),
            Self::OtherMember(found, wanted) => OpenError::OtherMember {
                path: dir.into(),
                found,
                wanted,
            },
        }
    }
}

impl From<wire::WireError> for Refused {
    fn from(error: wire::WireError) -> Self {
        Self::What(error.to_string())
    }
}

/// Replays one record; the index of the entry if it is one.
fn apply(place: &Place, log: &mut Recovered, plain: &[u8]) -> Result<Option<u64>, Refused> {
    let record: wire::Record = wire::decode("log record", plain)?;
    match record.kind {
        Some(RecordKind::State(state)) => {
            if state.node != place.node {
                return Err(Refused::OtherMember(state.node, place.node));
            }
            log.state.vote = state.vote.as_ref().map(Into::into);
            log.state.purged = from_wire_id(&state.purged);
            log.state.committed = from_wire_id(&state.committed);
        }
        Some(RecordKind::Vote(vote)) => log.state.vote = Some((&vote).into()),
        Some(RecordKind::Committed(id)) => log.state.committed = Some((&id).into()),
        Some(RecordKind::Truncate(id)) => {
            while log
                .entries
                .back()
                .is_some_and(|e| e.log_id.index >= id.index)
            {
                log.entries.pop_back();
            }
        }
        Some(RecordKind::Purge(id)) => {
            log.state.purged = Some((&id).into());
            while log
                .entries
                .front()
                .is_some_and(|e| e.log_id.index <= id.index)
            {
                log.entries.pop_front();
            }
        }
        Some(RecordKind::Entry(entry)) => {
            let entry: Entry = entry.try_into()?;
            let index = entry.get_log_id().index;
            if let Some(last) = log.entries.back()
                && last.log_id.index + 1 != index
            {
                let what = format!("entry {index} follows entry {}", last.log_id.index);
                return Err(Refused::What(what));
            }
            log.entries.push_back(entry);
            return Ok(Some(index));
        }
        None => {
            return Err(Refused::What(
                "record of a kind this version does not know".into(),
            ));
        }
    }
    Ok(None)
}

/// The entries must follow what was purged without a hole.
fn check_whole(place: &Place, log: &Recovered) -> Result<(), OpenError> {
    let expected = log.state.purged.map_or(0, |id| id.index + 1);
    match log.entries.front() {
        Some(first) if first.log_id.index != expected => {
            let what = format!(
                "log starts at entry {} instead of {expected}",
                first.log_id.index
            );
            Err(damaged(&place.dir, 0, &what))
        }
        _ => Ok(()),
    }
}

//! Reading the log back after a stop or a crash.
//!
//! Owns the replay of all log files and the decision what a bad record means:
//! the unfinished write at the very end is dropped, anything else is damage
//! and refuses to open. Changes nothing on disk but leftovers of unfinished
//! files; `writer` continues in a new file.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use openraft::RaftLogId;

use super::Place;
use super::files::{self, at};
use super::frame::{self, FILE_HEADER, FileHeader, Purpose, Step};
use crate::error::OpenError;
use crate::types::{Entry, LogId, NodeId, Vote};
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
    /// Whether a file is under another than the current key.
    pub old_key: bool,
}

/// A log file that was read.
struct Opened {
    path: PathBuf,
    bytes: Vec<u8>,
    header: FileHeader,
    /// What it begins with, and where the records after that start.
    state: wire::State,
    next: usize,
}

/// Replays the log files of a directory.
pub(crate) fn recover(place: &Place) -> Result<Recovered, OpenError> {
    let mut files = files::list(&*place.disk, &place.dir, "log")?;
    let mut opened = Vec::with_capacity(files.len());
    while let Some((number, path)) = files.pop() {
        let file = read(place, number, path)?;
        let whole = file.state.whole.is_some();
        opened.push(file);
        if whole {
            break;
        }
    }
    opened.reverse();
    // What a whole file took the place of.
    for (_, path) in files {
        place.disk.remove(&path).map_err(at("remove", &path))?;
    }
    for pair in opened.windows(2) {
        if pair[0].header.number + 1 != pair[1].header.number {
            let what = format!(
                "log file {:016x} before it is missing",
                pair[1].header.number - 1
            );
            return Err(damaged(&pair[1].path, 0, &what));
        }
    }
    let ends: Vec<Option<u64>> = opened
        .iter()
        .skip(1)
        .map(|next| next.header.previous_end)
        .chain([None])
        .collect();
    let mut recovered = Recovered::default();
    let mut length = 0;
    for (file, end) in opened.into_iter().zip(ends) {
        recovered.old_key |= file.header.data_key != place.data_key;
        length = file.bytes.len();
        let sealed = replay(&mut recovered, file, end)?;
        recovered.sealed.push(sealed);
    }
    if let Some(last) = recovered.sealed.last()
        && last.end == length as u64
        && length < place.segment_bytes
    {
        // Only what has a successor is cut to its end.
        let what = format!("log file {:016x} after it is missing", last.number + 1);
        return Err(damaged(&last.path, length, &what));
    }
    check_whole(place, &recovered)?;
    // It is written before the entries of its batch, and a crash may have
    // taken those.
    let last = recovered.entries.back().map(|entry| entry.log_id);
    let last = last.max(recovered.state.purged);
    recovered.state.committed = recovered.state.committed.min(last);
    Ok(recovered)
}

/// What one file says that is all there is, of member 1.
pub(crate) fn recover_from(key: [u8; 32], bytes: Vec<u8>) -> Result<Recovered, OpenError> {
    let file = open(&[key], 1, 1, PathBuf::from("log"), bytes)?;
    let mut recovered = Recovered::default();
    let sealed = replay(&mut recovered, file, None)?;
    recovered.sealed.push(sealed);
    Ok(recovered)
}

/// Reads a file and what it begins with.
fn read(place: &Place, number: u64, path: PathBuf) -> Result<Opened, OpenError> {
    let bytes = place.disk.read(&path).map_err(at("read", &path))?;
    open(&place.keys(), place.node, number, path, bytes)
}

fn open(
    keys: &[[u8; 32]],
    node: NodeId,
    number: u64,
    path: PathBuf,
    bytes: Vec<u8>,
) -> Result<Opened, OpenError> {
    let header = frame::open_header(keys, Purpose::Log, &bytes).map_err(|flaw| flaw.at(&path))?;
    if header.number != number {
        return Err(damaged(&path, 16, "file is not the one its name says"));
    }
    let (plain, next) = match header.seal.decode(&bytes, FILE_HEADER) {
        Step::Record { plain, next } => (plain, next),
        Step::End => return Err(damaged(&path, FILE_HEADER, "records are missing")),
        Step::Bad(flaw) => return Err(damaged(&path, FILE_HEADER, flaw.what)),
    };
    let record: wire::Record = wire::decode("log record", &plain)
        .map_err(|error| damaged(&path, FILE_HEADER, &error.to_string()))?;
    let Some(RecordKind::State(state)) = record.kind else {
        let what = "log file does not begin with its state";
        return Err(damaged(&path, FILE_HEADER, what));
    };
    if state.node != node {
        return Err(OpenError::OtherMember {
            path: path.parent().unwrap_or(&path).into(),
            found: state.node,
            wanted: node,
        });
    }
    Ok(Opened {
        path,
        bytes,
        header,
        state,
        next,
    })
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
    recovered: &mut Recovered,
    file: Opened,
    known_end: Option<u64>,
) -> Result<Sealed, OpenError> {
    let Opened {
        path,
        bytes,
        header,
        state,
        next,
    } = file;
    recovered.state = State {
        vote: state.vote.as_ref().map(Into::into),
        purged: from_wire_id(&state.purged),
        committed: from_wire_id(&state.committed),
    };
    // These were durable before the file had its name.
    let mut promised = state.whole.unwrap_or(0);
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
    let mut offset = next;
    loop {
        let flaw = match header.seal.decode(bytes, offset) {
            Step::Record { plain, next } => {
                let index = apply(recovered, &plain).map_err(|what| what.at(&path, offset))?;
                promised = promised.saturating_sub(u64::from(index.is_some()));
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
        if promised > 0 || header.seal.was_synced(bytes, offset) {
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
    Unknown,
}

impl Refused {
    fn at(self, path: &Path, offset: usize) -> OpenError {
        match self {
            Self::What(what) => damaged(path, offset, &what),
            Self::Unknown => OpenError::OtherVersion {
                path: path.into(),
                what: format!("the record at byte {offset} is of a kind"),
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
fn apply(log: &mut Recovered, plain: &[u8]) -> Result<Option<u64>, Refused> {
    let record: wire::Record = wire::decode("log record", plain)?;
    match record.kind {
        Some(RecordKind::State(_)) => {
            return Err(Refused::What("a second state in a log file".into()));
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
        None => return Err(Refused::Unknown),
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

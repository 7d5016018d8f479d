//! Every message and record of this crate as protobuf.
//!
//! Owns the bytes that go to peers and to disk; field numbers are never
//! reused. Leaves framing, checksums and encryption to `storage` and the
//! carrying of messages to the `Transport`.

mod convert;
#[cfg(test)]
mod fields;

pub(crate) use convert::{from_wire_id, to_wire_id};

use prost::Message;

/// Bytes that are not one of our messages, or one with a part missing.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// Not protobuf, or not the message expected.
    #[error("cannot decode {what}")]
    Decode {
        /// The message that was expected.
        what: &'static str,
        /// The decoder's reason.
        #[source]
        source: prost::DecodeError,
    },
    /// A part that must be there is not.
    #[error("{what} has no {field}")]
    Missing {
        /// The message.
        what: &'static str,
        /// The field.
        field: &'static str,
    },
}

pub(crate) fn decode<M: Message + Default>(
    what: &'static str,
    bytes: &[u8],
) -> Result<M, WireError> {
    M::decode(bytes).map_err(|source| WireError::Decode { what, source })
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Vote {
    #[prost(uint64, tag = "1")]
    pub term: u64,
    #[prost(uint64, tag = "2")]
    pub node: u64,
    #[prost(bool, tag = "3")]
    pub committed: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct LogId {
    #[prost(uint64, tag = "1")]
    pub term: u64,
    #[prost(uint64, tag = "2")]
    pub node: u64,
    #[prost(uint64, tag = "3")]
    pub index: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Member {
    #[prost(uint64, tag = "1")]
    pub id: u64,
    #[prost(string, tag = "2")]
    pub address: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Quorum {
    #[prost(uint64, repeated, tag = "1")]
    pub voters: Vec<u64>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Membership {
    #[prost(message, repeated, tag = "1")]
    pub configs: Vec<Quorum>,
    #[prost(message, repeated, tag = "2")]
    pub members: Vec<Member>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct StoredMembership {
    #[prost(message, optional, tag = "1")]
    pub log_id: Option<LogId>,
    #[prost(message, optional, tag = "2")]
    pub membership: Option<Membership>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Batch {
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub proposals: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Entry {
    #[prost(message, optional, tag = "1")]
    pub log_id: Option<LogId>,
    /// Neither of the two means a blank entry, which a new leader writes.
    #[prost(oneof = "Payload", tags = "2, 3")]
    pub payload: Option<Payload>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum Payload {
    #[prost(message, tag = "2")]
    Normal(Batch),
    #[prost(message, tag = "3")]
    Membership(Membership),
}

/// One record of the log on disk.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Record {
    #[prost(oneof = "RecordKind", tags = "1, 2, 3, 4, 5, 6")]
    pub kind: Option<RecordKind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum RecordKind {
    /// All that must be known besides the entries; opens every segment, so
    /// that older segments can go.
    #[prost(message, tag = "1")]
    State(State),
    #[prost(message, tag = "2")]
    Entry(Entry),
    #[prost(message, tag = "3")]
    Vote(Vote),
    /// Entries from this one on are gone.
    #[prost(message, tag = "4")]
    Truncate(LogId),
    /// Entries up to this one are gone.
    #[prost(message, tag = "5")]
    Purge(LogId),
    /// Entries up to this one may be applied. A hint: it is written with the
    /// next flush and never causes one.
    #[prost(message, tag = "6")]
    Committed(LogId),
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct State {
    #[prost(uint64, tag = "1")]
    pub node: u64,
    #[prost(message, optional, tag = "2")]
    pub vote: Option<Vote>,
    #[prost(message, optional, tag = "3")]
    pub purged: Option<LogId>,
    #[prost(message, optional, tag = "4")]
    pub committed: Option<LogId>,
    /// This segment takes the place of all before it: with it were written so
    /// many entries, which are all that the log then held.
    #[prost(uint64, optional, tag = "5")]
    pub whole: Option<u64>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SnapshotMeta {
    #[prost(message, optional, tag = "1")]
    pub last_log_id: Option<LogId>,
    #[prost(message, optional, tag = "2")]
    pub membership: Option<StoredMembership>,
    #[prost(string, tag = "3")]
    pub id: String,
    /// Only on disk: the bytes that follow, so that a lost end is seen.
    #[prost(uint64, tag = "4")]
    pub length: u64,
}

/// What a snapshot carries: the machine's bytes and how many proposals had
/// been applied.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct MachineState {
    #[prost(uint64, tag = "1")]
    pub applied: u64,
    #[prost(bytes = "vec", tag = "2")]
    pub machine: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct VoteRequest {
    #[prost(message, optional, tag = "1")]
    pub vote: Option<Vote>,
    #[prost(message, optional, tag = "2")]
    pub last_log_id: Option<LogId>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct AppendRequest {
    #[prost(message, optional, tag = "1")]
    pub vote: Option<Vote>,
    #[prost(message, optional, tag = "2")]
    pub previous: Option<LogId>,
    #[prost(message, repeated, tag = "3")]
    pub entries: Vec<Entry>,
    #[prost(message, optional, tag = "4")]
    pub commit: Option<LogId>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SnapshotChunk {
    #[prost(message, optional, tag = "1")]
    pub vote: Option<Vote>,
    #[prost(message, optional, tag = "2")]
    pub meta: Option<SnapshotMeta>,
    #[prost(uint64, tag = "3")]
    pub offset: u64,
    #[prost(bytes = "vec", tag = "4")]
    pub data: Vec<u8>,
    #[prost(bool, tag = "5")]
    pub done: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Empty {}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Request {
    /// The sender's Raft id.
    #[prost(uint64, tag = "1")]
    pub from: u64,
    /// The id the sender believes to speak to: an address that meanwhile
    /// belongs to someone else must not answer for the old owner.
    #[prost(uint64, tag = "2")]
    pub to: u64,
    #[prost(oneof = "RequestKind", tags = "3, 4, 5, 6, 7, 8, 9")]
    pub kind: Option<RequestKind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum RequestKind {
    #[prost(message, tag = "3")]
    Vote(VoteRequest),
    #[prost(message, tag = "4")]
    Append(AppendRequest),
    #[prost(message, tag = "5")]
    Snapshot(SnapshotChunk),
    /// Ask the leader how far a linearizable read must wait.
    #[prost(message, tag = "6")]
    ReadIndex(Empty),
    /// Stand for election now: the leader is about to stop.
    #[prost(message, tag = "7")]
    TakeOver(Empty),
    /// Answer if you are there.
    #[prost(message, tag = "8")]
    Ping(Empty),
    /// Would you vote for this?
    #[prost(message, tag = "9")]
    PreVote(VoteRequest),
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct VoteResponse {
    #[prost(message, optional, tag = "1")]
    pub vote: Option<Vote>,
    #[prost(bool, tag = "2")]
    pub granted: bool,
    #[prost(message, optional, tag = "3")]
    pub last_log_id: Option<LogId>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct PreVoteResponse {
    #[prost(bool, tag = "1")]
    pub granted: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct AppendResponse {
    #[prost(oneof = "AppendOutcome", tags = "1, 2, 3, 4")]
    pub outcome: Option<AppendOutcome>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum AppendOutcome {
    #[prost(message, tag = "1")]
    Success(Empty),
    #[prost(message, tag = "2")]
    Partial(PartialSuccess),
    #[prost(message, tag = "3")]
    Conflict(Empty),
    #[prost(message, tag = "4")]
    HigherVote(Vote),
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct PartialSuccess {
    #[prost(message, optional, tag = "1")]
    pub matched: Option<LogId>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SnapshotResponse {
    #[prost(message, optional, tag = "1")]
    pub vote: Option<Vote>,
}

/// The chunk does not continue what was received so far.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SnapshotMismatch {
    #[prost(string, tag = "1")]
    pub expected_id: String,
    #[prost(uint64, tag = "2")]
    pub expected_offset: u64,
    #[prost(string, tag = "3")]
    pub got_id: String,
    #[prost(uint64, tag = "4")]
    pub got_offset: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ReadIndex {
    #[prost(uint64, tag = "1")]
    pub applied: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Response {
    #[prost(oneof = "ResponseKind", tags = "1, 2, 3, 4, 5, 6, 7, 8")]
    pub kind: Option<ResponseKind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum ResponseKind {
    #[prost(message, tag = "1")]
    Vote(VoteResponse),
    #[prost(message, tag = "2")]
    Append(AppendResponse),
    #[prost(message, tag = "3")]
    Snapshot(SnapshotResponse),
    #[prost(message, tag = "4")]
    SnapshotMismatch(SnapshotMismatch),
    #[prost(message, tag = "5")]
    ReadIndex(ReadIndex),
    #[prost(message, tag = "6")]
    Done(Empty),
    /// The request was understood and refused; the text says why.
    #[prost(string, tag = "7")]
    Refused(String),
    #[prost(message, tag = "8")]
    PreVote(PreVoteResponse),
}

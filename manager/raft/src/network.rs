//! openraft's network over the caller's [`Transport`].
//!
//! Owns the client side: envelopes, and when each peer was last heard from.
//! Leaves connections and deadlines to the transport; `handle` is the server
//! side.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use openraft::error::{
    InstallSnapshotError, NetworkError, RPCError, RaftError, RemoteError, SnapshotMismatch,
    Unreachable,
};
use openraft::network::{Backoff, RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse,
    VoteRequest, VoteResponse,
};
use openraft::{BasicNode, SnapshotSegmentId};
use prost::Message;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use crate::Transport;
use crate::error::TransportError;
use crate::plausible::Known;
use crate::types::{LogId, Metrics, NodeId, TypeConfig, Vote, size};
use crate::wire::{self, RequestKind, ResponseKind};

/// The way to all peers, and what is known about them.
pub(crate) struct Peers {
    this: NodeId,
    transport: Arc<dyn Transport>,
    /// Also how long to leave a peer alone that could not be reached.
    heartbeat: Duration,
    heard: Mutex<BTreeMap<NodeId, Instant>>,
    /// Nothing is said as a leader: see `silence`.
    silent: AtomicBool,
    /// What this member knows, once it runs.
    metrics: OnceLock<watch::Receiver<Metrics>>,
}

impl Peers {
    pub(crate) fn new(this: NodeId, transport: Arc<dyn Transport>, heartbeat: Duration) -> Self {
        Self {
            this,
            transport,
            heartbeat,
            heard: Mutex::default(),
            silent: AtomicBool::default(),
            metrics: OnceLock::new(),
        }
    }

    /// What others say is measured by what this member knows.
    pub(crate) fn follow(&self, metrics: watch::Receiver<Metrics>) {
        // There is one member to follow.
        let _ = self.metrics.set(metrics);
    }

    /// What this member knows by now.
    pub(crate) fn known(&self) -> Known {
        let metrics = self.metrics.get().map(|metrics| metrics.borrow());
        Known {
            id: self.this,
            term: metrics.as_ref().map_or(0, |m| m.vote.leader_id.term),
            applied: metrics.as_ref().and_then(|m| m.last_applied),
        }
    }

    fn heard(&self) -> MutexGuard<'_, BTreeMap<NodeId, Instant>> {
        self.heard.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Has this member say nothing as a leader, or speak again; whether that is new.
    pub(crate) fn silence(&self, silent: bool) -> bool {
        self.silent.swap(silent, Ordering::Relaxed) != silent
    }

    /// When this peer last answered or asked.
    pub(crate) fn last_heard(&self, peer: NodeId) -> Option<Instant> {
        self.heard().get(&peer).copied()
    }

    pub(crate) fn note_heard(&self, peer: NodeId) {
        self.heard().insert(peer, Instant::now());
    }

    /// Asks a peer and returns its answer. A refusal is an error.
    pub(crate) async fn ask(
        &self,
        target: NodeId,
        address: &str,
        kind: RequestKind,
    ) -> Result<ResponseKind, TransportError> {
        let failed = |reason: String| TransportError {
            target,
            address: address.into(),
            reason,
        };
        let as_leader = matches!(kind, RequestKind::Append(_) | RequestKind::Snapshot(_));
        if as_leader && self.silent.load(Ordering::Relaxed) {
            return Err(failed("no majority answers this leader".into()));
        }
        let request = wire::Request {
            from: self.this,
            to: target,
            kind: Some(kind),
        };
        let answer = self
            .transport
            .send(target, address, request.encode_to_vec())
            .await?;
        self.note_heard(target);
        let response: wire::Response =
            wire::decode("raft response", &answer).map_err(|e| failed(e.to_string()))?;
        match response.kind {
            Some(ResponseKind::Refused(reason)) => Err(failed(reason)),
            Some(kind) => match self.known().response(&kind) {
                Ok(()) => Ok(kind),
                Err(reason) => Err(failed(reason)),
            },
            None => Err(failed("an answer that this version does not know".into())),
        }
    }
}

/// Makes the clients for openraft.
pub(crate) struct Factory(pub Arc<Peers>);

/// The way to one peer.
pub(crate) struct Peer {
    peers: Arc<Peers>,
    target: NodeId,
    address: Arc<str>,
    pending: Option<Pending>,
}

type Appended = Result<AppendEntriesResponse<NodeId>, Failure>;

/// A large append on its way.
///
/// openraft gives a message one heartbeat, then drops it and sends the same
/// again, with no heartbeat between; over a slow line a large entry would
/// never arrive and the follower would miss its leader. So large ones go on
/// by themselves beside heartbeats, and the repetition waits for the answer.
struct Pending {
    vote: Vote,
    previous: Option<LogId>,
    last: Option<LogId>,
    answer: JoinHandle<Appended>,
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.answer.abort();
    }
}

/// Bytes from which an append is large.
const LARGE: usize = 32 * 1024;

impl RaftNetworkFactory<TypeConfig> for Factory {
    type Network = Peer;

    async fn new_client(&mut self, target: NodeId, node: &BasicNode) -> Peer {
        Peer {
            peers: self.0.clone(),
            target,
            address: node.addr.as_str().into(),
            pending: None,
        }
    }
}

type Failure<E = openraft::error::Infallible> = RPCError<NodeId, BasicNode, RaftError<NodeId, E>>;

fn unexpected<E: std::error::Error>() -> Failure<E> {
    Failure::Network(NetworkError::new(&io::Error::other(
        "an answer to another question",
    )))
}

fn garbled<E: std::error::Error>(error: &wire::WireError) -> Failure<E> {
    Failure::Network(NetworkError::new(&io::Error::other(error.to_string())))
}

async fn ask<E: std::error::Error>(
    peers: &Peers,
    target: NodeId,
    address: &str,
    kind: RequestKind,
) -> Result<ResponseKind, Failure<E>> {
    let answer = peers.ask(target, address, kind).await;
    answer.map_err(|e| Failure::Unreachable(Unreachable::new(&e)))
}

async fn append(
    peers: &Peers,
    target: NodeId,
    address: &str,
    request: &AppendEntriesRequest<TypeConfig>,
) -> Appended {
    let kind = RequestKind::Append(request.into());
    let ResponseKind::Append(response) = ask(peers, target, address, kind).await? else {
        return Err(unexpected());
    };
    let response = response.try_into().map_err(|e| garbled(&e))?;
    let sent = |has: &Option<LogId>| {
        *has == request.prev_log_id || request.entries.iter().any(|e| Some(e.log_id) == *has)
    };
    match response {
        // It has what it was not sent.
        AppendEntriesResponse::PartialSuccess(has) if !sent(&has) => Err(unexpected()),
        response => Ok(response),
    }
}

impl Peer {
    async fn ask<E: std::error::Error>(
        &self,
        kind: RequestKind,
    ) -> Result<ResponseKind, Failure<E>> {
        ask(&self.peers, self.target, &self.address, kind).await
    }

    /// Sends a large append, or waits for the one that is on its way if this
    /// one begins alike.
    async fn append_large(&mut self, request: AppendEntriesRequest<TypeConfig>) -> Appended {
        let last = request.entries.last().map(|e| e.log_id);
        let alike = |p: &Pending| p.vote == request.vote && p.previous == request.prev_log_id;
        if !self.pending.as_ref().is_some_and(alike) {
            let (peers, target, address) = (self.peers.clone(), self.target, self.address.clone());
            let sent = request.clone();
            self.pending = Some(Pending {
                vote: request.vote,
                previous: request.prev_log_id,
                last,
                answer: tokio::spawn(async move { append(&peers, target, &address, &sent).await }),
            });
        }
        let Some(pending) = &mut self.pending else {
            return Err(unexpected());
        };
        let Ok(answer) = timeout(self.peers.heartbeat / 2, &mut pending.answer).await else {
            // Not yet. Show the follower that there is a leader, and openraft
            // that there is a follower.
            let beat = AppendEntriesRequest::<TypeConfig> {
                entries: Vec::new(),
                ..request
            };
            return match append(&self.peers, self.target, &self.address, &beat).await {
                Ok(AppendEntriesResponse::Success) => {
                    Ok(AppendEntriesResponse::PartialSuccess(beat.prev_log_id))
                }
                other => other,
            };
        };
        let sent = pending.last;
        self.pending = None;
        match answer {
            // What was sent was shorter than what is asked for now.
            Ok(Ok(AppendEntriesResponse::Success)) if sent < last => {
                Ok(AppendEntriesResponse::PartialSuccess(sent))
            }
            Ok(answer) => answer,
            Err(_) => Err(unexpected()),
        }
    }
}

impl RaftNetwork<TypeConfig> for Peer {
    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        _: RPCOption,
    ) -> Result<AppendEntriesResponse<NodeId>, Failure> {
        // A large one that is on its way stays so: a heartbeat beside it keeps
        // the follower quiet, and appends may arrive in any order.
        let answer = if request.entries.iter().map(size).sum::<usize>() >= LARGE {
            self.append_large(request).await?
        } else {
            append(&self.peers, self.target, &self.address, &request).await?
        };
        match answer {
            // It lives and has nothing yet: openraft has no word for that, and
            // panics at this one.
            AppendEntriesResponse::PartialSuccess(None) => Err(Failure::Network(
                NetworkError::new(&io::Error::other("nothing is on its disk yet")),
            )),
            answer => Ok(answer),
        }
    }

    async fn install_snapshot(
        &mut self,
        request: InstallSnapshotRequest<TypeConfig>,
        _: RPCOption,
    ) -> Result<InstallSnapshotResponse<NodeId>, Failure<InstallSnapshotError>> {
        match self.ask(RequestKind::Snapshot(request.into())).await? {
            ResponseKind::Snapshot(response) => match response.vote {
                Some(vote) => Ok(InstallSnapshotResponse {
                    vote: (&vote).into(),
                }),
                None => Err(unexpected()),
            },
            ResponseKind::SnapshotMismatch(mismatch) => {
                let error = InstallSnapshotError::SnapshotMismatch(SnapshotMismatch {
                    expect: SnapshotSegmentId {
                        id: mismatch.expected_id,
                        offset: mismatch.expected_offset,
                    },
                    got: SnapshotSegmentId {
                        id: mismatch.got_id,
                        offset: mismatch.got_offset,
                    },
                });
                Err(RemoteError::new(self.target, RaftError::APIError(error)).into())
            }
            _ => Err(unexpected()),
        }
    }

    async fn vote(
        &mut self,
        request: VoteRequest<NodeId>,
        _: RPCOption,
    ) -> Result<VoteResponse<NodeId>, Failure> {
        match self.ask(RequestKind::Vote((&request).into())).await? {
            ResponseKind::Vote(response) => response.try_into().map_err(|e| garbled(&e)),
            _ => Err(unexpected()),
        }
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(std::iter::repeat(self.peers.heartbeat))
    }
}

//! openraft's network over the caller's [`Transport`].
//!
//! Owns the client side: envelopes, and when each peer was last heard from.
//! Leaves connections and deadlines to the transport; `handle` is the server
//! side.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

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

use crate::Transport;
use crate::error::TransportError;
use crate::types::{NodeId, TypeConfig};
use crate::wire::{self, RequestKind, ResponseKind};

/// The way to all peers, and what is known about them.
pub(crate) struct Peers {
    this: NodeId,
    transport: Arc<dyn Transport>,
    /// How long to leave a peer alone that could not be reached.
    backoff: Duration,
    heard: Mutex<BTreeMap<NodeId, Instant>>,
}

impl Peers {
    pub(crate) fn new(this: NodeId, transport: Arc<dyn Transport>, backoff: Duration) -> Self {
        Self {
            this,
            transport,
            backoff,
            heard: Mutex::default(),
        }
    }

    fn heard(&self) -> MutexGuard<'_, BTreeMap<NodeId, Instant>> {
        self.heard.lock().unwrap_or_else(|e| e.into_inner())
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
            Some(kind) => Ok(kind),
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
    address: String,
}

impl RaftNetworkFactory<TypeConfig> for Factory {
    type Network = Peer;

    async fn new_client(&mut self, target: NodeId, node: &BasicNode) -> Peer {
        Peer {
            peers: self.0.clone(),
            target,
            address: node.addr.clone(),
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

impl Peer {
    async fn ask<E: std::error::Error>(
        &self,
        kind: RequestKind,
    ) -> Result<ResponseKind, Failure<E>> {
        self.peers
            .ask(self.target, &self.address, kind)
            .await
            .map_err(|e| Failure::Unreachable(Unreachable::new(&e)))
    }
}

impl RaftNetwork<TypeConfig> for Peer {
    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        _: RPCOption,
    ) -> Result<AppendEntriesResponse<NodeId>, Failure> {
        match self.ask(RequestKind::Append((&request).into())).await? {
            ResponseKind::Append(response) => response.try_into().map_err(|e| garbled(&e)),
            _ => Err(unexpected()),
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
        Backoff::new(std::iter::repeat(self.peers.backoff))
    }
}

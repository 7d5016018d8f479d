//! Managers among themselves, and the transport Raft uses to reach them.

use super::{describe, peer, status};
use crate::shared::{Lead, Shared};
use async_trait::async_trait;
use bytes::Bytes;
use skep_manager_raft::{HandleError, Transport, TransportError};
use skep_manager_store::{Action, NodeAction, Snapshot};
use skep_proto::pb;
use skep_proto::pb::raft_client::RaftClient;
use skep_transport::{Channels, not_leader};
use skep_types::{ManagerStatus, NodeId, Role};
use std::time::Duration;
use tonic::{Request, Response, Status};

/// Raft's messages are below this (see `Transport::send`).
pub(crate) const MESSAGE_MAX_BYTES: usize = 8 << 20;
/// A peer that has not answered by then is considered silent.
const SEND_TIMEOUT: Duration = Duration::from_secs(3);

/// Messages of Raft over the managers' channels.
pub(crate) struct GrpcTransport {
    pub(crate) channels: Channels,
}

#[async_trait]
impl Transport for GrpcTransport {
    async fn send(
        &self,
        target: u64,
        address: &str,
        message: Vec<u8>,
    ) -> Result<Vec<u8>, TransportError> {
        let fail = |reason: String| TransportError {
            target,
            address: address.to_owned(),
            reason,
        };
        let channel = self
            .channels
            .to(address)
            .map_err(|error| fail(error.to_string()))?;
        let mut client = RaftClient::new(channel)
            .max_decoding_message_size(MESSAGE_MAX_BYTES)
            .max_encoding_message_size(MESSAGE_MAX_BYTES);
        let request = pb::StepRequest {
            payload: Bytes::from(message),
        };
        match tokio::time::timeout(SEND_TIMEOUT, client.step(request)).await {
            Ok(Ok(response)) => Ok(response.into_inner().payload.to_vec()),
            Ok(Err(status)) => Err(fail(status.message().to_owned())),
            Err(_) => Err(fail(format!("no answer within {SEND_TIMEOUT:?}"))),
        }
    }
}

/// Whether a manager may be this member, as far as is known here: the one whose
/// seat it has, or one that was seated since, which cannot be checked.
fn may_be(snapshot: &Snapshot, node: NodeId, member: u64) -> bool {
    let seat = snapshot.node(node).and_then(|node| node.manager.as_ref());
    seat.is_some_and(|seat| seat.raft_id == member)
        || snapshot
            .cluster()
            .is_none_or(|cluster| member > cluster.last_raft_id)
}

/// The server side.
pub(crate) struct RaftService {
    pub(crate) shared: Shared,
}

#[tonic::async_trait]
impl pb::raft_server::Raft for RaftService {
    async fn step(
        &self,
        request: Request<pb::StepRequest>,
    ) -> Result<Response<pb::StepResponse>, Status> {
        let peer = peer::of(&request)?;
        let snapshot = self.shared.state.snapshot();
        let message = request.into_inner().payload.to_vec();
        let may_be = |member| may_be(&snapshot, peer.node, member);
        let answer = self.shared.raft.handle(message, may_be).await;
        let answer = answer.map_err(|error| match error {
            HandleError::Stopped => Status::unavailable(error.to_string()),
            HandleError::Decode(_)
            | HandleError::WrongMember { .. }
            | HandleError::Implausible { .. } => Status::invalid_argument(error.to_string()),
        })?;
        Ok(Response::new(pb::StepResponse {
            payload: answer.into(),
        }))
    }

    async fn join(
        &self,
        request: Request<pb::RaftJoinRequest>,
    ) -> Result<Response<pb::RaftJoinResponse>, Status> {
        let peer = peer::of(&request)?;
        match self.shared.lead() {
            Lead::Here => {}
            Lead::At(address) => return Err(not_leader(Some(&address))),
            Lead::Nowhere => return Err(not_leader(None)),
        }
        let pb::RaftJoinRequest {
            address,
            raft_id: moved,
            format,
            version,
        } = request.into_inner();
        describe::address(&address)?;
        let snapshot = self.shared.state.snapshot();
        let cluster = snapshot
            .cluster()
            .ok_or_else(|| Status::unavailable("the swarm is being made"))?;
        let format = describe::format(cluster.format, format, &version)?;
        let node = snapshot
            .node(peer.node)
            .ok_or_else(|| Status::not_found(format!("node {} is not known", peer.node)))?;
        if node.role != Role::Manager || node.spec.role != Role::Manager {
            return Err(Status::permission_denied(format!(
                "node {} is a worker",
                peer.node
            )));
        }
        let raft_id = match &node.manager {
            // One that was replaced must not take its successor's address away.
            known if moved != 0 && known.as_ref().is_none_or(|known| known.raft_id != moved) => {
                return Err(Status::failed_precondition(format!(
                    "raft member {moved} is not the manager of node {} any more",
                    peer.node
                )));
            }
            Some(known) => known.raft_id,
            None => cluster.last_raft_id + 1,
        };
        let action = NodeAction::SetManager {
            id: peer.node,
            manager: Some(ManagerStatus {
                raft_id,
                address,
                format,
            }),
        };
        let proposed = self
            .shared
            .propose(&[Action::Node(action)])
            .await
            .map_err(status::propose)?;
        proposed.results.iter().try_for_each(status::refused)?;
        Ok(Response::new(pb::RaftJoinResponse { raft_id }))
    }

    async fn leave(
        &self,
        request: Request<pb::RaftLeaveRequest>,
    ) -> Result<Response<pb::RaftLeaveResponse>, Status> {
        let peer = peer::of(&request)?;
        match self.shared.lead() {
            Lead::Here => {}
            Lead::At(address) => return Err(not_leader(Some(&address))),
            Lead::Nowhere => return Err(not_leader(None)),
        }
        super::change::announce_leave(&self.shared, peer.node).await?;
        Ok(Response::new(pb::RaftLeaveResponse {}))
    }
}

//! What managers that do not lead pass on for their agents: the leader's side,
//! and the calls that go here or there.

use super::dispatcher::update_from_wire;
use super::{describe, peer, status};
use crate::dispatcher::{door, statuses};
use crate::shared::{Lead, Shared};
use skep_manager_store::{Action, NodeAction};
use skep_proto::{address_bytes, id, id_bytes, pb};
use skep_transport::not_leader;
use skep_types::{NodeDescription, NodeId, TaskId};
use std::net::IpAddr;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

/// Largest message of one manager to the other: observations of many agents.
pub(crate) const MESSAGE_MAX_BYTES: usize = 64 << 20;

/// Most lines in a message of an agent, which sends a few hundred.
const LINES_MAX: usize = 1024;

/// The service.
pub(crate) struct RelayService {
    pub(crate) shared: Shared,
}

#[tonic::async_trait]
impl pb::relay_server::Relay for RelayService {
    async fn pulse(
        &self,
        request: Request<pb::PulseRequest>,
    ) -> Result<Response<pb::PulseResponse>, Status> {
        let peer = peer::of(&request)?;
        let pb::PulseRequest { beats, taken } = request.into_inner();
        let snapshot = self.shared.state.snapshot();
        // Who has lost its seat is told nothing by the group, not even that, and would keep
        // its agents from hearing it elsewhere.
        let has_seat = snapshot
            .node(peer.node)
            .is_some_and(|node| node.manager.is_some());
        if !has_seat {
            return Err(Status::failed_precondition(
                "this manager has no seat any more",
            ));
        }
        let beats = beats.into_iter().map(door::beat_from_wire);
        let mut beats: Vec<_> = beats.collect::<Result<_, _>>().map_err(status::invalid)?;
        // One that was removed here is not yet removed there.
        beats.retain(|beat| snapshot.node(beat.node).is_some());
        let forward = self.shared.sessions.heard_at(peer.node, &beats, taken);
        let forward = forward.ok_or_else(|| elsewhere(&self.shared))?;
        let (reachable, unreachable) = self.shared.seats.found();
        Ok(Response::new(pb::PulseResponse {
            forward: forward.into_iter().map(door::to_wire).collect(),
            reachable,
            unreachable,
        }))
    }

    async fn describe(
        &self,
        request: Request<pb::DescribeRequest>,
    ) -> Result<Response<pb::DescribeResponse>, Status> {
        let pb::DescribeRequest {
            node,
            description,
            address,
        } = request.into_inner();
        let node = id(&node, "describe.node").map_err(status::invalid)?;
        let description: NodeDescription = description
            .ok_or_else(|| Status::invalid_argument("field describe.description is missing"))?
            .try_into()
            .map_err(status::invalid)?;
        describe::description(&description)?;
        let address = skep_proto::address(&address, "describe.address").map_err(status::invalid)?;
        agree(&self.shared, node, description, address).await?;
        Ok(Response::new(pb::DescribeResponse {}))
    }

    async fn report(
        &self,
        request: Request<pb::ReportRequest>,
    ) -> Result<Response<pb::ReportResponse>, Status> {
        let updates = request.into_inner().updates.into_iter();
        let updates: Result<_, Status> = updates.map(update_from_wire).collect();
        statuses::agree(&self.shared, updates?)
            .await
            .map_err(status::propose)?;
        Ok(Response::new(pb::ReportResponse {}))
    }

    async fn publish_logs(
        &self,
        request: Request<Streaming<pb::PublishLogsRequest>>,
    ) -> Result<Response<pb::PublishLogsResponse>, Status> {
        take(&self.shared, request.into_inner()).await?;
        Ok(Response::new(pb::PublishLogsResponse {}))
    }
}

fn elsewhere(shared: &Shared) -> Status {
    match shared.lead() {
        Lead::At(address) => not_leader(Some(&address)),
        Lead::Here | Lead::Nowhere => not_leader(None),
    }
}

/// Run by the leader only.
async fn agree(
    shared: &Shared,
    id: NodeId,
    description: NodeDescription,
    address: IpAddr,
) -> Result<(), Status> {
    describe::own_key(&shared.state.snapshot(), id, &description)?;
    if !shared.registrations.take(id) {
        return Err(Status::resource_exhausted(format!(
            "node {id} describes itself otherwise too often; it may again in a few seconds"
        )));
    }
    let describe = NodeAction::Describe {
        id,
        description: Box::new(description),
        address: Some(address),
    };
    let proposed = shared.propose(&[Action::Node(describe)]).await;
    let proposed = proposed.map_err(|error| {
        shared.registrations.give_back(id);
        status::propose(error)
    })?;
    proposed.results.iter().try_for_each(status::refused)
}

/// Has the leader, here or there, write down what a node says of itself.
pub(super) async fn describe(
    shared: &Shared,
    node: NodeId,
    description: NodeDescription,
    address: IpAddr,
) -> Result<(), Status> {
    match shared.lead() {
        Lead::Here => agree(shared, node, description, address).await,
        Lead::At(leader) => {
            let request = pb::DescribeRequest {
                node: id_bytes(node),
                description: Some((&description).into()),
                address: address_bytes(address),
            };
            door::leader(shared, &leader)?.describe(request).await?;
            Ok(())
        }
        Lead::Nowhere => Err(not_leader(None)),
    }
}

/// Brings the output of a node's tasks to who asked for it, here or at the
/// leader.
pub(super) async fn publish_logs(
    shared: &Shared,
    node: NodeId,
    mut batches: Streaming<pb::PublishLogsRequest>,
) -> Result<(), Status> {
    let (out, checked) = mpsc::channel(4);
    let check = async {
        while let Some(batch) = batches.next().await {
            let batch = batch.and_then(|batch| own_lines(shared, node, batch));
            let failed = batch.is_err();
            if out.send(batch).await.is_err() || failed {
                break;
            }
        }
        drop(out);
    };
    let mut checked = ReceiverStream::new(checked);
    let bring = async {
        match shared.lead() {
            Lead::At(leader) => {
                // Who says nothing takes up none of the calls that managers have
                // among themselves.
                let mut leadership = shared.raft.leadership();
                let others = leadership.wait_for(|now| {
                    let leads = now.leader.as_ref().map(|(_, address)| address);
                    leads != Some(&leader)
                });
                let first = tokio::select! {
                    first = checked.next() => first,
                    // Whoever asked for them is gone.
                    _ = others => return Err(not_leader(None)),
                };
                let Some(first) = first else {
                    return Ok(());
                };
                let first = first?;
                let mut leader = door::leader(shared, &leader)?;
                // A stream that breaks off ends the one to the leader.
                let batches = tokio_stream::once(Ok(first)).chain(checked);
                let batches = batches.map_while(Result::ok);
                leader.publish_logs(batches).await.map(drop)
            }
            Lead::Here | Lead::Nowhere => take(shared, checked).await,
        }
    };
    tokio::pin!(check);
    tokio::select! {
        brought = bring => brought,
        // All that was sent is still to be brought.
        brought = async { check.await; std::future::pending().await } => brought,
    }
}

/// Lines of the node's own tasks; it speaks for no others.
///
/// # Errors
/// When they are more than an agent sends in one message: empty ones take far more
/// room here than on their way.
fn own_lines(
    shared: &Shared,
    node: NodeId,
    mut batch: pb::PublishLogsRequest,
) -> Result<pb::PublishLogsRequest, Status> {
    if batch.lines.len() > LINES_MAX {
        return Err(Status::invalid_argument(format!(
            "{} lines in one message: {LINES_MAX} are allowed",
            batch.lines.len()
        )));
    }
    let snapshot = shared.state.snapshot();
    batch.node = id_bytes(node);
    batch.lines.retain_mut(|line| {
        let task = id::<TaskId>(&line.task, "line.task").ok();
        let Some(task) = task.and_then(|task| snapshot.task(task)) else {
            return false;
        };
        line.node = id_bytes(node);
        line.service = id_bytes(task.service);
        task.node == Some(node)
    });
    Ok(batch)
}

/// Hands batches to the request they answer, for as long as anybody waits.
async fn take(
    shared: &Shared,
    mut batches: impl Stream<Item = Result<pb::PublishLogsRequest, Status>> + Unpin,
) -> Result<(), Status> {
    while let Some(batch) = batches.next().await {
        let batch = batch?;
        let node = id(&batch.node, "logs.node").map_err(status::invalid)?;
        let Some(out) = shared.sessions.logs.get(batch.id, node) else {
            break;
        };
        if out.send(batch).await.is_err() {
            break;
        }
    }
    Ok(())
}

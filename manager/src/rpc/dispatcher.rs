//! Sessions of agents.

use super::{peer, status};
use crate::clock;
use crate::dispatcher::assignments::{self, SharedViews};
use crate::dispatcher::statuses::Statuses;
use crate::shared::{Lead, Shared};
use skep_manager_store::{Action, NodeAction, Snapshot};
use skep_proto::{id, id_bytes, pb};
use skep_transport::not_leader;
use skep_types::assignment::AssignmentSet;
use skep_types::{NodeDescription, NodeId, TaskId, TaskStatus};
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

/// Changes sent in one message; more follow in the next.
const CHANGES_PER_MESSAGE: usize = 1000;

/// The service.
pub(crate) struct DispatcherService {
    pub(crate) shared: Shared,
    pub(crate) views: Arc<SharedViews>,
    pub(crate) statuses: Statuses,
}

impl DispatcherService {
    fn lead_here(&self) -> Result<(), Status> {
        match self.shared.lead() {
            Lead::Here => Ok(()),
            Lead::At(address) => Err(not_leader(Some(&address))),
            Lead::Nowhere => Err(not_leader(None)),
        }
    }

    fn session_of<T>(&self, request: &Request<T>, session: &[u8]) -> Result<NodeId, Status> {
        self.lead_here()?;
        let peer = peer::node(&self.shared, request)?;
        if self.shared.sessions.is_session(peer.node, session) {
            Ok(peer.node)
        } else {
            Err(Status::not_found("the session has ended; open a new one"))
        }
    }
}

#[tonic::async_trait]
impl pb::dispatcher_server::Dispatcher for DispatcherService {
    type SessionStream = ReceiverStream<Result<pb::SessionMessage, Status>>;
    type AssignmentsStream = ReceiverStream<Result<pb::AssignmentsMessage, Status>>;

    async fn session(
        &self,
        request: Request<pb::SessionRequest>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        self.lead_here()?;
        let peer = peer::node(&self.shared, &request)?;
        let description: NodeDescription = request
            .into_inner()
            .description
            .ok_or_else(|| Status::invalid_argument("field description is missing"))?
            .try_into()
            .map_err(status::invalid)?;
        let snapshot = self.shared.state.snapshot();
        let node = snapshot
            .node(peer.node)
            .ok_or_else(|| Status::not_found(format!("node {} is not known", peer.node)))?;
        if node.description != description || node.status.address != Some(peer.address) {
            let describe = NodeAction::Describe {
                id: peer.node,
                description: Box::new(description),
                address: Some(peer.address),
            };
            let proposed = self
                .shared
                .propose(&[Action::Node(describe)])
                .await
                .map_err(status::propose)?;
            proposed.results.iter().try_for_each(status::refused)?;
        }
        let opened = self
            .shared
            .sessions
            .open(peer.node, clock::now())
            .ok_or_else(|| not_leader(None))?;
        tracing::info!(node.id = %peer.node, address = %peer.address, "session opened");
        let (out, stream) = mpsc::channel(16);
        let shared = self.shared.clone();
        tokio::spawn(async move {
            let mut messages = opened.messages;
            let mut alive = opened.alive;
            let mut changes = shared.state.changes();
            let mut told = None;
            loop {
                changes.borrow_and_update();
                let welcome = welcome(&shared.state.snapshot(), peer.node, &opened.session);
                let Some(welcome) = welcome else {
                    // The node was removed: its agent learns it by being refused.
                    shared.sessions.close(peer.node);
                    return;
                };
                if told.as_ref() != Some(&welcome) {
                    told = Some(welcome.clone());
                    let message = pb::session_message::Message::Welcome(welcome);
                    let message = pb::SessionMessage {
                        message: Some(message),
                    };
                    if out.send(Ok(message)).await.is_err() {
                        return;
                    }
                }
                tokio::select! {
                    changed = changes.changed() => if changed.is_err() { return },
                    message = messages.recv() => match message {
                        Some(message) => if out.send(Ok(message)).await.is_err() { return },
                        None => return,
                    },
                    _ = alive.changed() => return,
                    () = out.closed() => return,
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn heartbeat(
        &self,
        request: Request<pb::HeartbeatRequest>,
    ) -> Result<Response<pb::HeartbeatResponse>, Status> {
        self.lead_here()?;
        let peer = peer::node(&self.shared, &request)?;
        let session = request.into_inner().session;
        if !self
            .shared
            .sessions
            .heard(peer.node, &session, clock::now())
        {
            return Err(Status::not_found("the session has ended; open a new one"));
        }
        let period_ms = heartbeat_ms(&self.shared.state.snapshot());
        Ok(Response::new(pb::HeartbeatResponse { period_ms }))
    }

    async fn assignments(
        &self,
        request: Request<pb::AssignmentsRequest>,
    ) -> Result<Response<Self::AssignmentsStream>, Status> {
        let session = request.get_ref().session.clone();
        let node = self.session_of(&request, &session)?;
        let mut alive = self
            .shared
            .sessions
            .alive(node, &session)
            .ok_or_else(|| Status::not_found("the session has ended; open a new one"))?;
        let (out, stream) = mpsc::channel(4);
        let (shared, views) = (self.shared.clone(), self.views.clone());
        tokio::spawn(async move {
            let mut changes = shared.state.changes();
            let mut told = AssignmentSet::default();
            let mut complete = true;
            loop {
                changes.borrow_and_update();
                let snapshot = shared.state.snapshot();
                let set = assignments::set_for(&snapshot, &views.of(&snapshot), node);
                let difference = assignments::changes(&told, &set);
                for message in messages(complete, &difference) {
                    if out.send(Ok(message)).await.is_err() {
                        return;
                    }
                }
                told = set;
                complete = false;
                tokio::select! {
                    changed = changes.changed() => if changed.is_err() { return },
                    _ = alive.changed() => return,
                    () = out.closed() => return,
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn update_task_status(
        &self,
        request: Request<pb::UpdateTaskStatusRequest>,
    ) -> Result<Response<pb::UpdateTaskStatusResponse>, Status> {
        let session = request.get_ref().session.clone();
        let node = self.session_of(&request, &session)?;
        let snapshot = self.shared.state.snapshot();
        let mut updates: Vec<(TaskId, TaskStatus)> = Vec::new();
        for update in request.into_inner().updates {
            let task: TaskId = id(&update.task, "update.task").map_err(status::invalid)?;
            // A node speaks for its own tasks only; one that is gone needs no word.
            match snapshot.task(task) {
                Some(known) if known.node == Some(node) => {}
                Some(_) => {
                    return Err(Status::permission_denied(format!(
                        "task {task} does not run on node {node}"
                    )));
                }
                None => continue,
            }
            let observed = update
                .status
                .ok_or_else(|| Status::invalid_argument("field update.status is missing"))?
                .try_into()
                .map_err(status::invalid)?;
            updates.push((task, observed));
        }
        if !updates.is_empty() {
            self.statuses
                .report(updates)
                .await
                .map_err(Status::unavailable)?;
        }
        Ok(Response::new(pb::UpdateTaskStatusResponse {}))
    }

    async fn publish_logs(
        &self,
        request: Request<Streaming<pb::PublishLogsRequest>>,
    ) -> Result<Response<pb::PublishLogsResponse>, Status> {
        let peer = peer::node(&self.shared, &request)?;
        let mut batches = request.into_inner();
        while let Some(batch) = batches.next().await {
            let mut batch = batch?;
            let Some(out) = self.shared.sessions.logs.get(batch.id, peer.node) else {
                break;
            };
            let snapshot = self.shared.state.snapshot();
            // A node speaks for its own tasks only.
            batch.lines.retain_mut(|line| {
                let task = id::<TaskId>(&line.task, "line.task").ok();
                let Some(task) = task.and_then(|task| snapshot.task(task)) else {
                    return false;
                };
                line.node = id_bytes(peer.node);
                line.service = id_bytes(task.service);
                task.node == Some(peer.node)
            });
            if out.send(batch).await.is_err() {
                break;
            }
        }
        Ok(Response::new(pb::PublishLogsResponse {}))
    }
}

fn heartbeat_ms(snapshot: &Snapshot) -> u64 {
    snapshot
        .cluster()
        .and_then(|cluster| u64::try_from(cluster.spec.heartbeat.as_millis()).ok())
        .unwrap_or(1000)
}

fn welcome(snapshot: &Snapshot, node: NodeId, session: &bytes::Bytes) -> Option<pb::Welcome> {
    let cluster = snapshot.cluster()?;
    let known = snapshot.node(node)?;
    let managers = snapshot.nodes().filter_map(|node| {
        let manager = node.manager.as_ref()?;
        Some(pb::ManagerAddress {
            node: id_bytes(node.id),
            address: manager.address.clone(),
        })
    });
    Some(pb::Welcome {
        session: session.clone(),
        node: Some(known.as_ref().into()),
        managers: managers.collect(),
        heartbeat_ms: heartbeat_ms(snapshot),
        root_ca_certificate: cluster.root_ca.certificate.clone(),
        data_path_port: u32::from(cluster.spec.data_path_port),
        mesh_subnet: cluster.spec.mesh_subnet.to_string(),
    })
}

/// The first message of a stream is sent even when there is nothing to say:
/// it tells the agent that all else is to go.
fn messages(
    complete: bool,
    changes: &[skep_types::assignment::AssignmentChange],
) -> Vec<pb::AssignmentsMessage> {
    if changes.is_empty() && complete {
        return vec![pb::AssignmentsMessage {
            complete,
            changes: Vec::new(),
        }];
    }
    // A complete set must not be taken for complete half-way, so it is one message.
    let size = if complete {
        changes.len().max(1)
    } else {
        CHANGES_PER_MESSAGE
    };
    changes
        .chunks(size)
        .map(|chunk| pb::AssignmentsMessage {
            complete,
            changes: chunk.iter().map(Into::into).collect(),
        })
        .collect()
}

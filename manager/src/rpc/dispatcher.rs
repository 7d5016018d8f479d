//! Sessions of agents, at any manager.

use super::{describe, peer, relay, status};
use crate::dispatcher::assignments::{self, Own};
use crate::dispatcher::board::{Listener, Look, SharedPart, Topic};
use crate::dispatcher::sessions::Opened;
use crate::dispatcher::statuses::{self, Statuses};
use crate::rotation;
use crate::shared::{Lead, Shared};
use skep_manager_ca::trusted_pem;
use skep_manager_store::Snapshot;
use skep_proto::{id, id_bytes, pb};
use skep_transport::not_leader;
use skep_types::assignment::AssignmentChange;
use skep_types::{NodeDescription, NodeId, TaskId, TaskStatus, Version};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

/// Largest message of an agent: what it says of itself, at its longest. The smallest
/// things that fit in number many times their size once they are read.
pub(crate) const MESSAGE_MAX_BYTES: usize = 320 << 10;
/// Changes sent in one message; more follow in the next. Few, as the pieces of what
/// is shared are small.
const CHANGES_PER_MESSAGE: usize = 64;
/// Agents sent everything at once; when all come together, the others wait,
/// and those that are being told are heard in the meantime.
const WHOLE_AT_ONCE: usize = 32;
/// An agent that does not read for this long loses its session.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// And one that has not read a step by then: others wait. The time is longer for one
/// that is large, by what a slow line takes.
const STEP_TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes a second of a slow line.
const SLOW_LINE: usize = 64 << 10;
/// How long an agent waits for this manager to know all that is agreed on.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(5);
/// What is told to who named a session that is none.
const ENDED: &str = "the session has ended; open a new one";

/// The service. Cheap to clone.
#[derive(Clone)]
pub(crate) struct DispatcherService {
    shared: Shared,
    statuses: Statuses,
    whole: Arc<Semaphore>,
}

impl DispatcherService {
    pub(crate) fn new(shared: Shared) -> Self {
        DispatcherService {
            statuses: Statuses::start(shared.clone()),
            shared,
            whole: Arc::new(Semaphore::new(WHOLE_AT_ONCE)),
        }
    }

    /// The refusal of a manager that does not hear the leader.
    fn closed(&self) -> Status {
        match self.shared.lead() {
            Lead::At(address) => not_leader(Some(&address)),
            Lead::Here | Lead::Nowhere => not_leader(None),
        }
    }

    fn session_of<T>(&self, request: &Request<T>, session: &[u8]) -> Result<NodeId, Status> {
        let peer = peer::of(request)?;
        if self.shared.sessions.is_session(peer.node, session) {
            Ok(peer.node)
        } else {
            Err(Status::not_found(ENDED))
        }
    }

    /// Waits until this manager knows all that any manager may have told.
    async fn catch_up(&self) -> Result<(), Status> {
        let caught_up = async {
            let index = self.shared.raft.read_barrier().await;
            let index = index.map_err(|error| Status::unavailable(error.to_string()))?;
            self.shared.board.reached(Version(index)).await;
            Ok(())
        };
        tokio::time::timeout(CATCH_UP_TIMEOUT, caught_up)
            .await
            .unwrap_or_else(|_| Err(Status::unavailable("this manager lags behind; ask another")))
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
        let peer = peer::of(&request)?;
        let certificate = peer::shown_by(&request);
        let mut description: NodeDescription = request
            .into_inner()
            .description
            .ok_or_else(|| Status::invalid_argument("field description is missing"))?
            .try_into()
            .map_err(status::invalid)?;
        describe::description(&description)?;
        // A node must never be told less than it was told elsewhere.
        self.catch_up().await?;
        let snapshot = self.shared.state.snapshot();
        let node = snapshot
            .node(peer.node)
            .ok_or_else(|| Status::not_found(format!("node {} is not known", peer.node)))?;
        if let (Some(certificate), Some(cluster)) = (certificate, snapshot.cluster()) {
            let known = node.description.tls;
            let said = description.tls;
            description.tls = rotation::tls_of(&cluster.root_ca, &certificate, known, said);
        }
        if node.description != description || node.status.address != Some(peer.address) {
            relay::describe(&self.shared, peer.node, description, peer.address).await?;
        }
        let opened = self
            .shared
            .sessions
            .open(peer.node, snapshot.heartbeat())
            .ok_or_else(|| self.closed())?;
        tracing::info!(node.id = %peer.node, address = %peer.address, "session opened");
        let (out, stream) = mpsc::channel(16);
        let shared = self.shared.clone();
        tokio::spawn(async move {
            let session = opened.session.clone();
            speak(&shared, peer.node, opened, out).await;
            shared.sessions.end(peer.node, &session);
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn heartbeat(
        &self,
        request: Request<pb::HeartbeatRequest>,
    ) -> Result<Response<pb::HeartbeatResponse>, Status> {
        let peer = peer::of(&request)?;
        let session = request.into_inner().session;
        let period = self.shared.state.snapshot().heartbeat();
        if !self.shared.sessions.heard(peer.node, &session, period) {
            return Err(Status::not_found(ENDED));
        }
        Ok(Response::new(pb::HeartbeatResponse {}))
    }

    async fn assignments(
        &self,
        request: Request<pb::AssignmentsRequest>,
    ) -> Result<Response<Self::AssignmentsStream>, Status> {
        let pb::AssignmentsRequest { session, digest } = request.get_ref().clone();
        let node = self.session_of(&request, &session)?;
        let ended = self
            .shared
            .sessions
            .tell(node, &session)
            .ok_or_else(|| Status::not_found(ENDED))?;
        let (out, stream) = mpsc::channel(2);
        let told = Telling {
            listener: self.shared.board.listen(node, Topic::Assignments),
            shared: self.shared.clone(),
            whole: self.whole.clone(),
            node,
            step: self.shared.board.step_of(&digest),
            own: None,
            out: out.clone(),
        };
        tokio::spawn(async move {
            tokio::select! {
                () = told.run() => {}
                _ = ended => {}
                () = out.closed() => {}
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
        let placed = |task| snapshot.task(task).and_then(|known| known.node);
        let updates = own_updates(node, request.into_inner().updates, placed)?;
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
        let peer = peer::of(&request)?;
        relay::publish_logs(&self.shared, peer.node, request.into_inner()).await?;
        Ok(Response::new(pb::PublishLogsResponse {}))
    }
}

/// What a node says of its own tasks; it does not speak for others. One that is gone
/// needs no word, and one that is elsewhere, as after the managers went back to an older
/// state, is taken from the node by its assignments: what else it says must get through.
fn own_updates(
    node: NodeId,
    updates: Vec<pb::TaskStatusUpdate>,
    placed: impl Fn(TaskId) -> Option<NodeId>,
) -> Result<Vec<(TaskId, TaskStatus)>, Status> {
    let mut own = Vec::with_capacity(updates.len());
    for update in updates {
        let (task, mut observed) = update_from_wire(update)?;
        if placed(task) != Some(node) {
            tracing::debug!(task.id = %task, node.id = %node, "no task of this node");
            continue;
        }
        statuses::shorten(&mut observed);
        own.push((task, observed));
    }
    Ok(own)
}

/// What an agent says of a task.
pub(super) fn update_from_wire(
    update: pb::TaskStatusUpdate,
) -> Result<(TaskId, TaskStatus), Status> {
    let pb::TaskStatusUpdate { task, status } = update;
    let task = id(&task, "update.task").map_err(status::invalid)?;
    let observed = status
        .ok_or_else(|| Status::invalid_argument("field update.status is missing"))?
        .try_into()
        .map_err(status::invalid)?;
    Ok((task, observed))
}

/// One agent's stream of assignments.
struct Telling {
    shared: Shared,
    listener: Listener,
    whole: Arc<Semaphore>,
    node: NodeId,
    /// The step of the shared part that was told last.
    step: Option<u64>,
    /// The node's own part as it was told, once it was.
    own: Option<Own>,
    out: mpsc::Sender<Result<pb::AssignmentsMessage, Status>>,
}

impl Telling {
    /// Tells what there is to tell until the agent or its node is gone.
    async fn run(mut self) {
        while self.tell().await.is_some() {
            self.listener.woken().await;
        }
    }

    /// `None` when there is nobody to tell any more.
    async fn tell(&mut self) -> Option<()> {
        let mut look = self.shared.board.look(self.step);
        let mut slot = None;
        if let SharedPart::Whole(_) = look.shared {
            slot = Some(self.whole.clone().acquire_owned().await.ok()?);
            look = self.shared.board.look(self.step);
        }
        let Look {
            snapshot,
            step,
            digest,
            shared,
        } = look;
        // A node that was removed is told nothing more.
        snapshot.node(self.node)?;
        let own = assignments::own(&snapshot, self.node);
        let (begins, pieces, told) = match (&shared, &self.own) {
            (SharedPart::Whole(pieces), _) => (Begins::Anew, &pieces[..], None),
            (SharedPart::Since(steps), None) => (Begins::Resumed, &steps[..], None),
            (SharedPart::Since(steps), Some(told)) => (Begins::No, &steps[..], Some(told)),
        };
        let changes = assignments::changes(told.unwrap_or(&Own::default()), &own);
        let messages = messages(begins, pieces, &changes, digest);
        send(&self.out, messages).await?;
        drop(slot);
        self.step = Some(step);
        self.own = Some(own);
        Some(())
    }
}

/// `None` when the agent has gone, or does not read.
async fn send(
    out: &mpsc::Sender<Result<pb::AssignmentsMessage, Status>>,
    step: Vec<pb::AssignmentsMessage>,
) -> Option<()> {
    let bytes: usize = step.iter().map(prost::Message::encoded_len).sum();
    let limit = STEP_TIMEOUT + Duration::from_secs((bytes / SLOW_LINE) as u64);
    let sending = async {
        for message in step {
            let sent = out.send_timeout(Ok(message), SEND_TIMEOUT).await;
            sent.ok()?;
        }
        Some(())
    };
    tokio::time::timeout(limit, sending).await.ok()?
}

/// Sends a session's messages until it ends.
async fn speak(
    shared: &Shared,
    node: NodeId,
    opened: Opened,
    out: mpsc::Sender<Result<pb::SessionMessage, Status>>,
) {
    let Opened {
        session,
        mut messages,
        mut alive,
    } = opened;
    let listener = shared.board.listen(node, Topic::Welcome);
    let mut told = None;
    loop {
        let Some(welcome) = welcome(&shared.board.snapshot(), node, &session) else {
            // The node was removed: its agent learns it by being refused.
            shared.sessions.close(node);
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
            () = listener.woken() => {}
            message = messages.recv() => match message {
                Some(message) => if out.send(Ok(message)).await.is_err() { return },
                None => return,
            },
            _ = alive.changed() => return,
            () = out.closed() => return,
        }
    }
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
        heartbeat_ms: u64::try_from(snapshot.heartbeat().as_millis()).unwrap_or(u64::MAX),
        root_ca_certificate: trusted_pem(&cluster.root_ca),
        data_path_port: u32::from(cluster.spec.data_path_port),
        mesh_subnet: cluster.spec.mesh_subnet.to_string(),
    })
}

/// How a step begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Begins {
    /// With nothing.
    Anew,
    /// With the shared part that the agent holds.
    Resumed,
    /// Where the last one ended.
    No,
}

/// The messages of one step. A set that begins has one even when there is nothing
/// to say: it tells the agent that all else is to go.
fn messages(
    begins: Begins,
    shared: &[bytes::Bytes],
    changes: &[AssignmentChange],
    digest: bytes::Bytes,
) -> Vec<pb::AssignmentsMessage> {
    let shared = shared.iter().map(|piece| pb::AssignmentsMessage {
        shared: vec![piece.clone()],
        ..pb::AssignmentsMessage::default()
    });
    let own = changes
        .chunks(CHANGES_PER_MESSAGE)
        .map(|chunk| pb::AssignmentsMessage {
            changes: chunk.iter().map(Into::into).collect(),
            ..pb::AssignmentsMessage::default()
        });
    let mut messages: Vec<_> = shared.chain(own).collect();
    if begins != Begins::No && messages.is_empty() {
        messages.push(pb::AssignmentsMessage::default());
    }
    if let Some(first) = messages.first_mut() {
        first.complete = begins == Begins::Anew;
        first.resumed = begins == Begins::Resumed;
    }
    if let Some((last, others)) = messages.split_last_mut() {
        others.iter_mut().for_each(|message| message.more = true);
        last.digest = digest;
    }
    messages
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[tokio::test(start_paused = true)]
    async fn who_reads_as_slowly_as_can_be_is_not_waited_for_without_end() {
        let (out, mut read) = mpsc::channel(2);
        let begun = tokio::time::Instant::now();
        tokio::spawn(async move {
            while read.recv().await.is_some() {
                tokio::time::sleep(SEND_TIMEOUT - Duration::from_secs(1)).await;
            }
        });
        let step = vec![pb::AssignmentsMessage::default(); 100];
        assert_eq!(send(&out, step).await, None);
        assert_eq!(begun.elapsed(), STEP_TIMEOUT);
    }

    #[test]
    fn what_a_node_says_of_others_tasks_is_left_out_and_the_rest_is_taken() {
        let (node, other) = (NodeId::from_bits(1), NodeId::from_bits(2));
        let update = |task: u128| pb::TaskStatusUpdate {
            task: id_bytes(TaskId::from_bits(task)),
            status: Some((&TaskStatus::default()).into()),
        };
        let placed = |task: TaskId| match task.bits() {
            1 | 4 => Some(node),
            2 => Some(other),
            _ => None,
        };
        let updates = (1..=4).map(update).collect();
        let own = own_updates(node, updates, placed).unwrap();
        let own: Vec<u128> = own.iter().map(|(task, _)| task.bits()).collect();
        assert_eq!(own, [1, 4]);
    }

    #[test]
    fn a_step_begins_once_and_ends_once() {
        let gone = AssignmentChange::Task(TaskId::from_bits(1), None);
        let many = vec![gone; CHANGES_PER_MESSAGE + 1];
        let pieces = [Bytes::from_static(b"a"), Bytes::from_static(b"b")];
        for begins in [Begins::Anew, Begins::Resumed, Begins::No] {
            for (shared, changes) in [(&pieces[..], &many[..]), (&[], &many[..1]), (&pieces, &[])] {
                let told = messages(begins, shared, changes, Bytes::from_static(b"d"));
                assert_eq!(told[0].complete, begins == Begins::Anew);
                assert_eq!(told[0].resumed, begins == Begins::Resumed);
                assert!(told[1..].iter().all(|m| !m.complete && !m.resumed));
                let (last, others) = told.split_last().unwrap();
                assert!(!last.more && others.iter().all(|message| message.more));
                assert_eq!(last.digest, "d");
                let said: usize = told.iter().map(|message| message.changes.len()).sum();
                assert_eq!(said, changes.len());
            }
        }
        for begins in [Begins::Anew, Begins::Resumed] {
            assert_eq!(messages(begins, &[], &[], Bytes::new()).len(), 1);
        }
        assert!(messages(Begins::No, &[], &[], Bytes::new()).is_empty());
    }
}

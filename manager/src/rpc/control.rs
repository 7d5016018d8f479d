//! What users ask of a manager, at any manager's door.
//!
//! Reads are answered here, after the leader confirmed that nothing newer is
//! agreed on. Changes, and what only the leader knows, go to the leader.

use super::{change, logs, peer, read, status};
use crate::machine::EntryEvents;
use crate::shared::{Lead, Shared};
use skep_proto::pb;
use skep_proto::pb::control_client::ControlClient;
use skep_transport::not_leader;
use skep_types::Role;
use std::pin::Pin;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

/// Largest answer of one call, in bytes: a list of some 100,000 tasks.
const ANSWER_MAX_BYTES: usize = 64 << 20;

/// The control service of one manager. Cheap to clone.
#[derive(Clone)]
pub struct Control {
    shared: Shared,
    /// Callers come by the node's own socket, whose file mode is their right.
    local: bool,
}

/// How long a change waits for a majority. Raft itself goes on waiting: what was
/// proposed may still be agreed on when the others are back.
const AGREE_TIMEOUT: Duration = Duration::from_secs(15);

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Control {
    /// For the node's own socket.
    pub(crate) fn local(shared: Shared) -> Self {
        Control {
            shared,
            local: true,
        }
    }

    /// For port 2377, where only managers may call.
    pub(crate) fn remote(shared: Shared) -> Self {
        Control {
            shared,
            local: false,
        }
    }

    fn allow<T>(&self, request: &Request<T>) -> Result<(), Status> {
        if !self.local {
            let peer = peer::manager(&self.shared, request)?;
            // A certificate outlives a demotion.
            let snapshot = self.shared.state.snapshot();
            if snapshot
                .node(peer.node)
                .is_none_or(|node| node.role != Role::Manager)
            {
                return Err(Status::permission_denied(format!(
                    "node {} is not a manager any more",
                    peer.node
                )));
            }
        }
        Ok(())
    }

    /// A client of the leader; `None` when that is this manager.
    fn elsewhere(&self) -> Result<Option<ControlClient<Channel>>, Status> {
        let address = match self.shared.lead() {
            Lead::Here => return Ok(None),
            Lead::Nowhere => return Err(not_leader(None)),
            // Forwarded once already: the caller has to look again.
            Lead::At(address) if !self.local => return Err(not_leader(Some(&address))),
            Lead::At(address) => address,
        };
        let channel = self
            .shared
            .channels
            .to(&address)
            .map_err(|error| Status::unavailable(error.to_string()))?;
        Ok(Some(
            ControlClient::new(channel).max_decoding_message_size(ANSWER_MAX_BYTES),
        ))
    }

    /// Waits for what the leader answers, and no longer than it leads: a host that
    /// lost power answers nothing, and its connection takes seconds to break.
    async fn while_it_leads<T>(
        &self,
        answer: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<Response<T>, Status> {
        let Lead::At(address) = self.shared.lead() else {
            return answer.await;
        };
        let mut leadership = self.shared.raft.leadership();
        let another = leadership.wait_for(|now| match &now.leader {
            _ if now.is_leader => true,
            Some((_, leader)) => *leader != address,
            None => false,
        });
        tokio::select! {
            answer = answer => answer.map_err(|status| {
                // Only what never came from the leader has a source.
                match std::error::Error::source(&status) {
                    Some(_) => Status::unavailable(format!(
                        "cannot reach the leader at {address}: {}; ask again when another manager \
                         leads",
                        status.message()
                    )),
                    None => status,
                }
            }),
            _ = another => {
                self.shared.channels.forget(&address);
                Err(Status::unavailable(
                    "the leader was lost before it answered; look whether the change was made, \
                     and ask again",
                ))
            }
        }
    }
}

#[tonic::async_trait]
impl pb::control_server::Control for Control {
    type WatchStream = Answers<pb::Event>;
    type LogsStream = Answers<pb::LogLine>;

    async fn read(
        &self,
        request: Request<pb::ReadRequest>,
    ) -> Result<Response<pb::ReadResponse>, Status> {
        self.allow(&request)?;
        let request = request.into_inner();
        if !request.stale {
            // Only the leader knows who is reachable.
            if request.nodes
                && let Some(mut leader) = self.elsewhere()?
            {
                return self.while_it_leads(leader.read(request)).await;
            }
            self.shared
                .raft
                .read_barrier()
                .await
                .map_err(|error| Status::unavailable(error.to_string()))?;
        }
        read::read(&self.shared, &request).map(Response::new)
    }

    async fn change(
        &self,
        request: Request<pb::ChangeRequest>,
    ) -> Result<Response<pb::ChangeResponse>, Status> {
        self.allow(&request)?;
        if let Some(mut leader) = self.elsewhere()? {
            let change = leader.change(request.into_inner());
            return self.while_it_leads(change).await;
        }
        let change = change::change(&self.shared, request.into_inner());
        match tokio::time::timeout(AGREE_TIMEOUT, change).await {
            Ok(changed) => changed.map(Response::new),
            Err(_) => Err(Status::unavailable(format!(
                "the managers did not agree on the change within {AGREE_TIMEOUT:?}, and may still \
                 do so. It's possible that too few managers are online. Make sure more than half \
                 of the managers are online"
            ))),
        }
    }

    async fn watch(
        &self,
        request: Request<pb::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        self.allow(&request)?;
        let mut events = self.shared.state.events();
        let (out, stream) = mpsc::channel(64);
        tokio::spawn(async move {
            loop {
                let entry = tokio::select! {
                    entry = events.recv() => entry,
                    () = out.closed() => return,
                };
                match entry {
                    Ok(entry) => {
                        for event in on_wire(&entry) {
                            if out.send(Ok(event)).await.is_err() {
                                return;
                            }
                        }
                    }
                    Err(RecvError::Lagged(missed)) => {
                        let lagged = Status::data_loss(format!(
                            "{missed} changes came faster than they were read; list again"
                        ));
                        // The watcher is gone when this fails.
                        let _ = out.send(Err(lagged)).await;
                        return;
                    }
                    Err(RecvError::Closed) => return,
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }

    async fn logs(
        &self,
        request: Request<pb::LogsRequest>,
    ) -> Result<Response<Self::LogsStream>, Status> {
        self.allow(&request)?;
        if let Some(mut leader) = self.elsewhere()? {
            let answer = leader.logs(request.into_inner()).await?;
            return Ok(Response::new(Box::pin(answer.into_inner())));
        }
        let stream = logs::logs(&self.shared, request.into_inner()).map_err(status::invalid)?;
        Ok(Response::new(Box::pin(stream)))
    }
}

fn on_wire(entry: &EntryEvents) -> impl Iterator<Item = pb::Event> + '_ {
    entry.events.iter().map(|event| pb::Event {
        kind: event.object.kind().to_owned(),
        action: event.action.name().to_owned(),
        id: event.object.to_string(),
        name: event.name.clone(),
        attributes: event
            .attributes
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.clone()))
            .collect(),
        at_ms: entry.at.0,
        version: entry.version.0,
    })
}

//! What users ask of a manager, at any manager's door.
//!
//! Reads are answered here, after the leader confirmed that nothing newer is
//! agreed on. Changes, and what only the leader knows, go to the leader.

use super::client::Client;
use super::{change, foresee, logs, peer, read, status, watch};
use crate::anew::Backup;
use crate::shared::{Lead, Shared};
use skep_proto::pb::control_client::ControlClient;
use skep_proto::{id_bytes, pb};
use skep_transport::{never_taken, not_leader};
use skep_types::Role;
use std::pin::Pin;
use std::time::Duration;
use tokio::time::Instant;
use tokio_stream::Stream;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

/// Largest answer of one call, in bytes: a list of some 100,000 tasks.
const ANSWER_MAX_BYTES: usize = 64 << 20;

/// The control service of one manager. Cheap to clone.
#[derive(Clone)]
pub struct Control {
    shared: Shared,
    callers: Callers,
}

/// Who calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Callers {
    /// Users, whom this manager serves: by the node's own socket, whose file mode is their
    /// right, or as clients.
    Users,
    /// Managers, for users whom they serve.
    Managers,
}

/// What a call does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Does {
    Look,
    Change,
}

/// How long a change waits for a majority. Raft itself goes on waiting: what was
/// proposed may still be agreed on when the others are back.
const AGREE_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a read waits for this manager to know what the majority does. Who asks
/// can ask again, or be content with what this manager knows.
const READ_TIMEOUT: Duration = Duration::from_millis(2500);

/// How long a change looks for a leader that takes it: several elections.
const LEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// When it looks again though nothing was heard of an election.
const LOOK_PAUSE: Duration = Duration::from_millis(100);

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Control {
    /// For the node's own socket.
    pub(crate) fn local(shared: Shared) -> Self {
        Control {
            shared,
            callers: Callers::Users,
        }
    }

    /// For port 2377, where managers and clients may call.
    pub(crate) fn remote(shared: Shared) -> Self {
        Control {
            shared,
            callers: Callers::Managers,
        }
    }

    /// The service for who makes this call, if it may.
    fn allow<T>(&self, request: &Request<T>, does: Does) -> Result<Control, Status> {
        if self.callers == Callers::Users {
            return Ok(self.clone());
        }
        if let Some(client) = client_of(request) {
            if does == Does::Change {
                client.may_change()?;
                tracing::info!(client = client.name(), "a change is asked for");
            }
            return Ok(Control::local(self.shared.clone()));
        }
        let peer = peer::of(request)?;
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
        Ok(self.clone())
    }

    /// Whether Raft still runs here; it does not on a disk that failed.
    fn takes_part(&self) -> Result<(), Status> {
        match self.shared.failure() {
            Some(reason) => Err(Status::failed_precondition(reason)),
            None => Ok(()),
        }
    }

    /// Waits until this manager knows all that is agreed on.
    async fn catch_up(&self) -> Result<(), Status> {
        self.takes_part()?;
        let caught_up = self.shared.raft.read_barrier();
        match tokio::time::timeout(READ_TIMEOUT, caught_up).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(Status::unavailable(error.to_string())),
            Err(_) => {
                let snapshot = self.shared.state.snapshot();
                let name = snapshot
                    .node(self.shared.node)
                    .map(|node| node.description.hostname.clone());
                Err(Status::unavailable(format!(
                    "node {} could not catch up with the other managers within {READ_TIMEOUT:?}; \
                     ask another manager, and look at the log of the daemon on this one",
                    name.unwrap_or_else(|| self.shared.node.to_string())
                )))
            }
        }
    }

    /// Everything, as the majority knows it; or as this manager does.
    ///
    /// # Errors
    /// When there is no majority to ask.
    pub async fn backup(&self, stale: bool) -> Result<Backup, Status> {
        if !stale {
            self.catch_up().await?;
        }
        let (snapshot, at) = (self.shared.state.snapshot(), self.shared.state.now());
        let encoded = move || Backup {
            version: snapshot.version().0,
            at,
            snapshot: skep_proto::encode_snapshot(&snapshot.dump()),
        };
        tokio::task::spawn_blocking(encoded)
            .await
            .map_err(|error| Status::internal(error.to_string()))
    }

    /// Makes a call again that nobody took: a leader that is gone has a successor
    /// soon, and of several changes that belong together none is left out for it.
    async fn until_taken<T, F>(
        &self,
        limit: Duration,
        mut call: impl FnMut() -> F,
    ) -> Result<T, Status>
    where
        F: Future<Output = Result<T, Status>>,
    {
        let begun = Instant::now();
        loop {
            let mut leadership = self.shared.raft.leadership();
            leadership.borrow_and_update();
            let refused = match call().await {
                // Who passed it on is who makes it again.
                Err(refused) if self.callers == Callers::Users && never_taken(&refused) => refused,
                answer => return answer,
            };
            // The same manager may lead again, at the same address: so not for long.
            let changed = tokio::time::timeout(LOOK_PAUSE, leadership.changed()).await;
            let takes_no_part = matches!(changed, Ok(Err(_)));
            if takes_no_part || begun.elapsed() >= limit {
                return Err(refused);
            }
        }
    }

    async fn answered(&self, request: pb::ReadRequest) -> Result<pb::ReadResponse, Status> {
        if request.stale {
            return read::read(&self.shared, &request);
        }
        let read = self.until_taken(READ_TIMEOUT, || self.read_agreed(request.clone()));
        let late = || Status::unavailable(format!("no answer within {READ_TIMEOUT:?}"));
        // A reason is worth waiting for a little longer.
        let read = tokio::time::timeout(READ_TIMEOUT + LOOK_PAUSE, read).await;
        read.unwrap_or_else(|_| Err(late()))
            .map(Response::into_inner)
    }

    /// What the majority knows.
    async fn read_agreed(
        &self,
        request: pb::ReadRequest,
    ) -> Result<Response<pb::ReadResponse>, Status> {
        // Only the leader knows who is reachable.
        if request.nodes
            && let Some(mut leader) = self.elsewhere()?
        {
            let answer = self.while_it_leads(leader.read(request));
            return tokio::time::timeout(READ_TIMEOUT, answer)
                .await
                .unwrap_or_else(|_| {
                    Err(Status::unavailable(format!(
                        "the leader did not answer within {READ_TIMEOUT:?}"
                    )))
                });
        }
        self.catch_up().await?;
        read::read(&self.shared, &request).map(Response::new)
    }

    async fn change_agreed(
        &self,
        request: pb::ChangeRequest,
    ) -> Result<Response<pb::ChangeResponse>, Status> {
        if let Some(mut leader) = self.elsewhere()? {
            change::known_to_all(&self.shared, &request)?;
            return self.while_it_leads(leader.change(request)).await;
        }
        let change = change::change(&self.shared, request);
        match tokio::time::timeout(AGREE_TIMEOUT, change).await {
            Ok(changed) => changed.map(Response::new),
            Err(_) => Err(Status::unavailable(format!(
                "the managers did not agree on the change within {AGREE_TIMEOUT:?}, and may still \
                 do so. It's possible that too few managers are online. Make sure more than half \
                 of the managers are online"
            ))),
        }
    }

    /// The leader collects them from the nodes.
    async fn logs_collected(
        &self,
        request: pb::LogsRequest,
    ) -> Result<Response<Answers<pb::LogLine>>, Status> {
        if let Some(mut leader) = self.elsewhere()? {
            let answer = self.while_it_leads(leader.logs(request)).await?;
            return Ok(Response::new(Box::pin(answer.into_inner())));
        }
        let stream = logs::logs(&self.shared, request).map_err(status::invalid)?;
        Ok(Response::new(Box::pin(stream)))
    }

    /// A client of the leader; `None` when that is this manager.
    fn elsewhere(&self) -> Result<Option<ControlClient<Channel>>, Status> {
        self.takes_part()?;
        let address = match self.shared.lead() {
            Lead::Here => return Ok(None),
            Lead::Nowhere => return Err(not_leader(None)),
            // Forwarded once already: the caller has to look again.
            Lead::At(address) if self.callers == Callers::Managers => {
                return Err(not_leader(Some(&address)));
            }
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
            answer = answer => answer.map_err(|status| match std::error::Error::source(&status) {
                // It came from the leader.
                None => status,
                Some(_) => unanswered(&address, status),
            }),
            _ = another => {
                self.shared.channels.forget(&address);
                Err(lost(&address, "another manager leads"))
            }
        }
    }
}

/// The client that the gate has found, where it is one.
fn client_of<T>(request: &Request<T>) -> Option<&Client> {
    request.extensions().get()
}

/// Of a call that did not come back from the leader at this address.
fn unanswered(address: &str, status: Status) -> Status {
    if !never_taken(&status) {
        return lost(address, status.message());
    }
    let mut unreached = Status::unavailable(format!(
        "cannot reach the leader at {address}: {}; ask again when another manager leads",
        status.message()
    ));
    unreached.set_source(std::sync::Arc::new(status));
    unreached
}

fn lost(address: &str, reason: &str) -> Status {
    Status::unavailable(format!(
        "the leader at {address} was lost before it answered: {reason}; look whether the change \
         was made, and ask again"
    ))
}

#[tonic::async_trait]
impl pb::control_server::Control for Control {
    type WatchStream = Answers<pb::Event>;
    type LogsStream = Answers<pb::LogLine>;

    async fn read(
        &self,
        request: Request<pb::ReadRequest>,
    ) -> Result<Response<pb::ReadResponse>, Status> {
        let control = self.allow(&request, Does::Look)?;
        let client = client_of(&request).cloned();
        let mut answer = control.answered(request.into_inner()).await?;
        answer.asked = id_bytes(self.shared.node);
        if let Some(client) = client {
            client.blank(&mut answer);
        }
        Ok(Response::new(answer))
    }

    async fn change(
        &self,
        request: Request<pb::ChangeRequest>,
    ) -> Result<Response<pb::ChangeResponse>, Status> {
        let control = self.allow(&request, Does::Change)?;
        let request = request.into_inner();
        control
            .until_taken(LEADER_TIMEOUT, || control.change_agreed(request.clone()))
            .await
    }

    async fn foresee(
        &self,
        request: Request<pb::ForeseeRequest>,
    ) -> Result<Response<pb::ForeseeResponse>, Status> {
        self.allow(&request, Does::Look)?;
        let request = request.into_inner();
        if !request.stale {
            self.catch_up().await?;
        }
        let foreseen = foresee::answer(&self.shared, request).await;
        foreseen.map(Response::new)
    }

    async fn watch(
        &self,
        request: Request<pb::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        self.allow(&request, Does::Look)?;
        let events = watch::watch(&self.shared.state, request.into_inner());
        Ok(Response::new(Box::pin(events)))
    }

    async fn logs(
        &self,
        request: Request<pb::LogsRequest>,
    ) -> Result<Response<Self::LogsStream>, Status> {
        let control = self.allow(&request, Does::Look)?;
        let request = request.into_inner();
        control
            .until_taken(LEADER_TIMEOUT, || control.logs_collected(request.clone()))
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skep_transport::{Channels, Tcp};

    #[tokio::test]
    async fn what_nobody_took_is_told_from_what_may_have_been_done() {
        // Nobody listens there.
        let address = "127.0.0.1:1".to_owned();
        let root = skep_manager_ca::Root::generate(std::time::SystemTime::now()).unwrap();
        let tls = skep_manager_ca::joining_config(root.certificate()).unwrap();
        let channel = Channels::over(Tcp::network(), tls).to(&address).unwrap();
        let mut leader = ControlClient::new(channel);
        let called = leader.change(pb::ChangeRequest::default()).await;
        let refused = unanswered(&address, called.unwrap_err());
        assert!(refused.message().starts_with("cannot reach"), "{refused}");
        assert!(never_taken(&refused), "{refused:?}");

        for leader in [None, Some("10.0.0.1:2377")] {
            assert!(never_taken(&not_leader(leader)));
        }
        let broken = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        let broken = unanswered(&address, Status::from_error(Box::new(broken)));
        assert!(!never_taken(&broken), "{broken:?}");
        assert!(!never_taken(&Status::unavailable("busy")));
    }
}

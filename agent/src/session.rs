//! One session with one manager, from its opening to its end.

use crate::line::{Line, Told};
use bytes::Bytes;
use prost::Message;
use skep_proto::pb::dispatcher_client::DispatcherClient;
use skep_proto::{Invalid, id_bytes, pb};
use skep_transport::redirected_to;
use skep_types::assignment::{AssignmentChange, AssignmentSet};
use skep_types::{NodeDescription, TaskId, with_causes};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tonic::transport::Channel;
use tonic::{Status, Streaming};

/// Largest message: a complete set of assignments.
const MESSAGE_MAX_BYTES: usize = 64 << 20;
/// A manager that takes longer than a heartbeat to answer one is taken for dead:
/// the node has to be heard by another before the leader gives it up. But no more
/// than this is waited for.
const BEAT_TIMEOUT_MAX: Duration = Duration::from_secs(2);
const BEAT_TIMEOUT_MIN: Duration = Duration::from_millis(500);

/// Why a session ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// In words.
    pub reason: String,
    /// The manager to ask instead.
    pub leader: Option<String>,
    /// It had been opened.
    pub opened: bool,
    /// The manager did not answer in time.
    pub silent: bool,
}

impl Ended {
    fn because(reason: impl Into<String>) -> Ended {
        Ended {
            reason: reason.into(),
            leader: None,
            opened: true,
            silent: false,
        }
    }

    /// There was no session.
    pub(crate) fn unopened(reason: String) -> Ended {
        Ended {
            opened: false,
            ..Ended::because(reason)
        }
    }
}

impl From<Status> for Ended {
    fn from(status: Status) -> Ended {
        // The cause of a failed connection is in the source chain only.
        let reason = with_causes(status.message(), std::error::Error::source(&status));
        Ended {
            leader: redirected_to(&status),
            reason,
            opened: true,
            silent: false,
        }
    }
}

impl From<Invalid> for Ended {
    fn from(error: Invalid) -> Ended {
        Ended::because(format!(
            "the manager sent something that cannot be read: {error}"
        ))
    }
}

/// A session that a manager has opened.
pub(crate) struct Open {
    client: DispatcherClient<Channel>,
    messages: Streaming<pb::SessionMessage>,
    welcome: pb::Welcome,
}

/// Opens a session, within `limit`.
pub(crate) async fn open(
    channel: Channel,
    description: &NodeDescription,
    limit: Duration,
) -> Result<Open, Ended> {
    let mut client = DispatcherClient::new(channel).max_decoding_message_size(MESSAGE_MAX_BYTES);
    let request = pb::SessionRequest {
        description: Some(description.into()),
    };
    let opened = async {
        let mut messages = client.session(request).await?.into_inner();
        let welcome = loop {
            match messages
                .message()
                .await?
                .and_then(|message| message.message)
            {
                Some(pb::session_message::Message::Welcome(welcome)) => break welcome,
                Some(_) => {}
                None => return Err(Ended::because("the manager ended the session")),
            }
        };
        Ok((messages, welcome))
    };
    match tokio::time::timeout(limit, opened).await {
        Ok(Ok((messages, welcome))) => Ok(Open {
            client,
            messages,
            welcome,
        }),
        Ok(Err(ended)) => Err(Ended {
            opened: false,
            ..ended
        }),
        Err(_) => Err(Ended {
            silent: true,
            ..Ended::unopened(format!("no session within {limit:?}"))
        }),
    }
}

/// Does what a session is for until it ends.
pub(crate) async fn run(line: &Line, open: Open) -> Ended {
    let Open {
        client,
        messages,
        welcome,
    } = open;
    let session = welcome.session.clone();
    if let Err(error) = tell(line, &welcome) {
        return error.into();
    }
    tracing::info!("session opened");
    let _heard = line.reporter.contact().open();
    line.reporter.contact().asked(pause(welcome.heartbeat_ms));
    let (period, told_period) = watch::channel(welcome.heartbeat_ms);
    // Whichever part ends first ends the session.
    tokio::select! {
        ended = listen(line, client.clone(), messages, &period) => ended,
        ended = beat(client.clone(), session.clone(), told_period) => ended,
        ended = assignments(line, client.clone(), session.clone()) => ended,
        ended = report(line, client, session) => ended,
    }
}

fn tell(line: &Line, welcome: &pb::Welcome) -> Result<(), Invalid> {
    let node = welcome
        .node
        .clone()
        .ok_or(Invalid::Missing("welcome.node"))?
        .try_into()?;
    let mesh_subnet = welcome
        .mesh_subnet
        .parse()
        .map_err(|_| Invalid::Value("welcome.mesh_subnet", format!("{:?}", welcome.mesh_subnet)))?;
    line.told.send_replace(Some(Told {
        node,
        managers: welcome
            .managers
            .iter()
            .map(|manager| manager.address.clone())
            .collect(),
        root_ca: welcome.root_ca_certificate.clone(),
        mesh_subnet,
    }));
    Ok(())
}

async fn listen(
    line: &Line,
    client: DispatcherClient<Channel>,
    mut messages: Streaming<pb::SessionMessage>,
    period: &watch::Sender<u64>,
) -> Ended {
    let mut publishing: JoinSet<()> = JoinSet::new();
    let mut handles: BTreeMap<u64, AbortHandle> = BTreeMap::new();
    loop {
        let message = match messages.message().await {
            Ok(Some(message)) => message.message,
            Ok(None) => return Ended::because("the manager ended the session"),
            Err(status) => return status.into(),
        };
        match message {
            Some(pb::session_message::Message::Welcome(welcome)) => {
                if let Err(error) = tell(line, &welcome) {
                    return error.into();
                }
                line.reporter.contact().asked(pause(welcome.heartbeat_ms));
                period.send_if_modified(|period| {
                    std::mem::replace(period, welcome.heartbeat_ms) != welcome.heartbeat_ms
                });
            }
            Some(pb::session_message::Message::Logs(request)) => {
                let number = request.id;
                let publish = line.work.logs(client.clone(), request);
                handles.insert(number, publishing.spawn(publish));
            }
            Some(pb::session_message::Message::CancelLogs(number)) => {
                if let Some(handle) = handles.remove(&number) {
                    handle.abort();
                }
            }
            None => {}
        }
        while publishing.try_join_next().is_some() {}
        handles.retain(|_, handle| !handle.is_finished());
    }
}

/// The time between heartbeats that a manager asks for.
fn pause(heartbeat_ms: u64) -> Duration {
    Duration::from_millis(heartbeat_ms.clamp(50, 60_000))
}

/// Says every so often that this node lives, and at once when the period
/// changes: the manager counts by the new one from then on.
async fn beat(
    mut client: DispatcherClient<Channel>,
    session: Bytes,
    mut period: watch::Receiver<u64>,
) -> Ended {
    loop {
        let pause = pause(*period.borrow_and_update());
        // Its sender outlives this loop.
        let _ = tokio::time::timeout(pause, period.changed()).await;
        let beat = client.heartbeat(pb::HeartbeatRequest {
            session: session.clone(),
        });
        let patience = pause.clamp(BEAT_TIMEOUT_MIN, BEAT_TIMEOUT_MAX);
        match tokio::time::timeout(patience, beat).await {
            Ok(Ok(_)) => {}
            Ok(Err(status)) => return status.into(),
            Err(_) => return Ended::because("the manager does not answer heartbeats"),
        }
    }
}

/// What the managers said last, and how they name the part of it that they say to
/// all nodes: the next manager says only what is new.
#[derive(Default)]
pub struct Held(Mutex<(Arc<AssignmentSet>, Bytes)>);

impl Held {
    fn get(&self) -> (AssignmentSet, Bytes) {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (AssignmentSet::clone(&held.0), held.1.clone())
    }

    fn put(&self, set: Arc<AssignmentSet>, digest: Bytes) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (set, digest);
    }
}

async fn assignments(line: &Line, mut client: DispatcherClient<Channel>, session: Bytes) -> Ended {
    let (mut set, digest) = line.held.get();
    let request = pb::AssignmentsRequest { session, digest };
    let mut messages = match client.assignments(request).await {
        Ok(messages) => messages.into_inner(),
        Err(status) => return status.into(),
    };
    loop {
        let message = match messages.message().await {
            Ok(Some(message)) => message,
            Ok(None) => return Ended::because("the manager ended the assignments"),
            Err(status) => return status.into(),
        };
        let (more, digest) = (message.more, message.digest.clone());
        if let Err(error) = take(&mut set, message) {
            return error.into();
        }
        // Half a set would have the other half stopped.
        let mesh = line.told.borrow().as_ref().map(|told| told.mesh_subnet);
        if let Some(mesh) = mesh.filter(|_| !more) {
            let all = Arc::new(set.clone());
            line.held.put(all.clone(), digest);
            line.work.assign(all, mesh).await;
        }
    }
}

/// Brings a set up to a message.
fn take(set: &mut AssignmentSet, message: pb::AssignmentsMessage) -> Result<(), Invalid> {
    if message.complete {
        *set = AssignmentSet::default();
    }
    if message.resumed {
        set.tasks.clear();
        set.secrets.clear();
        set.configs.clear();
        set.labels.clear();
    }
    for piece in message.shared {
        let piece = pb::AssignmentsMessage::decode(piece)
            .map_err(|error| Invalid::Encoding(error.to_string()))?;
        apply(set, piece.changes)?;
    }
    apply(set, message.changes)
}

fn apply(set: &mut AssignmentSet, changes: Vec<pb::AssignmentChange>) -> Result<(), Invalid> {
    for change in changes {
        // A kind that only newer versions know is none of this one's work.
        if change.change.is_some() {
            set.apply(AssignmentChange::try_from(change)?);
        }
    }
    Ok(())
}

async fn report(line: &Line, mut client: DispatcherClient<Channel>, session: Bytes) -> Ended {
    loop {
        let batch = line.reporter.next().await;
        let update = |(task, status): &(TaskId, skep_types::TaskStatus)| pb::TaskStatusUpdate {
            task: id_bytes(*task),
            status: Some(status.into()),
        };
        let request = pb::UpdateTaskStatusRequest {
            session: session.clone(),
            updates: batch.iter().map(update).collect(),
        };
        match client.update_task_status(request).await {
            Ok(_) => line.reporter.taken(&batch),
            Err(status) => return status.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skep_types::NetworkId;

    #[test]
    fn what_a_newer_manager_adds_is_passed_over_and_the_rest_is_taken() {
        let network = skep_types::Network {
            id: NetworkId::from_bits(4),
            meta: Default::default(),
            spec: Default::default(),
            subnets: Vec::new(),
            blocks: Default::default(),
        };
        let known = AssignmentChange::Network(network.id, Some(network.into()));
        // Field 1000 of a change, a string: a kind to come.
        let unknown = [0xc2, 0x3e, 2, b'h', b'i'];
        let message = pb::AssignmentsMessage {
            complete: true,
            changes: vec![
                pb::AssignmentChange::decode(&unknown[..]).unwrap(),
                (&known).into(),
            ],
            ..pb::AssignmentsMessage::default()
        };
        let mut set = AssignmentSet::default();
        take(&mut set, message).unwrap();
        assert_eq!(set.networks.len(), 1);
    }
}

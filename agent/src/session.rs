//! One session with one manager, from its opening to its end.

use crate::agent::{Shared, Told};
use crate::logs;
use crate::network::chain;
use bytes::Bytes;
use skep_proto::pb::dispatcher_client::DispatcherClient;
use skep_proto::{Invalid, id_bytes, pb};
use skep_transport::redirected_to;
use skep_types::assignment::{AssignmentChange, AssignmentSet};
use skep_types::{NodeDescription, TaskId};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{AbortHandle, JoinSet};
use tonic::transport::Channel;
use tonic::{Status, Streaming};

/// Largest message: a complete set of assignments.
const MESSAGE_MAX_BYTES: usize = 64 << 20;
/// Opening a session and single calls take no longer than this.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// A manager that takes longer to answer a heartbeat is taken for dead: the
/// node has to be heard by the next one before that one gives it up.
const BEAT_TIMEOUT: Duration = Duration::from_secs(2);

/// Why a session ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// In words.
    pub reason: String,
    /// The manager to ask instead.
    pub leader: Option<String>,
    /// It had been opened.
    pub opened: bool,
}

impl Ended {
    fn because(reason: impl Into<String>) -> Ended {
        Ended {
            reason: reason.into(),
            leader: None,
            opened: true,
        }
    }
}

impl From<Status> for Ended {
    fn from(status: Status) -> Ended {
        // The cause of a failed connection is in the source chain only.
        let reason = match std::error::Error::source(&status) {
            Some(source) => format!("{}: {}", status.message(), chain(source)),
            None => status.message().to_owned(),
        };
        Ended {
            leader: redirected_to(&status),
            reason,
            opened: true,
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

/// Runs a session until it ends.
pub(crate) async fn run(shared: &Shared, channel: Channel, description: &NodeDescription) -> Ended {
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
    let (messages, welcome) = match tokio::time::timeout(CALL_TIMEOUT, opened).await {
        Ok(Ok(opened)) => opened,
        Ok(Err(ended)) => {
            return Ended {
                opened: false,
                ..ended
            };
        }
        Err(_) => {
            let reason = format!("no session within {CALL_TIMEOUT:?}");
            return Ended {
                reason,
                leader: None,
                opened: false,
            };
        }
    };
    let session = welcome.session.clone();
    if let Err(error) = tell(shared, &welcome) {
        return error.into();
    }
    tracing::info!("session opened");
    // Whichever part ends first ends the session.
    tokio::select! {
        ended = listen(shared, client.clone(), messages) => ended,
        ended = beat(client.clone(), session.clone(), welcome.heartbeat_ms) => ended,
        ended = assignments(shared, client.clone(), session.clone()) => ended,
        ended = report(shared, client, session) => ended,
    }
}

fn tell(shared: &Shared, welcome: &pb::Welcome) -> Result<(), Invalid> {
    let node = welcome
        .node
        .clone()
        .ok_or(Invalid::Missing("welcome.node"))?
        .try_into()?;
    let mesh_subnet = welcome
        .mesh_subnet
        .parse()
        .map_err(|_| Invalid::Value("welcome.mesh_subnet", format!("{:?}", welcome.mesh_subnet)))?;
    shared.told.send_replace(Some(Told {
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
    shared: &Shared,
    client: DispatcherClient<Channel>,
    mut messages: Streaming<pb::SessionMessage>,
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
                if let Err(error) = tell(shared, &welcome) {
                    return error.into();
                }
            }
            Some(pb::session_message::Message::Logs(request)) => {
                let number = request.id;
                let set = shared.set();
                let services = set
                    .tasks
                    .iter()
                    .map(|(id, task)| (*id, task.service))
                    .collect();
                let executor = shared.executor.clone();
                let publish = logs::publish(executor, client.clone(), request, services);
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

async fn beat(mut client: DispatcherClient<Channel>, session: Bytes, mut period_ms: u64) -> Ended {
    loop {
        tokio::time::sleep(Duration::from_millis(period_ms.clamp(50, 60_000))).await;
        let beat = client.heartbeat(pb::HeartbeatRequest {
            session: session.clone(),
        });
        match tokio::time::timeout(BEAT_TIMEOUT, beat).await {
            Ok(Ok(answer)) => period_ms = answer.into_inner().period_ms,
            Ok(Err(status)) => return status.into(),
            Err(_) => return Ended::because("the manager does not answer heartbeats"),
        }
    }
}

async fn assignments(
    shared: &Shared,
    mut client: DispatcherClient<Channel>,
    session: Bytes,
) -> Ended {
    let mut messages = match client.assignments(pb::AssignmentsRequest { session }).await {
        Ok(messages) => messages.into_inner(),
        Err(status) => return status.into(),
    };
    let mut set = AssignmentSet::default();
    loop {
        let message = match messages.message().await {
            Ok(Some(message)) => message,
            Ok(None) => return Ended::because("the manager ended the assignments"),
            Err(status) => return status.into(),
        };
        if message.complete {
            set = AssignmentSet::default();
        }
        for change in message.changes {
            match AssignmentChange::try_from(change) {
                Ok(change) => set.apply(change),
                Err(error) => return error.into(),
            }
        }
        shared.assign(Arc::new(set.clone())).await;
    }
}

async fn report(shared: &Shared, mut client: DispatcherClient<Channel>, session: Bytes) -> Ended {
    loop {
        let batch = shared.reporter.next().await;
        let update = |(task, status): &(TaskId, skep_types::TaskStatus)| pb::TaskStatusUpdate {
            task: id_bytes(*task),
            status: Some(status.into()),
        };
        let request = pb::UpdateTaskStatusRequest {
            session: session.clone(),
            updates: batch.iter().map(update).collect(),
        };
        match client.update_task_status(request).await {
            Ok(_) => shared.reporter.taken(&batch),
            Err(status) => return status.into(),
        }
    }
}

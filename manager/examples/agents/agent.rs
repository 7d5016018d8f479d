//! One agent: a session with one of the managers after the other, heartbeats, what it
//! is told, and what it says of its tasks.

use crate::Error;
use crate::swarm::{description, status};
use skep_manager_ca::Credentials;
use skep_proto::pb;
use skep_proto::pb::assignment_change::Change;
use skep_proto::pb::dispatcher_client::DispatcherClient;
use skep_transport::{Channels, redirected_to};
use skep_types::{NodeDescription, TaskState};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, mpsc, watch};
use tonic::Status;

/// Tasks in one report at most: a message has its limit.
const REPORT_MAX: usize = 500;

/// What an agent says of itself to whoever measures.
pub(crate) enum Said {
    /// The agent at this place has a session and all its assignments.
    Connected(usize),
    /// It was told something new, to all nodes alike.
    Told(Instant),
    /// It lost its session without being asked to drop it.
    Lost(String),
}

/// A session that the manager has opened.
#[derive(Clone)]
pub(crate) struct Opened {
    pub(crate) session: bytes::Bytes,
    /// Of its heartbeats.
    pub(crate) period: Duration,
    /// Where managers are.
    pub(crate) managers: Vec<String>,
}

pub(crate) async fn open(
    client: &mut DispatcherClient<tonic::transport::Channel>,
    description: &NodeDescription,
) -> Result<(Opened, tonic::Streaming<pb::SessionMessage>), Status> {
    let request = pb::SessionRequest {
        description: Some(description.into()),
    };
    let mut messages = client.session(request).await?.into_inner();
    match messages.message().await?.and_then(|first| first.message) {
        Some(pb::session_message::Message::Welcome(welcome)) => {
            let opened = Opened {
                session: welcome.session,
                period: Duration::from_millis(welcome.heartbeat_ms),
                managers: welcome.managers.into_iter().map(|m| m.address).collect(),
            };
            Ok((opened, messages))
        }
        _ => Err(Status::unavailable("no welcome")),
    }
}

pub(crate) struct Agent {
    /// Managers it knows of, until one names others.
    pub(crate) managers: Vec<String>,
    pub(crate) credentials: Arc<Credentials>,
    pub(crate) bits: u128,
    pub(crate) place: usize,
    pub(crate) digests: Arc<Mutex<Vec<bytes::Bytes>>>,
    pub(crate) dialling: Arc<Semaphore>,
    pub(crate) rounds: watch::Receiver<u64>,
    pub(crate) said: mpsc::UnboundedSender<Said>,
    /// It says of its tasks that they run, and of those that are to stop that they have.
    pub(crate) works: bool,
}

impl Agent {
    /// Stays connected; in a new round it drops everything and comes back.
    pub(crate) async fn run(mut self) {
        // Each begins with another, so that all managers have as many.
        let mut turn = self.place;
        let mut leader = None;
        loop {
            self.rounds.borrow_and_update();
            let mut rounds = self.rounds.clone();
            let next = &self.managers[turn % self.managers.len()];
            let address = leader.take().unwrap_or_else(|| next.clone());
            let ended = tokio::select! {
                ended = self.session(address) => ended,
                changed = rounds.changed() => {
                    if changed.is_err() { return }
                    continue;
                }
            };
            let reason = ended.unwrap_err();
            leader = reason.downcast_ref().and_then(redirected_to);
            turn += 1;
            // Whoever measures may be done.
            let _ = self.said.send(Said::Lost(reason.to_string()));
            tokio::time::sleep(Duration::from_millis(100 + self.bits as u64 % 400)).await;
        }
    }

    async fn session(&mut self, address: String) -> Result<std::convert::Infallible, Error> {
        // This process has its limits, too: it dials a few hundred at a time.
        let slot = self.dialling.clone().acquire_owned().await?;
        let channels = Channels::new(self.credentials.client_config()?).patient();
        let channel = channels.to(&address)?;
        let mut client = DispatcherClient::new(channel).max_decoding_message_size(64 << 20);
        let mut description = description(self.bits);
        if self.works {
            // No node is to look for its WireGuard, which is not there.
            description.wireguard_key = [0; 32];
        }
        let (mut opened, mut messages) = open(&mut client, &description).await?;
        drop(slot);
        self.managers = std::mem::take(&mut opened.managers);
        let (tell, told) = mpsc::unbounded_channel();
        let beats = self.beat(client.clone(), opened.clone());
        let reports = report(client.clone(), opened.session.clone(), told);
        let follows = self.follow(client, opened.session, tell);
        tokio::select! {
            ended = beats => ended,
            ended = reports => ended,
            ended = follows => ended,
            ended = async { while messages.message().await?.is_some() {} Ok::<_, Status>(()) } => {
                ended?;
                Err("the session ended".into())
            }
        }
    }

    async fn beat(
        &self,
        mut client: DispatcherClient<tonic::transport::Channel>,
        opened: Opened,
    ) -> Result<std::convert::Infallible, Error> {
        let (session, period) = (opened.session, opened.period);
        loop {
            tokio::time::sleep(period).await;
            let request = pb::HeartbeatRequest {
                session: session.clone(),
            };
            tokio::time::timeout(period, client.heartbeat(request)).await??;
        }
    }

    async fn follow(
        &self,
        mut client: DispatcherClient<tonic::transport::Channel>,
        session: bytes::Bytes,
        tell: mpsc::UnboundedSender<pb::Task>,
    ) -> Result<std::convert::Infallible, Error> {
        let digests = || self.digests.lock().map_err(|error| error.to_string());
        let digest = digests()?[self.place].clone();
        let request = pb::AssignmentsRequest { session, digest };
        let mut messages = client.assignments(request).await?.into_inner();
        let mut complete = false;
        while let Some(message) = messages.message().await? {
            if !message.shared.is_empty() && complete {
                self.said.send(Said::Told(Instant::now()))?;
            }
            for change in message.changes.into_iter().filter(|_| self.works) {
                if let Some(Change::Task(task)) = change.change {
                    tell.send(task)?;
                }
            }
            if !message.more {
                digests()?[self.place] = message.digest;
                if !std::mem::replace(&mut complete, true) {
                    self.said.send(Said::Connected(self.place))?;
                }
            }
        }
        Err("the assignments ended".into())
    }
}

/// Says of tasks that they do what they are told, those together that come while an
/// earlier report is on its way.
async fn report(
    mut client: DispatcherClient<tonic::transport::Channel>,
    session: bytes::Bytes,
    mut told: mpsc::UnboundedReceiver<pb::Task>,
) -> Result<std::convert::Infallible, Error> {
    let mut tasks = Vec::new();
    while told.recv_many(&mut tasks, REPORT_MAX).await > 0 {
        let update = |task: pb::Task| {
            let stops = task.desired > i32::from(pb::TaskState::from(TaskState::Running));
            let mut said = status(match stops {
                true => TaskState::Shutdown,
                false => TaskState::Running,
            });
            said.container = "c".repeat(64);
            pb::TaskStatusUpdate {
                task: task.id,
                status: Some((&said).into()),
            }
        };
        let request = pb::UpdateTaskStatusRequest {
            session: session.clone(),
            updates: tasks.drain(..).map(update).collect(),
        };
        client.update_task_status(request).await?;
    }
    Err("the assignments ended".into())
}

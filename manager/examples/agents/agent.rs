//! One agent: a session, heartbeats, and what it is told.

use crate::Error;
use crate::swarm::description;
use skep_manager_ca::Credentials;
use skep_proto::pb;
use skep_proto::pb::dispatcher_client::DispatcherClient;
use skep_transport::connect;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, mpsc, watch};
use tonic::Status;

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
}

pub(crate) async fn open(
    client: &mut DispatcherClient<tonic::transport::Channel>,
    bits: u128,
) -> Result<(Opened, tonic::Streaming<pb::SessionMessage>), Status> {
    let request = pb::SessionRequest {
        description: Some((&description(bits)).into()),
    };
    let mut messages = client.session(request).await?.into_inner();
    match messages.message().await?.and_then(|first| first.message) {
        Some(pb::session_message::Message::Welcome(welcome)) => {
            let opened = Opened {
                session: welcome.session,
                period: Duration::from_millis(welcome.heartbeat_ms),
            };
            Ok((opened, messages))
        }
        _ => Err(Status::unavailable("no welcome")),
    }
}

pub(crate) struct Agent {
    pub(crate) address: String,
    pub(crate) credentials: Arc<Credentials>,
    pub(crate) bits: u128,
    pub(crate) place: usize,
    pub(crate) digests: Arc<Mutex<Vec<bytes::Bytes>>>,
    pub(crate) dialling: Arc<Semaphore>,
    pub(crate) rounds: watch::Receiver<u64>,
    pub(crate) said: mpsc::UnboundedSender<Said>,
}

impl Agent {
    /// Stays connected; in a new round it drops everything and comes back.
    pub(crate) async fn run(mut self) {
        loop {
            self.rounds.borrow_and_update();
            let mut rounds = self.rounds.clone();
            let ended = tokio::select! {
                ended = self.session() => ended,
                changed = rounds.changed() => {
                    if changed.is_err() { return }
                    self.rounds.borrow_and_update();
                    continue;
                }
            };
            // Whoever measures may be done.
            let _ = self.said.send(Said::Lost(ended.unwrap_err().to_string()));
            tokio::time::sleep(Duration::from_millis(100 + self.bits as u64 % 400)).await;
        }
    }

    async fn session(&self) -> Result<std::convert::Infallible, Error> {
        // This process has its limits, too: it dials a few hundred at a time.
        let slot = self.dialling.clone().acquire_owned().await?;
        let channel = connect(&self.address, self.credentials.client_config()?)?;
        let mut client = DispatcherClient::new(channel).max_decoding_message_size(64 << 20);
        let (opened, mut messages) = open(&mut client, self.bits).await?;
        drop(slot);
        let beats = self.beat(client.clone(), opened.clone());
        let follows = self.follow(client, opened.session);
        tokio::select! {
            ended = beats => ended,
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
        let Opened { session, period } = opened;
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

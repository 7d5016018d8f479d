//! The calls that more than one command makes. To whom: `host.rs`.

mod host;

pub use host::{DEFAULT_HOST, Host, with_port};

use crate::error::{CliError, is_passing, is_stale, usage};
use crate::output::note;
use crate::view::View;
use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use skep_proto::pb;
use skep_proto::pb::change::Change;
use skep_proto::pb::control_client::ControlClient;
use skep_proto::pb::local_node_client::LocalNodeClient;
use skep_proto::{id, id_bytes};
use skep_types::{NodeId, Service, ServiceId, ServiceSpec};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use tonic::Code;
use tonic::transport::Channel;

/// Largest message either way, in bytes: a list of some 100,000 tasks.
const MESSAGE_MAX_BYTES: usize = 64 << 20;
/// How long a question waits for a swarm that is without a leader.
const LEADERLESS: Duration = Duration::from_secs(3);
/// What to do when it still is.
const STALE_HINT: &str = "To see what this node's manager knew last, add --stale";
/// Times a read-modify-write is tried when others change the object meanwhile.
const ATTEMPTS: usize = 10;

/// The control service over a channel.
pub(crate) fn connection(channel: Channel) -> ControlClient<Channel> {
    ControlClient::new(channel)
        .max_decoding_message_size(MESSAGE_MAX_BYTES)
        .max_encoding_message_size(MESSAGE_MAX_BYTES)
}

/// A manager that is asked over the network.
#[derive(Debug, Clone)]
pub struct Manager {
    /// Its node.
    pub node: NodeId,
    /// Where it was reached.
    pub address: String,
}

/// A connection to the daemon of this machine, or to a manager. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    channel: Channel,
    /// Reads are answered by this node's manager alone.
    stale: bool,
    manager: Option<Manager>,
}

impl Client {
    /// Calls over this channel.
    pub(crate) fn new(channel: Channel, stale: bool, manager: Option<Manager>) -> Self {
        Client {
            channel,
            stale,
            manager,
        }
    }

    /// The manager that is asked; `None` where it is the daemon of this machine.
    pub fn manager(&self) -> Option<&Manager> {
        self.manager.as_ref()
    }

    /// The swarm, as far as this node's manager (or the one it knows) serves it.
    pub fn control(&self) -> ControlClient<Channel> {
        connection(self.channel.clone())
    }

    /// The node itself.
    ///
    /// # Errors
    /// When it is another machine's, which nobody speaks for over the network.
    pub fn node(&self) -> Result<LocalNodeClient<Channel>> {
        if let Some(Manager { address, .. }) = &self.manager {
            return Err(usage(format!(
                "this command is about one machine, and only the daemon of that machine answers \
                 it, over its socket: {address} is asked about the swarm alone. Run it on the \
                 machine that it is about"
            )));
        }
        Ok(LocalNodeClient::new(self.channel.clone())
            .max_decoding_message_size(MESSAGE_MAX_BYTES)
            .max_encoding_message_size(MESSAGE_MAX_BYTES))
    }

    /// One consistent view of the kinds asked for. Waits out the moment between two
    /// leaders, of which managers need less than a second.
    ///
    /// # Errors
    /// What the manager says; within three seconds when there is no majority.
    pub async fn read(&self, request: pb::ReadRequest) -> Result<View> {
        if self.stale {
            note!("skep: --stale: this is what this node's manager knew last; it may be old");
        }
        let until = Instant::now() + LEADERLESS;
        let mut last = String::from("The managers did not answer.");
        while let Ok(read) = timeout_at(until, self.read_now(request.clone())).await {
            match read {
                Err(error) if is_passing(&error) => {
                    last = error.to_string();
                    tokio::time::sleep(LEADERLESS / 10).await;
                }
                read => return read,
            }
        }
        let message = match (self.stale, last.ends_with('.')) {
            (true, _) => last,
            (false, true) => format!("{last} {STALE_HINT}"),
            (false, false) => format!("{last}. {STALE_HINT}"),
        };
        let code = Code::Unavailable;
        Err(CliError::Refused { code, message }.into())
    }

    /// As [`Client::read`], for who has a patience of their own.
    pub async fn read_now(&self, request: pb::ReadRequest) -> Result<View> {
        let request = pb::ReadRequest {
            stale: self.stale,
            ..request
        };
        let answer = self.control().read(request).await.map_err(CliError::from)?;
        View::decode(answer.into_inner())
    }

    /// Makes one change and returns the id of what it made or touched.
    pub async fn change(&self, change: Change) -> Result<Bytes> {
        let ids = self.change_told(change).await?.ids;
        ids.into_iter()
            .next()
            .context("the manager did not say which object it changed")
    }

    /// Makes one change and returns all that is told of it.
    pub async fn change_told(&self, change: Change) -> Result<pb::ChangeResponse> {
        if self.stale {
            return Err(usage(
                "--stale is for reading: leave it out to change something",
            ));
        }
        let request = pb::ChangeRequest {
            changes: vec![pb::Change {
                change: Some(change),
            }],
        };
        let answer = self.control().change(request).await;
        Ok(answer.map_err(CliError::from)?.into_inner())
    }

    /// What a change would lead to.
    pub async fn foresee(&self, change: Change) -> Result<pb::ForeseeResponse> {
        let request = pb::ForeseeRequest {
            changes: vec![pb::Change {
                change: Some(change),
            }],
            stale: self.stale,
        };
        let answer = self.control().foresee(request).await;
        Ok(answer.map_err(CliError::from)?.into_inner())
    }

    /// As [`Client::change`] for a change of whatever version there is. The
    /// manager reads and writes in two steps; where somebody comes between them,
    /// it is asked again.
    pub async fn change_as_it_is(&self, change: Change) -> Result<Bytes> {
        for _ in 1..ATTEMPTS {
            match self.change(change.clone()).await {
                Err(error) if is_stale(&error) => {}
                done => return done,
            }
        }
        self.change(change).await
    }

    /// What the node says of itself.
    pub async fn info(&self) -> Result<pb::InfoResponse> {
        let answer = self.node()?.info(pb::InfoRequest {}).await;
        Ok(answer.map_err(CliError::from)?.into_inner())
    }

    /// Id of the node that is asked; `None` while it is in no swarm.
    pub async fn self_id(&self) -> Result<Option<NodeId>> {
        if let Some(Manager { node, .. }) = &self.manager {
            return Ok(Some(*node));
        }
        let info = self.info().await?;
        if info.node_id.is_empty() {
            return Ok(None);
        }
        Ok(Some(id(&info.node_id, "info.node_id")?))
    }

    /// Creates a service.
    pub async fn create_service(&self, spec: &ServiceSpec) -> Result<ServiceId> {
        let made = self.change(Change::CreateService(spec.into())).await?;
        Ok(id(&made, "change.ids")?)
    }

    /// Reads a service, edits its spec and writes it back; again from the start
    /// when it was changed in between. Returns whether there was anything to
    /// change.
    ///
    /// # Errors
    /// What `edit` says, and what the manager says.
    pub async fn edit_service(
        &self,
        service: ServiceId,
        mut edit: impl FnMut(&Service, &mut ServiceSpec) -> Result<()>,
    ) -> Result<bool> {
        for _ in 0..ATTEMPTS {
            let view = self
                .read(pb::ReadRequest {
                    services: true,
                    ..Default::default()
                })
                .await?;
            let Some(present) = view.services.into_iter().find(|s| s.id == service) else {
                bail!("no such service: {service}");
            };
            let mut spec = present.spec.clone();
            edit(&present, &mut spec)?;
            if spec == present.spec {
                return Ok(false);
            }
            let update = pb::UpdateService {
                id: id_bytes(service),
                version: present.meta.version.0,
                spec: Some((&spec).into()),
            };
            match self.change(Change::UpdateService(update)).await {
                Err(error) if is_stale(&error) => {}
                done => return done.map(|_| true),
            }
        }
        bail!("service {service} is being changed by others all the time; try again");
    }
}

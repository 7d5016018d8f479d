//! The daemon's socket: where it is, connecting to it, and the calls that more
//! than one command makes.

use crate::error::{CliError, is_passing, is_stale, usage};
use crate::output::note;
use crate::view::View;
use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use hyper_util::rt::TokioIo;
use skep_proto::pb;
use skep_proto::pb::change::Change;
use skep_proto::pb::control_client::ControlClient;
use skep_proto::pb::local_node_client::LocalNodeClient;
use skep_proto::{id, id_bytes};
use skep_types::{NodeId, Service, ServiceId, ServiceSpec};
use std::path::PathBuf;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::time::{Instant, timeout_at};
use tonic::Code;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

/// Where the daemon listens unless told otherwise.
pub const DEFAULT_HOST: &str = "unix:///run/skep/skep.sock";
/// Largest message either way, in bytes: a list of some 100,000 tasks.
const MESSAGE_MAX_BYTES: usize = 64 << 20;
/// How long a question waits for a swarm that is without a leader.
const LEADERLESS: Duration = Duration::from_secs(3);
/// What to do when it still is.
const STALE_HINT: &str = "To see what this node's manager knew last, add --stale";
/// Times a read-modify-write is tried when others change the object meanwhile.
const ATTEMPTS: usize = 10;

/// The socket of a daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    text: String,
    path: PathBuf,
    stale: bool,
}

impl Host {
    /// Reads `unix:///path`; a bare absolute path is taken for one.
    ///
    /// # Errors
    /// For every other kind of address.
    pub fn parse(text: &str) -> Result<Self> {
        let path = text.strip_prefix("unix://").unwrap_or(text);
        if !path.starts_with('/') {
            return Err(usage(format!(
                "{text:?} is not the socket of a daemon: write unix:///path/to/skep.sock"
            )));
        }
        Ok(Host {
            text: format!("unix://{path}"),
            path: PathBuf::from(path),
            stale: false,
        })
    }

    /// Whether its manager is asked for what it knows, without asking the others.
    #[must_use]
    pub fn stale(self, stale: bool) -> Self {
        Host { stale, ..self }
    }

    /// See [`Host::stale`].
    pub fn is_stale(&self) -> bool {
        self.stale
    }

    /// Connects to the daemon.
    ///
    /// # Errors
    /// [`CliError::Unreachable`] when nobody listens there.
    pub async fn connect(&self) -> Result<Client> {
        // Done by hand: tonic buries what the socket said.
        let first = UnixStream::connect(&self.path).await;
        let first = first.map_err(|source| CliError::Unreachable {
            host: self.text.clone(),
            hint: match source.kind() {
                std::io::ErrorKind::PermissionDenied => ", and use it as root",
                _ => "",
            },
            source,
        })?;
        // Where it breaks there is another one.
        let mut first = Some(first);
        let path = self.path.clone();
        let connector = service_fn(move |_| {
            let (first, path) = (first.take(), path.clone());
            async move {
                let stream = match first {
                    Some(stream) => stream,
                    None => UnixStream::connect(path).await?,
                };
                Ok::<_, std::io::Error>(TokioIo::new(stream))
            }
        });
        // The name stands in for the host that HTTP/2 wants.
        let channel = Endpoint::from_static("http://skep")
            .connect_with_connector(connector)
            .await
            .with_context(|| format!("cannot talk to the daemon at {}", self.text))?;
        Ok(Client {
            channel,
            stale: self.stale,
        })
    }
}

/// A connection to the daemon. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    channel: Channel,
    /// Reads are answered by this node's manager alone.
    stale: bool,
}

impl Client {
    /// The swarm, as far as this node's manager (or the one it knows) serves it.
    pub fn control(&self) -> ControlClient<Channel> {
        ControlClient::new(self.channel.clone())
            .max_decoding_message_size(MESSAGE_MAX_BYTES)
            .max_encoding_message_size(MESSAGE_MAX_BYTES)
    }

    /// The node itself.
    pub fn node(&self) -> LocalNodeClient<Channel> {
        LocalNodeClient::new(self.channel.clone())
            .max_decoding_message_size(MESSAGE_MAX_BYTES)
            .max_encoding_message_size(MESSAGE_MAX_BYTES)
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
        let answer = self.node().info(pb::InfoRequest {}).await;
        Ok(answer.map_err(CliError::from)?.into_inner())
    }

    /// Id of this node; `None` while it is in no swarm.
    pub async fn self_id(&self) -> Result<Option<NodeId>> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_named_with_and_without_scheme() -> Result<()> {
        assert_eq!(
            Host::parse("/run/a.sock")?,
            Host::parse("unix:///run/a.sock")?
        );
        for text in ["", "tcp://1.2.3.4:2375", "run/a.sock", "unix://a"] {
            assert!(Host::parse(text).is_err(), "{text}");
        }
        Ok(())
    }

    #[tokio::test]
    async fn a_command_connects_once() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("skep.sock");
        let daemon = tokio::net::UnixListener::bind(&path)?;
        let host = Host::parse(&path.display().to_string())?;
        let _client = host.connect().await?;
        daemon.accept().await?;
        let second = tokio::time::timeout(Duration::from_millis(50), daemon.accept());
        assert!(second.await.is_err(), "there is a second connection");
        Ok(())
    }

    #[tokio::test]
    async fn a_daemon_that_is_not_there_is_said_plainly() -> Result<()> {
        let host = Host::parse("unix:///nonexistent/skep.sock")?;
        let error = host.connect().await.err().context("it answered")?;
        assert_eq!(
            crate::error::message(&error).as_deref(),
            Some(
                "cannot reach the skep daemon at unix:///nonexistent/skep.sock: is it running? \
                 start it with `skep daemon`: No such file or directory (os error 2)"
            )
        );
        Ok(())
    }
}

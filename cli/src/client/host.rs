//! Whom a command speaks to: the daemon of this machine over its socket, or the managers of
//! a swarm over the network, as a client of it. Which of them is asked for: `place.rs`.

use super::{Client, Manager, connection};
use crate::error::{CliError, usage};
use anyhow::{Context as _, Result};
use hyper_util::rt::TokioIo;
use skep_manager_ca::{ClientKey, explain_to_client};
use skep_proto::{id, pb};
use skep_types::with_causes;
use std::error::Error as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::net::UnixStream;
use tonic::Status;
use tonic::transport::Endpoint;
use tower::service_fn;

/// Where the daemon listens unless told otherwise.
pub const DEFAULT_HOST: &str = "unix:///run/skep/skep.sock";
/// Where managers listen unless told otherwise.
const PORT: u16 = 2377;
/// How long a manager may take to say who it is.
const ANSWER: Duration = Duration::from_secs(5);

/// Whom a command speaks to.
#[derive(Debug, Clone)]
pub struct Host {
    text: String,
    way: Way,
    stale: bool,
}

#[derive(Debug, Clone)]
enum Way {
    Socket(PathBuf),
    /// The first of them that answers.
    Managers {
        addresses: Vec<String>,
        key: Arc<ClientKey>,
    },
}

impl Host {
    /// Reads `unix:///path` (a bare absolute path is taken for one) or
    /// `tcp://HOST[:PORT][,HOST[:PORT]]...`, for which `file`, that of a client, is needed.
    ///
    /// # Errors
    /// For every other kind of address, and for a file that is none.
    pub fn parse(text: &str, file: Option<&str>) -> Result<Self> {
        let way = match text.strip_prefix("tcp://") {
            Some(managers) => Way::Managers {
                addresses: addresses(managers).map_err(|bad| not_a_host(text, &bad))?,
                key: Arc::new(ClientKey::from_pem(file.ok_or_else(|| {
                    usage(format!(
                        "{text} takes the certificate of a client: name its file with --cert or \
                         SKEP_CERT. An admin of the swarm makes one: skep swarm client create NAME"
                    ))
                })?)?),
            },
            None => {
                let path = text.strip_prefix("unix://").unwrap_or(text);
                if !path.starts_with('/') {
                    return Err(not_a_host(text, "it has none of these forms"));
                }
                Way::Socket(PathBuf::from(path))
            }
        };
        let text = match &way {
            Way::Socket(path) => format!("unix://{}", path.display()),
            Way::Managers { .. } => text.to_owned(),
        };
        Ok(Host {
            text,
            way,
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

    /// As it is written.
    #[cfg(test)]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The client as whom managers are asked; `None` for a socket.
    pub fn client(&self) -> Option<&ClientKey> {
        match &self.way {
            Way::Socket(_) => None,
            Way::Managers { key, .. } => Some(key),
        }
    }

    /// Connects.
    ///
    /// # Errors
    /// [`CliError::Unreachable`] and [`CliError::NoManager`] when nobody answers there, and
    /// what a manager says that does not let this client in.
    pub async fn connect(&self) -> Result<Client> {
        match &self.way {
            Way::Socket(path) => self.to_socket(path.clone()).await,
            Way::Managers { addresses, key } => self.to_managers(addresses, key).await,
        }
    }

    async fn to_socket(&self, path: PathBuf) -> Result<Client> {
        // Done by hand: tonic buries what the socket said.
        let first = UnixStream::connect(&path).await;
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
        Ok(Client::new(channel, self.stale, None))
    }

    async fn to_managers(&self, addresses: &[String], key: &ClientKey) -> Result<Client> {
        key.check_time(SystemTime::now())?;
        let mut problems = Vec::new();
        for address in addresses {
            let channel = skep_transport::connect(address, key.config()?)?;
            // Nothing is asked for but who is there, which the manager itself knows.
            let hello = pb::ReadRequest {
                stale: true,
                ..pb::ReadRequest::default()
            };
            let mut control = connection(channel.clone());
            match tokio::time::timeout(ANSWER, control.read(hello)).await {
                Ok(Ok(answer)) => {
                    let manager = Manager {
                        node: id(&answer.into_inner().asked, "read.asked")?,
                        address: address.clone(),
                    };
                    return Ok(Client::new(channel, self.stale, Some(manager)));
                }
                Ok(Err(status)) => problems.push(format!("{address}: {}", words(&status))),
                Err(_) => problems.push(format!("{address} does not answer")),
            }
        }
        Err(CliError::NoManager {
            host: self.text.clone(),
            reason: problems.join("; "),
        }
        .into())
    }
}

/// What came of asking a manager, in words for a client.
fn words(status: &Status) -> String {
    let source = status.source();
    if let Some(words) = source.and_then(explain_to_client) {
        return words;
    }
    with_causes(status.message(), source)
}

fn not_a_host(text: &str, reason: &str) -> anyhow::Error {
    usage(format!(
        "{text:?} cannot be spoken to: {reason}; write unix:///path/to/skep.sock, or \
         tcp://HOST[:PORT] for a manager of a swarm"
    ))
}

/// The addresses of managers in a list of them.
fn addresses(text: &str) -> Result<Vec<String>, String> {
    let read = |one: &str| {
        let address = with_port(one);
        let wrong = |c: char| c.is_whitespace() || "/@?#".contains(c);
        let has_host = one.starts_with('[') || !one.starts_with(':');
        match !one.is_empty() && has_host && !one.contains(wrong) {
            true => Ok(address),
            false => Err(format!("{one:?} is no address of a manager")),
        }
    };
    text.split(',').map(read).collect()
}

/// An address with the port of managers where it has none.
pub fn with_port(address: &str) -> String {
    let has_port = match address.rsplit_once(':') {
        Some((host, port)) => {
            port.parse::<u16>().is_ok() && (!host.contains(':') || host.ends_with(']'))
        }
        None => false,
    };
    match has_port {
        true => address.to_owned(),
        false if address.contains(':') && !address.starts_with('[') => {
            format!("[{address}]:{PORT}")
        }
        false => format!("{address}:{PORT}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_get_swarms_port() {
        for (given, whole) in [
            ("10.0.0.1", "10.0.0.1:2377"),
            ("10.0.0.1:2400", "10.0.0.1:2400"),
            ("host", "host:2377"),
            ("fd00::1", "[fd00::1]:2377"),
            ("[fd00::1]", "[fd00::1]:2377"),
            ("[fd00::1]:2400", "[fd00::1]:2400"),
        ] {
            assert_eq!(with_port(given), whole);
        }
    }

    #[test]
    fn a_socket_is_named_with_and_without_scheme() -> Result<()> {
        assert_eq!(
            Host::parse("/run/a.sock", None)?.text(),
            Host::parse("unix:///run/a.sock", None)?.text()
        );
        for text in ["", "http://1.2.3.4:2375", "run/a.sock", "unix://a"] {
            let refused = Host::parse(text, None).err().context("taken")?;
            assert!(refused.to_string().contains("write unix:///"), "{refused}");
        }
        Ok(())
    }

    #[test]
    fn managers_are_named_by_a_list_and_take_a_certificate() -> Result<()> {
        let read = |text: &str| addresses(text).map(|found| found.join(" "));
        assert_eq!(read("a"), Ok("a:2377".to_owned()));
        assert_eq!(read("a:1,[fd00::1]:2"), Ok("a:1 [fd00::1]:2".to_owned()));
        for wrong in ["", ",", "a,", ":2377", "a/b", "a b", "me@a"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        let refused = Host::parse("tcp://a", None).err().context("taken")?;
        assert!(refused.to_string().contains("--cert"), "{refused}");
        let refused = Host::parse("tcp://a", Some("no PEM")).err();
        let refused = refused.context("taken")?.to_string();
        assert!(refused.contains("skep swarm client create"), "{refused}");
        Ok(())
    }

    #[tokio::test]
    async fn a_command_connects_once() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("skep.sock");
        let daemon = tokio::net::UnixListener::bind(&path)?;
        let host = Host::parse(&path.display().to_string(), None)?;
        let _client = host.connect().await?;
        daemon.accept().await?;
        let second = tokio::time::timeout(Duration::from_millis(50), daemon.accept());
        assert!(second.await.is_err(), "there is a second connection");
        Ok(())
    }

    #[tokio::test]
    async fn a_daemon_that_is_not_there_is_said_plainly() -> Result<()> {
        let host = Host::parse("unix:///nonexistent/skep.sock", None)?;
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

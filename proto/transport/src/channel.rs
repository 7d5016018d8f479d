//! Channels to other nodes.

use crate::network::{Connection, Network, Tcp};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint, Uri};

/// How long a TCP connection and its handshake may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// A silent host must not hold a call for ever.
static PROMPT: Probes = Probes {
    after: Duration::from_millis(1500),
    timeout: Duration::from_secs(1),
};
/// For who finds out by calls of its own whether the peer is there.
static PATIENT: Probes = Probes {
    after: Duration::from_secs(10),
    timeout: Duration::from_secs(10),
};
/// How long it is news that no connection could be made.
const FRESH: Duration = Duration::from_millis(250);
/// How long a connection may lie unused that nobody waited for. The peer may have gone.
const UNUSED: Duration = Duration::from_secs(5);

/// How it is found out that a peer is gone that said nothing.
#[derive(Debug, Clone, Copy)]
pub struct Probes {
    /// A connection on which nothing is heard for this long is probed.
    pub after: Duration,
    /// It is given up when the probe is not answered in this time.
    pub timeout: Duration,
}

/// An address no channel can be made for.
#[derive(Debug, thiserror::Error)]
#[error("{address:?} is not an address of the form HOST:PORT")]
pub struct ChannelError {
    /// The address as given.
    pub address: String,
}

/// A channel that connects over TCP when first used, and again whenever it
/// breaks.
///
/// # Errors
/// When the address is not `HOST:PORT`.
pub fn connect(address: &str, tls: Arc<ClientConfig>) -> Result<Channel, ChannelError> {
    connect_over(Tcp::network(), address, tls, &PROMPT)
}

fn connect_over(
    network: Arc<dyn Network>,
    address: &str,
    tls: Arc<ClientConfig>,
    probes: &'static Probes,
) -> Result<Channel, ChannelError> {
    let bad = || ChannelError {
        address: address.to_owned(),
    };
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .map_err(|_| bad())?
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(probes.after)
        .keep_alive_timeout(probes.timeout)
        .keep_alive_while_idle(true);
    let connector = TlsConnector::from(tls);
    let dial = move |uri: Uri| {
        let (network, connector) = (network.clone(), connector.clone());
        fresh(move || dialled(network.clone(), connector.clone(), uri.clone()))
    };
    Ok(endpoint.connect_with_connector_lazy(tower::service_fn(dial)))
}

type Tls = TokioIo<TlsStream<Connection>>;

/// Connects and does the handshake.
async fn dialled(
    network: Arc<dyn Network>,
    connector: TlsConnector,
    uri: Uri,
) -> std::io::Result<Tls> {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let port = uri.port_u16().unwrap_or(0);
    let dialled = async {
        let stream = network.dial(host, port).await?;
        // Peers are known by the role in their certificate, not by the name they
        // are reached at.
        let name = ServerName::try_from("skep")
            .map_err(|error| std::io::Error::other(error.to_string()))?;
        let stream = connector.connect(name, stream).await?;
        Ok(TokioIo::new(stream))
    };
    match tokio::time::timeout(CONNECT_TIMEOUT, dialled).await {
        Ok(result) => result,
        Err(_) => Err(std::io::Error::new(
            std::io::ErrorKind::TimedOut,
            format!("no answer from {host}:{port} within {CONNECT_TIMEOUT:?}"),
        )),
    }
}

/// What `dial` comes to, dialled again if that is old when somebody asks for it.
///
/// A channel goes on with its connection only while a call waits for it. If all calls
/// give up, the half-made one lies there, and the next call, minutes later, would be
/// told that its handshake took too long.
async fn fresh<T, D>(dial: impl Fn() -> D) -> std::io::Result<T>
where
    T: Send + 'static,
    D: Future<Output = std::io::Result<T>> + Send + 'static,
{
    loop {
        let dialled = dial();
        let mut attempt = JoinSet::new();
        attempt.spawn(async { (dialled.await, Instant::now()) });
        match attempt.join_next().await {
            Some(Ok((Ok(made), at))) if at.elapsed() < UNUSED => return Ok(made),
            Some(Ok((Err(error), at))) if at.elapsed() < FRESH => return Err(error),
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(std::io::Error::other(error)),
            None => {}
        }
    }
}

/// Channels by address, made once each. Cheap to clone.
#[derive(Clone)]
pub struct Channels {
    network: Arc<dyn Network>,
    tls: Arc<ClientConfig>,
    probes: &'static Probes,
    open: Arc<Mutex<HashMap<String, Channel>>>,
}

impl Channels {
    /// No channels yet; all will use this configuration, over TCP.
    pub fn new(tls: Arc<ClientConfig>) -> Self {
        Channels::over(Tcp::network(), tls)
    }

    /// No channels yet; all will go over this network.
    pub fn over(network: Arc<dyn Network>, tls: Arc<ClientConfig>) -> Self {
        Channels {
            network,
            tls,
            probes: &PROMPT,
            open: Arc::default(),
        }
    }

    /// For a caller whose own calls, such as heartbeats, tell it in time that a peer has gone.
    /// Its connections outlast a peer that is busy for some seconds, and thousands of such
    /// callers do not cost the peer a probe each.
    #[must_use]
    pub fn patient(self) -> Self {
        Channels {
            probes: &PATIENT,
            open: Arc::default(),
            ..self
        }
    }

    /// The channel to this address.
    ///
    /// # Errors
    /// When the address is not `HOST:PORT`.
    pub fn to(&self, address: &str) -> Result<Channel, ChannelError> {
        let mut open = self
            .open
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(channel) = open.get(address) {
            return Ok(channel.clone());
        }
        let channel = connect_over(self.network.clone(), address, self.tls.clone(), self.probes)?;
        open.insert(address.to_owned(), channel.clone());
        Ok(channel)
    }

    /// Forgets the channel to this address; the next one is made anew.
    pub fn forget(&self, address: &str) {
        self.open
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .remove(address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::future::poll_fn;
    use std::io::{Error, ErrorKind};
    use std::pin::pin;
    use std::task::Poll;
    use tokio::time::{advance, sleep};

    #[tokio::test(start_paused = true)]
    async fn what_nobody_waited_for_is_not_told_later() {
        let dials = Cell::new(0);
        let mut dialled = pin!(fresh(|| {
            dials.set(dials.get() + 1);
            let first = dials.get() == 1;
            async move {
                sleep(Duration::from_millis(100)).await;
                if first {
                    return Err(Error::from(ErrorKind::TimedOut));
                }
                Ok(7)
            }
        }));
        let begun = poll_fn(|cx| Poll::Ready(dialled.as_mut().poll(cx).is_pending()));
        assert!(begun.await);
        // The call that waited has given up.
        sleep(Duration::from_secs(60)).await;
        assert_eq!(dialled.await.unwrap(), 7);
        assert_eq!(dials.get(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_waited_for_is_told_at_once() {
        let refused = || async { Err::<(), _>(Error::from(ErrorKind::ConnectionRefused)) };
        let told = fresh(refused).await.unwrap_err();
        assert_eq!(told.kind(), ErrorKind::ConnectionRefused);
        advance(FRESH).await;
        assert!(fresh(|| async { Ok(1) }).await.is_ok());
    }
}

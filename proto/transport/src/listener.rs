//! Accepting other nodes' channels.

use crate::network::{Connection, Listener};
use crate::recheck::{Recheck, Watched};
use rustls::ServerConfig;
use rustls_pki_types::CertificateDer;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;

/// How long a handshake may take; a peer that says nothing holds nothing.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Handshakes under way at once; more wait in the kernel's queue.
const HANDSHAKES: usize = 256;
/// Peers of one address at once that have shown no certificate, yet or at all;
/// more are hung up on. Many nodes may share an address, behind a router, and come
/// at the same time: they try again.
const STRANGERS_OF_ONE: usize = 128;

/// What a service can know of its caller: the certificate it showed, if any,
/// and where it comes from. Found in a request's extensions.
#[derive(Debug, Clone)]
pub struct PeerConnection {
    /// Certificate of the peer, already verified; `None` when it showed none.
    pub certificate: Option<CertificateDer<'static>>,
    /// Its address.
    pub address: SocketAddr,
}

/// A connection whose handshake is done.
pub struct Secured {
    stream: TlsStream<Connection>,
    peer: PeerConnection,
    watched: Option<Watched>,
    /// Of one that has shown no certificate.
    _place: Option<Place>,
}

/// Connections of this listener, each after its handshake. Failed handshakes
/// are logged and cost nobody else anything; connections that stand end when
/// `recheck` says so. Ends when the receiver is dropped.
pub fn accept(
    mut listener: Box<dyn Listener>,
    tls: Arc<ServerConfig>,
    recheck: Option<Recheck>,
) -> ReceiverStream<std::io::Result<Secured>> {
    let (ready, connections) = mpsc::channel(16);
    let acceptor = TlsAcceptor::from(tls);
    let slots = Arc::new(Semaphore::new(HANDSHAKES));
    let places = Places::default();
    tokio::spawn(async move {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = ready.closed() => return,
            };
            let (stream, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, most likely: let some close.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            // First, so that one address cannot keep the others waiting.
            let Some(place) = places.take(address.ip()) else {
                tracing::info!(%address, "hung up on: too many come from there without a certificate");
                continue;
            };
            let Ok(slot) = slots.clone().acquire_owned().await else {
                return;
            };
            let (acceptor, ready) = (acceptor.clone(), ready.clone());
            // From before the handshake: nothing asked meanwhile is missed.
            let watched = recheck.as_ref().map(Recheck::watch);
            tokio::spawn(async move {
                let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream));
                let stream = match handshake.await {
                    Ok(Ok(stream)) => stream,
                    Ok(Err(error)) => {
                        tracing::info!(%address, %error, "handshake refused");
                        return;
                    }
                    Err(_) => {
                        tracing::info!(%address, "handshake not finished in time");
                        return;
                    }
                };
                drop(slot);
                let (_, session) = stream.get_ref();
                let certificate = session
                    .peer_certificates()
                    .and_then(|chain| chain.first())
                    .map(|certificate| certificate.clone().into_owned());
                let place = certificate.is_none().then_some(place);
                let peer = PeerConnection {
                    certificate,
                    address,
                };
                // The server is gone when this fails; so is the connection.
                let _ = ready
                    .send(Ok(Secured {
                        stream,
                        peer,
                        watched,
                        _place: place,
                    }))
                    .await;
            });
        }
    });
    ReceiverStream::new(connections)
}

/// Peers that have shown no certificate, by where they come from. Cheap to clone.
#[derive(Clone, Default)]
struct Places(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// One of them, until this is dropped.
struct Place {
    places: Places,
    of: IpAddr,
}

impl Places {
    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None` when this address has as many as it may have.
    fn take(&self, address: IpAddr) -> Option<Place> {
        let of = one(address);
        let mut taken = self.lock();
        let count = taken.entry(of).or_default();
        if *count >= STRANGERS_OF_ONE {
            return None;
        }
        *count += 1;
        let places = self.clone();
        Some(Place { places, of })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        if let Some(count) = taken.get_mut(&self.of) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.of);
            }
        }
    }
}

/// What counts as one address: whoever has one of IPv6 has a whole network.
fn one(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(six) => Ipv6Addr::from_bits(six.to_bits() >> 64 << 64).into(),
        four => four,
    }
}

impl Connected for Secured {
    type ConnectInfo = PeerConnection;
    fn connect_info(&self) -> PeerConnection {
        self.peer.clone()
    }
}

impl AsyncRead for Secured {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let this = &mut *self;
        if let (Some(watched), Some(certificate)) = (&mut this.watched, &this.peer.certificate)
            && watched.poll_cut(certificate, context)
        {
            return Poll::Ready(Err(std::io::ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut this.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Secured {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, data)
    }
    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }
    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_has_its_share_and_no_more() {
        let places = Places::default();
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let taken: Vec<_> = (0..STRANGERS_OF_ONE)
            .map(|_| places.take(address("192.0.2.1")).unwrap())
            .collect();
        assert!(places.take(address("192.0.2.1")).is_none());
        assert!(places.take(address("::ffff:192.0.2.1")).is_none());
        let other = places.take(address("192.0.2.2")).unwrap();
        drop(taken);
        drop(other);
        assert!(places.lock().is_empty());

        let networks: Vec<_> = (0..STRANGERS_OF_ONE)
            .map(|host| {
                places
                    .take(address(&format!("2001:db8::{host:x}")))
                    .unwrap()
            })
            .collect();
        assert!(places.take(address("2001:db8::ffff:1")).is_none());
        assert!(places.take(address("2001:db8:0:1::1")).is_some());
        drop(networks);
    }
}

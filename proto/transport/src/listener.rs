//! Accepting other nodes' channels.

use crate::network::{Connection, Listener};
use crate::places::{Calls, Limits, Place, Places};
use crate::recheck::{Recheck, Watched};
use rustix::process::{Resource, getrlimit};
use rustls::ServerConfig;
use rustls_pki_types::CertificateDer;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tokio::time::Sleep;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;

/// How long a handshake may take; a peer that says nothing holds nothing.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a peer may stay that shows no certificate: one that joins has a few
/// words to say, and may come again.
const STRANGER_LIFE: Duration = Duration::from_secs(30);
/// Peers of one address at once that have shown no certificate, yet or at all;
/// more are hung up on. Many nodes may share an address, behind a router, and come
/// at the same time: they try again.
const STRANGERS_OF_ONE: usize = 128;
/// Such peers of all addresses, if there are descriptors for so many.
const STRANGERS: usize = 512;
/// Connections of one node; it opens a handful. Those that it has lost sight of,
/// when its network failed, make room for new ones.
const CONNECTIONS_OF_NODE: usize = 16;
/// Descriptors that are used where there is no limit to them.
const DESCRIPTORS_MAX: u64 = 1 << 20;

/// What a service can know of its caller: the certificate it showed, if any,
/// and where it comes from. Found in a request's extensions.
#[derive(Debug, Clone)]
pub struct PeerConnection {
    /// Certificate of the peer, already verified; `None` when it showed none.
    pub certificate: Option<CertificateDer<'static>>,
    /// Its address.
    pub address: SocketAddr,
    /// Calls that it has under way: on all connections of the same node, or on this
    /// one of a stranger.
    pub calls: Calls,
}

/// A connection whose handshake is done.
pub struct Secured {
    stream: TlsStream<Connection>,
    peer: PeerConnection,
    seat: Seat,
    /// Its seat was taken away.
    ended: bool,
}

/// What lets a connection stay, until it does not any more.
enum Seat {
    Stranger {
        place: Place<IpAddr>,
        life: Pin<Box<Sleep>>,
    },
    Node {
        place: Place<Vec<u8>>,
        watched: Option<Watched>,
    },
}

/// Connections of this listener, each after its handshake. Failed handshakes
/// are logged and cost nobody else anything; connections that stand end when
/// `recheck` says so. Ends when the receiver is dropped.
///
/// There are never so many that the process runs out of descriptors.
pub fn accept(
    mut listener: Box<dyn Listener>,
    tls: Arc<ServerConfig>,
    recheck: Option<Recheck>,
) -> ReceiverStream<std::io::Result<Secured>> {
    let (ready, connections) = mpsc::channel(16);
    let (strangers, nodes) = shares(getrlimit(Resource::Nofile).current);
    let door = Door {
        acceptor: TlsAcceptor::from(tls),
        recheck,
        strangers: Places::new(strangers),
        nodes: Places::new(nodes),
        ready,
    };
    tokio::spawn(async move {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = door.ready.closed() => return,
            };
            match accepted {
                Ok((stream, address)) => door.welcome(stream, address),
                Err(error) => {
                    // Out of file descriptors, most likely: let some close.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    });
    ReceiverStream::new(connections)
}

/// How many connections there may be where a process may have so many
/// descriptors: a quarter of those is left to all else it does, its log first. Who
/// has shown a certificate gets most of the others.
fn shares(descriptors: Option<u64>) -> (Limits, Limits) {
    let descriptors = descriptors.unwrap_or(DESCRIPTORS_MAX).min(DESCRIPTORS_MAX);
    let all = usize::try_from(descriptors - descriptors / 4).unwrap_or(usize::MAX);
    let strangers = (all / 4).min(STRANGERS);
    (
        Limits {
            of_one: STRANGERS_OF_ONE,
            in_all: strangers,
            // One that is answered is not given up for one that may be nobody.
            oldest_goes: false,
        },
        Limits {
            of_one: CONNECTIONS_OF_NODE,
            in_all: all - strangers,
            oldest_goes: true,
        },
    )
}

/// What a connection has to pass. Cheap to clone.
#[derive(Clone)]
struct Door {
    acceptor: TlsAcceptor,
    recheck: Option<Recheck>,
    /// Of peers that have shown no certificate, by where they come from.
    strangers: Places<IpAddr>,
    /// Of the others, by who they are.
    nodes: Places<Vec<u8>>,
    ready: mpsc::Sender<std::io::Result<Secured>>,
}

impl Door {
    /// Begins a handshake, or hangs up. Never waits: whoever comes next is not to
    /// suffer for this one.
    fn welcome(&self, stream: Connection, address: SocketAddr) {
        match self.strangers.take(one(address.ip())) {
            Some(place) => {
                tokio::spawn(self.clone().let_in(stream, address, place));
            }
            None => {
                tracing::debug!(%address, "hung up on: too many are here without a certificate");
            }
        }
    }

    async fn let_in(self, stream: Connection, address: SocketAddr, mut place: Place<IpAddr>) {
        // From before the handshake: nothing asked meanwhile is missed.
        let watched = self.recheck.as_ref().map(Recheck::watch);
        let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, self.acceptor.accept(stream));
        let handshake = tokio::select! {
            handshake = handshake => handshake,
            () = place.lost() => {
                tracing::debug!(%address, "hung up on: others come, and most are from there");
                return;
            }
        };
        let stream = match handshake {
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
        let (_, session) = stream.get_ref();
        let shown = session.peer_certificates().and_then(|chain| chain.first());
        let certificate = shown.map(|certificate| certificate.clone().into_owned());
        let Some((seat, calls)) = self.seat(certificate.as_ref(), place, watched) else {
            tracing::warn!(
                %address,
                "hung up on a node: there are as many connections as there may be; raise the limit \
                 of open files (LimitNOFILE=)"
            );
            return;
        };
        let peer = PeerConnection {
            certificate,
            address,
            calls,
        };
        let secured = Secured {
            stream,
            peer,
            seat,
            ended: false,
        };
        // The server is gone when this fails; so is the connection.
        let _ = self.ready.send(Ok(secured)).await;
    }

    /// Whoever has shown a certificate is no stranger any more. `None` when there
    /// is no room for one more.
    fn seat(
        &self,
        certificate: Option<&CertificateDer<'static>>,
        place: Place<IpAddr>,
        watched: Option<Watched>,
    ) -> Option<(Seat, Calls)> {
        let Some(certificate) = certificate else {
            let life = Box::pin(tokio::time::sleep(STRANGER_LIFE));
            return Some((Seat::Stranger { place, life }, Calls::default()));
        };
        let owner = self.recheck.as_ref().and_then(|r| r.owner(certificate));
        // Where nobody can say, each certificate is somebody.
        let owner = owner.unwrap_or_else(|| certificate.to_vec());
        let place = self.nodes.take(owner)?;
        let calls = place.calls().clone();
        Some((Seat::Node { place, watched }, calls))
    }
}

impl Secured {
    /// An error once it may not stay. Asked by reading and writing: a peer that does
    /// not read is not read from either.
    fn poll_stays(&mut self, context: &mut Context<'_>) -> std::io::Result<()> {
        self.ended = self.ended || self.poll_ended(context);
        if self.ended {
            return Err(std::io::ErrorKind::ConnectionAborted.into());
        }
        Ok(())
    }

    /// Whether its seat is taken away; wakes the caller when it may be.
    fn poll_ended(&mut self, context: &mut Context<'_>) -> bool {
        match (&mut self.seat, &self.peer.certificate) {
            (Seat::Stranger { place, life }, _) => {
                place.poll_lost(context) || life.as_mut().poll(context).is_ready()
            }
            (Seat::Node { place, watched }, certificate) => {
                place.poll_lost(context)
                    || watched
                        .as_mut()
                        .zip(certificate.as_ref())
                        .is_some_and(|(watched, shown)| watched.poll_cut(shown, context))
            }
        }
    }
}

/// What counts as one address: whoever has one of IPv6 has a whole site.
fn one(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(six) => Ipv6Addr::from_bits(six.to_bits() >> 80 << 80).into(),
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
        self.poll_stays(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Secured {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.poll_stays(context)?;
        Pin::new(&mut self.stream).poll_write(context, data)
    }
    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        self.poll_stays(context)?;
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
    fn whoever_has_one_address_of_ipv6_has_all_of_its_site() {
        let one = |text: &str| one(text.parse().unwrap());
        assert_eq!(one("192.0.2.1"), one("::ffff:192.0.2.1"));
        assert_ne!(one("192.0.2.1"), one("192.0.2.2"));
        assert_eq!(one("2001:db8::1"), one("2001:db8:0:1::ffff:1"));
        assert_ne!(one("2001:db8::1"), one("2001:db8:1::1"));
    }

    #[test]
    fn there_are_descriptors_left_however_many_come() {
        for descriptors in [256, 1024, 20_000, 1 << 30] {
            let (strangers, nodes) = shares(Some(descriptors));
            let all = (strangers.in_all + nodes.in_all) as u64;
            assert!(all <= descriptors - descriptors / 4, "{descriptors}: {all}");
            assert!(strangers.in_all > 0 && nodes.in_all >= 3 * strangers.in_all);
        }
        // Room for ten thousand agents under the limits that are usual.
        assert!(shares(Some(1 << 19)).1.in_all > 20_000);
    }

    /// Has no descriptors left at first, then one caller, who says nothing.
    struct Short {
        errors: usize,
        caller: Option<Connection>,
    }

    #[async_trait::async_trait]
    impl Listener for Short {
        async fn accept(&mut self) -> std::io::Result<(Connection, SocketAddr)> {
            if self.errors > 0 {
                self.errors -= 1;
                // What accept(2) says of EMFILE.
                return Err(std::io::Error::from_raw_os_error(24));
            }
            match self.caller.take() {
                Some(caller) => Ok((caller, SocketAddr::from(([192, 0, 2, 1], 1)))),
                None => std::future::pending().await,
            }
        }
    }

    fn server_config() -> Arc<ServerConfig> {
        let own = rcgen::generate_simple_self_signed(["skep".to_owned()]).unwrap();
        let key = rustls_pki_types::PrivatePkcs8KeyDer::from(own.signing_key.serialize_der());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![own.cert.der().clone()], key.into());
        Arc::new(config.unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn without_descriptors_it_waits_for_some_and_goes_on() {
        let (mut caller, accepted) = tokio::io::duplex(1024);
        let listener = Short {
            errors: 20,
            caller: Some(Box::new(accepted)),
        };
        let begun = tokio::time::Instant::now();
        let _secured = accept(Box::new(listener), server_config(), None);
        // It is hung up on, as it says nothing.
        let read = tokio::io::AsyncReadExt::read(&mut caller, &mut [0; 16]).await;
        assert_eq!(read.unwrap(), 0);
        let waited = begun.elapsed();
        assert!(waited >= 20 * Duration::from_millis(100) + HANDSHAKE_TIMEOUT);
    }
}

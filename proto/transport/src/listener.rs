//! Accepting other nodes' channels.

use rustls::ServerConfig;
use rustls_pki_types::CertificateDer;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;

/// How long a handshake may take; a peer that says nothing holds nothing.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Handshakes under way at once; more wait in the kernel's queue.
const HANDSHAKES: usize = 256;

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
    stream: TlsStream<TcpStream>,
    peer: PeerConnection,
}

/// Connections of this listener, each after its handshake. Failed handshakes
/// are logged and cost nobody else anything. Ends when the receiver is dropped.
pub fn accept(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
) -> ReceiverStream<std::io::Result<Secured>> {
    let (ready, connections) = mpsc::channel(16);
    let acceptor = TlsAcceptor::from(tls);
    let slots = Arc::new(Semaphore::new(HANDSHAKES));
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
            let Ok(slot) = slots.clone().acquire_owned().await else {
                return;
            };
            let (acceptor, ready) = (acceptor.clone(), ready.clone());
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
                let (tcp, session) = stream.get_ref();
                // Small control messages must not wait for acknowledgements.
                if let Err(error) = tcp.set_nodelay(true) {
                    tracing::debug!(%address, %error, "cannot set TCP_NODELAY");
                }
                let certificate = session
                    .peer_certificates()
                    .and_then(|chain| chain.first())
                    .map(|certificate| certificate.clone().into_owned());
                let peer = PeerConnection {
                    certificate,
                    address,
                };
                // The server is gone when this fails; so is the connection.
                let _ = ready.send(Ok(Secured { stream, peer })).await;
            });
        }
    });
    ReceiverStream::new(connections)
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
        Pin::new(&mut self.stream).poll_read(context, buffer)
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

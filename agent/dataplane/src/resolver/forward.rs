//! Questions the cluster cannot answer, passed on as they are to the name servers of the node.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

/// How long one server may take before the next is asked.
const PATIENCE: Duration = Duration::from_secs(2);

/// Asks one server after the other; none answers, none is given.
pub(super) async fn forward(
    question: &[u8],
    upstream: &[SocketAddr],
    tcp: bool,
) -> Option<Vec<u8>> {
    for server in upstream {
        let asking = async {
            if tcp {
                ask_tcp(question, *server).await
            } else {
                ask_udp(question, *server).await
            }
        };
        match timeout(PATIENCE, asking).await {
            Ok(Ok(answer)) => return Some(answer),
            Ok(Err(error)) => tracing::debug!(%server, %error, "name server failed"),
            Err(_) => tracing::debug!(%server, "name server did not answer in time"),
        }
    }
    None
}

/// Over a socket of its own, so that the kernel chooses a port nobody can guess, under an id of our own.
async fn ask_udp(question: &[u8], server: SocketAddr) -> io::Result<Vec<u8>> {
    let own: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let (id, rest) = question
        .split_at_checked(2)
        .ok_or(io::ErrorKind::InvalidData)?;
    let socket = UdpSocket::bind(own).await?;
    socket.connect(server).await?;
    let secret: [u8; 2] = rand::random();
    socket.send(&[&secret, rest].concat()).await?;
    let mut buffer = vec![0; 65_535];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if length >= 12 && buffer[..2] == secret {
            buffer.truncate(length);
            buffer[..2].copy_from_slice(id);
            return Ok(buffer);
        }
    }
}

async fn ask_tcp(question: &[u8], server: SocketAddr) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    write_framed(&mut stream, question).await?;
    read_framed(&mut stream).await
}

/// Reads one message with its length before it.
pub(super) async fn read_framed(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = stream.read_u16().await?;
    let mut message = vec![0; usize::from(length)];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

/// Writes one message with its length before it.
pub(super) async fn write_framed(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(|_| io::ErrorKind::InvalidData)?;
    stream
        .write_all(&[&length.to_be_bytes(), message].concat())
        .await
}

//! What channels and listeners stand on: byte streams between addresses.
//!
//! TCP in every node. A simulation puts its own network in its place, so that
//! all above it (handshakes, gRPC, reconnecting) runs as it does in a node.

use async_trait::async_trait;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

/// A connection: bytes in both directions, in order.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for T {}

/// A connection of any network.
pub type Connection = Box<dyn ByteStream>;

/// Makes connections. What is dialled is not yet trusted.
#[async_trait]
pub trait Network: Send + Sync {
    /// Connects to a host, by name or address.
    ///
    /// # Errors
    /// When nobody answers there. May wait for as long as the network does.
    async fn dial(&self, host: &str, port: u16) -> io::Result<Connection>;

    /// Takes connections at this address from now on, until it is dropped.
    ///
    /// # Errors
    /// When the address is taken or is none of this node's.
    async fn listen(&self, address: SocketAddr) -> io::Result<Box<dyn Listener>>;
}

/// Takes connections.
#[async_trait]
pub trait Listener: Send {
    /// The next connection and where it comes from. May be cancelled.
    ///
    /// # Errors
    /// One that passes; others may come.
    async fn accept(&mut self) -> io::Result<(Connection, SocketAddr)>;
}

/// TCP, as a node uses it.
pub struct Tcp;

impl Tcp {
    /// A handle to share.
    pub fn network() -> Arc<dyn Network> {
        Arc::new(Tcp)
    }
}

/// Small control messages must not wait for acknowledgements.
fn prompt(stream: TcpStream) -> io::Result<Connection> {
    stream.set_nodelay(true)?;
    Ok(Box::new(stream))
}

#[async_trait]
impl Network for Tcp {
    async fn dial(&self, host: &str, port: u16) -> io::Result<Connection> {
        prompt(TcpStream::connect((host, port)).await?)
    }

    async fn listen(&self, address: SocketAddr) -> io::Result<Box<dyn Listener>> {
        Ok(Box::new(TcpListener::bind(address).await?))
    }
}

#[async_trait]
impl Listener for TcpListener {
    async fn accept(&mut self) -> io::Result<(Connection, SocketAddr)> {
        let (stream, address) = TcpListener::accept(self).await?;
        Ok((prompt(stream)?, address))
    }
}

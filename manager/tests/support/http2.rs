//! HTTP/2 by hand, to say what no library would.

use rustls::ClientConfig;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RESET: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const CONTINUATION: u8 = 9;
pub const END_HEADERS: u8 = 4;
pub const ACK: u8 = 1;

/// A frame of HTTP/2.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// The headers of a call that goes on sending.
pub fn call(path: &str) -> Vec<u8> {
    // POST, https, and the rest written out.
    let mut headers = vec![0x83, 0x87];
    for (name, value) in [
        (":path", path),
        (":authority", "skep"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ] {
        headers.push(0);
        for text in [name, value] {
            headers.push(u8::try_from(text.len()).unwrap());
            headers.extend(text.as_bytes());
        }
    }
    headers
}

/// The next frame: its kind, flags, stream and content. `None` when there is none.
pub async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Option<(u8, u8, u32, Vec<u8>)> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.ok()?;
    let [a, b, c, kind, flags, id @ ..] = head;
    let mut content = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
    stream.read_exact(&mut content).await.ok()?;
    Some((kind, flags, u32::from_be_bytes(id), content))
}

/// The kind and the stream of the next frame, by a peer that shows that it lives.
pub async fn next(stream: &mut TlsStream<TcpStream>) -> Option<(u8, u32)> {
    let (kind, flags, id, content) = read(stream).await?;
    if kind == PING && flags == 0 {
        // The other side may hang up meanwhile.
        let _ = stream.write_all(&frame(PING, ACK, 0, &content)).await;
        let _ = stream.flush().await;
    }
    Some((kind, id))
}

/// Stays until the other side hangs up.
pub async fn stay(mut stream: TlsStream<TcpStream>) {
    while next(&mut stream).await.is_some() {}
}

/// A connection on which nothing of HTTP/2 was said yet.
pub async fn tls(address: &str, config: Arc<ClientConfig>) -> TlsStream<TcpStream> {
    let mut config = ClientConfig::clone(&config);
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = TcpStream::connect(address).await.unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    let name = "skep".try_into().unwrap();
    connector.connect(name, stream).await.unwrap()
}

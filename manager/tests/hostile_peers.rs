//! What a node that has a certificate may send to the port of a manager that it
//! should not: it is refused, nothing panics, and others are served.

mod support;

use skep_manager_ca::Credentials;
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::{Session, Swarm};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

const SOON: Duration = Duration::from_secs(20);

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// The headers of a call that goes on sending.
fn call(path: &str) -> Vec<u8> {
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

async fn tls(swarm: &Swarm, node: &Arc<Credentials>) -> TlsStream<TcpStream> {
    let mut config = (*node.client_config().unwrap()).clone();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = TcpStream::connect(&swarm.address).await.unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    let name = "skep".try_into().unwrap();
    connector.connect(name, stream).await.unwrap()
}

/// Sends all of it and reads what comes meanwhile, until the other side hangs up.
async fn hung_up_on(stream: TlsStream<TcpStream>, what: &str, bytes: Vec<u8>) {
    let (mut read, mut write) = tokio::io::split(stream);
    let sending = tokio::spawn(async move {
        // It may hang up before all is sent.
        let _ = write.write_all(&bytes).await;
        let _ = write.flush().await;
        write
    });
    let mut buffer = vec![0; 1 << 16];
    let ended = tokio::time::timeout(SOON, async {
        while matches!(read.read(&mut buffer).await, Ok(read) if read > 0) {}
    });
    assert!(ended.await.is_ok(), "still open after {what}");
    drop(sending.await.unwrap());
}

/// Whether an honest node is served; in a new session, where a busy machine lost it.
async fn is_heard(session: &mut Session, swarm: &Swarm, node: &Arc<Credentials>) {
    let deadline = Instant::now() + SOON;
    while let Err(lost) = session.beat().await {
        assert!(Instant::now() < deadline, "{lost}");
        if let Ok(again) = Session::open(&swarm.address, node).await {
            *session = again;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_http_is_hung_up_on() {
    let swarm = Swarm::start().await;
    let worker = swarm.add_worker().await;
    let honest = swarm.add_worker().await;
    let mut session = Session::open(&swarm.address, &honest).await.unwrap();
    let begun = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
    let garbage: Vec<u8> = (0..300_000_u32).map(|n| (n * 31 % 251) as u8).collect();
    let path = "/skep.v1.Dispatcher/Heartbeat";

    let after = |rest: &[u8]| [&begun, rest].concat();
    let mut endless = frame(HEADERS, 0, 1, &call(path));
    let more = frame(CONTINUATION, 0, 1, &[0; 16_000]);
    (0..1000).for_each(|_| endless.extend(&more));
    let mut resets = Vec::new();
    for stream in (1..100_000).step_by(2) {
        resets.extend(frame(HEADERS, END_HEADERS, stream, &call(path)));
        resets.extend(frame(RESET, 0, stream, &[0, 0, 0, 8]));
    }
    for (what, bytes) in [
        ("garbage", garbage.clone()),
        ("garbage instead of frames", after(&garbage)),
        (
            "a frame too large",
            after(&frame(DATA, 0, 1, &[0; 1 << 20])),
        ),
        ("settings of a stream", after(&frame(SETTINGS, 0, 7, &[]))),
        ("a ping of no length", after(&frame(PING, 0, 0, &[]))),
        ("data of no stream", after(&frame(DATA, 0, 0, &[1; 100]))),
        ("headers that never end", after(&endless)),
        ("calls that are taken back", after(&resets)),
    ] {
        hung_up_on(tls(&swarm, &worker).await, what, bytes).await;
        is_heard(&mut session, &swarm, &honest).await;
    }
    swarm.manager.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_calls_on_one_connection_are_refused_beyond_a_limit() {
    let swarm = Swarm::start().await;
    let worker = swarm.add_worker().await;
    let honest = swarm.add_worker().await;
    let mut session = Session::open(&swarm.address, &honest).await.unwrap();
    let (mut read, mut write) = tokio::io::split(tls(&swarm, &worker).await);
    let calls = 3000_u32;
    let sending = tokio::spawn(async move {
        let mut bytes = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
        for n in 0..calls {
            // Lines of logs that never come.
            let headers = call("/skep.v1.Dispatcher/PublishLogs");
            bytes.extend(frame(HEADERS, END_HEADERS, 2 * n + 1, &headers));
        }
        write.write_all(&bytes).await.unwrap();
        write.flush().await.unwrap();
        write
    });
    // Those beyond the limit are refused, one by one or all with the connection.
    let mut refused = 0;
    let enough = async {
        while refused < calls - 1024 {
            let mut head = [0; 9];
            if read.read_exact(&mut head).await.is_err() {
                return;
            }
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; length as usize];
            if read.read_exact(&mut payload).await.is_err() {
                return;
            }
            refused += u32::from(head[3] == RESET);
        }
    };
    let enough = tokio::time::timeout(SOON, enough).await;
    enough.expect("so many calls go on");
    is_heard(&mut session, &swarm, &honest).await;
    drop(sending.await.unwrap());
    is_heard(&mut session, &swarm, &honest).await;
    swarm.manager.stop().await;
}

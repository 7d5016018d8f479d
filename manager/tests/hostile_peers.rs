//! What a node that has a certificate may send to the port of a manager that it
//! should not: it is refused, nothing panics, and others are served.

mod support;

use skep_manager_ca::Credentials;
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::http2::{
    self, CONTINUATION, DATA, END_HEADERS, HEADERS, PING, PREFACE, RESET, SETTINGS, call, frame,
};
use support::{Session, Swarm};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

const SOON: Duration = Duration::from_secs(20);

async fn tls(swarm: &Swarm, node: &Arc<Credentials>) -> TlsStream<TcpStream> {
    http2::tls(&swarm.address, node.client_config().unwrap()).await
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
            let Some((kind, ..)) = http2::read(&mut read).await else {
                return;
            };
            refused += u32::from(kind == RESET || kind == HEADERS);
        }
    };
    let enough = tokio::time::timeout(SOON, enough).await;
    enough.expect("so many calls go on");
    is_heard(&mut session, &swarm, &honest).await;
    drop(sending.await.unwrap());
    is_heard(&mut session, &swarm, &honest).await;
    swarm.manager.stop().await;
}

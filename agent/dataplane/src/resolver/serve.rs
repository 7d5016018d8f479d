//! The loops behind a container's two sockets. What a container can make the daemon hold is bounded.

use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use skep_types::TaskId;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Shared;
use super::answer::{Outcome, answer, refusal};
use super::forward::{forward, read_framed, write_framed};
use super::upstream::servers;

/// Questions of one container under way to other servers.
const UNDER_WAY: usize = 256;
/// Its TCP connections.
const CONNECTIONS: usize = 32;
/// How long a TCP connection may stay silent.
const IDLE: Duration = Duration::from_secs(10);

/// Serves a task until the future is dropped.
pub(super) async fn serve(shared: Arc<Shared>, task: TaskId, udp: UdpSocket, tcp: TcpListener) {
    tokio::join!(
        serve_udp(&shared, task, Arc::new(udp)),
        serve_tcp(&shared, task, tcp)
    );
}

async fn serve_udp(shared: &Arc<Shared>, task: TaskId, socket: Arc<UdpSocket>) {
    let under_way = Arc::new(Semaphore::new(UNDER_WAY));
    let mut forwarding = JoinSet::new();
    let mut buffer = vec![0; 65_535];
    loop {
        while forwarding.try_join_next().is_some() {}
        let (length, from) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            Err(error) => {
                // An ICMP answer to an earlier reply; the socket itself is fine.
                tracing::debug!(%task, %error, "resolver could not receive");
                tokio::task::yield_now().await;
                continue;
            }
        };
        let question = &buffer[..length];
        match local(shared, task, question, false) {
            Outcome::Reply(reply) => {
                let _ = socket.send_to(&reply, from).await;
            }
            Outcome::Ignore => {}
            Outcome::Forward => {
                let Ok(permit) = Arc::clone(&under_way).try_acquire_owned() else {
                    continue;
                };
                let (shared, socket, question) =
                    (Arc::clone(shared), Arc::clone(&socket), question.to_vec());
                forwarding.spawn(async move {
                    if let Some(reply) = elsewhere(&shared, task, &question, false).await {
                        let _ = socket.send_to(&reply, from).await;
                    }
                    drop(permit);
                });
            }
        }
    }
}

async fn serve_tcp(shared: &Arc<Shared>, task: TaskId, listener: TcpListener) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS));
    let mut talking = JoinSet::new();
    loop {
        while talking.try_join_next().is_some() {}
        let Ok(permit) = Arc::clone(&connections).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let shared = Arc::clone(shared);
                talking.spawn(async move {
                    talk(&shared, task, stream).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::debug!(%task, %error, "resolver could not accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn talk(shared: &Shared, task: TaskId, mut stream: TcpStream) {
    while let Ok(Ok(question)) = timeout(IDLE, read_framed(&mut stream)).await {
        let reply = match local(shared, task, &question, true) {
            Outcome::Reply(reply) => Some(reply),
            Outcome::Ignore => None,
            Outcome::Forward => elsewhere(shared, task, &question, true).await,
        };
        let Some(reply) = reply else { return };
        if !matches!(
            timeout(IDLE, write_framed(&mut stream, &reply)).await,
            Ok(Ok(()))
        ) {
            return;
        }
    }
}

fn local(shared: &Shared, task: TaskId, question: &[u8], tcp: bool) -> Outcome {
    match shared.names() {
        Some(names) => answer(&names, task, question, tcp),
        None => refusal(question, ResponseCode::ServFail, tcp),
    }
}

/// What others say; a failure where there is nobody to ask, nobody answers or the container is kept inside.
/// Never "no such name": nobody said that, and whoever asked would believe it.
async fn elsewhere(shared: &Shared, task: TaskId, question: &[u8], tcp: bool) -> Option<Vec<u8>> {
    let names = shared.names()?;
    let endpoint = names.endpoints.get(&task)?;
    if endpoint.egress {
        let reply = match endpoint.dns_servers.as_slice() {
            [] => forward(question, &servers(&shared.resolv_conf).await, tcp).await,
            own => forward(question, own, tcp).await,
        };
        if reply.is_some() {
            return reply;
        }
    }
    match refusal(question, ResponseCode::ServFail, tcp) {
        Outcome::Reply(reply) => Some(reply),
        Outcome::Ignore | Outcome::Forward => None,
    }
}

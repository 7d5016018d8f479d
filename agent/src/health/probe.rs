//! One check of a container: a program run in it, or a question asked over its own
//! network. Leaves when to check, and what follows, to others.

use crate::executor::Executor;
use http::header::{HOST, USER_AGENT};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use skep_agent_runtime::ExecResult;
use skep_types::{HealthCheck, HealthTest, TaskId, chain};
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::time::Duration;
use tokio::io::{AsyncReadExt, join};
use tokio::net::TcpStream;

/// The most that is held of what a container answers.
const HEAD_MAX: usize = 16 * 1024;

/// Longest time of one check, where nobody says another.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Makes a check once.
///
/// # Errors
/// What it found.
pub(super) async fn run(
    executor: &Executor,
    task: &TaskId,
    check: &HealthCheck,
) -> Result<(), String> {
    let timeout = check.timeout.unwrap_or(TIMEOUT);
    match &check.test {
        HealthTest::Command(words) => command(executor, task, words, timeout).await,
        HealthTest::Shell(line) => {
            let words = ["/bin/sh", "-c", line].map(str::to_owned);
            command(executor, task, &words, timeout).await
        }
        HealthTest::Http { port, path } => within(timeout, http(executor, task, *port, path)).await,
        HealthTest::Tcp { port } => within(timeout, tcp(executor, task, *port)).await,
        HealthTest::Inherit | HealthTest::Disabled => Ok(()),
    }
}

async fn command(
    executor: &Executor,
    task: &TaskId,
    words: &[String],
    timeout: Duration,
) -> Result<(), String> {
    match executor.runtime.exec(task, words, timeout).await {
        Ok(ExecResult::Exited { code: 0, .. }) => Ok(()),
        Ok(ExecResult::Exited { code, output }) => {
            let said: String = output.trim().chars().take(200).collect();
            Err(format!("check exited with {code}: {said}"))
        }
        Ok(ExecResult::TimedOut { .. }) => Err(too_long(timeout)),
        Err(error) => Err(format!("check: {}", error.chain())),
    }
}

async fn within(
    timeout: Duration,
    check: impl Future<Output = Result<(), String>>,
) -> Result<(), String> {
    let result = tokio::time::timeout(timeout, check).await;
    result.unwrap_or_else(|_| Err(too_long(timeout)))
}

fn too_long(timeout: Duration) -> String {
    format!("check took longer than {timeout:?}")
}

/// Connects to `port` of the container.
async fn tcp(executor: &Executor, task: &TaskId, port: u16) -> Result<(), String> {
    connect(executor, task, port).await.map(drop)
}

/// Asks for `path` at `port` of the container; what matters is the status, the
/// rest of the answer is not read.
async fn http(executor: &Executor, task: &TaskId, port: u16, path: &str) -> Result<(), String> {
    let stream = connect(executor, task, port).await?;
    let status = get(stream, port, path).await;
    match status.map_err(|error| format!("check: GET :{port}{path}: {error}"))? {
        200..400 => Ok(()),
        status => Err(format!("check: GET :{port}{path} answered {status}")),
    }
}

async fn connect(executor: &Executor, task: &TaskId, port: u16) -> Result<TcpStream, String> {
    let socket = executor.network.socket(task).await;
    let socket = socket.map_err(|error| format!("check: {error}"))?;
    // Its own loopback: what listens on every address listens there as well.
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let connected = socket.connect(to).await;
    connected.map_err(|error| format!("check: port {port}: {error}"))
}

async fn get(stream: TcpStream, port: u16, path: &str) -> Result<u16, String> {
    let request = http::Request::get(path)
        .header(HOST, format!("localhost:{port}"))
        .header(USER_AGENT, concat!("skep/", env!("CARGO_PKG_VERSION")))
        .body(String::new())
        .map_err(|error| error.to_string())?;
    // Interim answers have no end of their own.
    let (said, asked) = stream.into_split();
    let said = said.take(2 * HEAD_MAX as u64);
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD_MAX)
        .handshake(TokioIo::new(join(said, asked)))
        .await
        .map_err(|error| error.to_string())?;
    let mut answer = pin!(sender.send_request(request));
    // Dropped with the answer's head: nothing goes on behind the check's back.
    let answer = tokio::select! {
        answer = &mut answer => answer,
        // Why it ended is said to who asked.
        _ = connection => answer.await,
    };
    let status = answer.map(|answer| answer.status().as_u16());
    status.map_err(|error| chain(&error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    /// What is made of a server that says this and keeps the connection open.
    async fn ask(answer: Vec<u8>) -> Result<u16, String> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = [0; 1024];
            let read = stream.read(&mut asked).await.unwrap();
            assert!(asked[..read].starts_with(b"GET /well?a=b HTTP/1.1\r\nhost: localhost:80\r\n"));
            let _ = stream.write_all(&answer).await;
            // Until the other side goes.
            let _ = stream.read(&mut asked).await;
        });
        let stream = TcpStream::connect(to).await.unwrap();
        let answer = get(stream, 80, "/well?a=b").await;
        server.await.unwrap();
        answer
    }

    #[tokio::test]
    async fn the_status_is_all_that_is_waited_for() {
        let endless = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\nbegin";
        assert_eq!(ask(endless.to_vec()).await, Ok(200));
        let old = b"HTTP/1.0 503 busy\r\n\r\n";
        assert_eq!(ask(old.to_vec()).await, Ok(503));
    }

    #[tokio::test]
    async fn what_is_no_answer_is_refused() {
        assert!(ask(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()).await.is_err());
        let mut long = b"HTTP/1.1 200 OK\r\nx: ".to_vec();
        long.resize(10 * HEAD_MAX, b'a');
        let refused = ask(long).await.unwrap_err();
        assert!(refused.contains("too large"), "{refused}");
        let more = b"HTTP/1.1 100 Continue\r\n\r\n".repeat(HEAD_MAX);
        assert!(ask(more).await.is_err());
    }
}

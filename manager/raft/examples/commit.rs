//! How fast is a commit? Three members in one process, each on disk, over TCP
//! on 127.0.0.1.
//!
//! `cargo run --release -p skep-manager-raft --example commit [PROPOSALS]`
//! prints the latency of proposals of 1 KiB that one and 64 writers send to the
//! leader over connections of their own, the throughput of many at once, and
//! how long it takes until a write is accepted again after the leader stops
//! and after leadership is handed over.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use skep_manager_raft::{Machine, Raft, RaftConfig, Transport, TransportError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Counts, so that what is measured is the log.
#[derive(Default)]
struct Counter(Mutex<u64>);

impl Machine for Counter {
    fn apply(&self, index: u64, _: &[u8]) -> Result<Vec<u8>, String> {
        if let Ok(mut count) = self.0.lock() {
            *count = index;
        }
        Ok(Vec::new())
    }

    fn snapshot(&self) -> Vec<u8> {
        self.0
            .lock()
            .map(|count| count.to_le_bytes().to_vec())
            .unwrap_or_default()
    }

    fn restore(&self, snapshot: &[u8]) -> Result<(), String> {
        let bytes = snapshot.try_into().map_err(|_| "not eight bytes")?;
        *self.0.lock().map_err(|e| e.to_string())? = u64::from_le_bytes(bytes);
        Ok(())
    }
}

/// All members, and the way to them. What is sent is one byte that tells
/// proposals from messages of members, the length, and the bytes; the answer is
/// a length and bytes.
#[derive(Clone, Default)]
struct Wires {
    running: Arc<Mutex<BTreeMap<u64, Raft>>>,
    idle: Arc<Mutex<BTreeMap<String, Vec<TcpStream>>>>,
}

const MESSAGE: u8 = 0;
const PROPOSAL: u8 = 1;

async fn exchange(line: &mut TcpStream, kind: u8, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut frame = vec![kind];
    frame.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    frame.extend_from_slice(bytes);
    line.write_all(&frame).await?;
    let mut answer = vec![0; line.read_u32_le().await? as usize];
    line.read_exact(&mut answer).await?;
    Ok(answer)
}

async fn serve(mut line: TcpStream, raft: Raft) -> io::Result<()> {
    line.set_nodelay(true)?;
    loop {
        let kind = line.read_u8().await?;
        let mut bytes = vec![0; line.read_u32_le().await? as usize];
        line.read_exact(&mut bytes).await?;
        let answer = match kind {
            PROPOSAL => raft
                .propose(bytes)
                .await
                .map(|done| done.response)
                .map_err(io::Error::other)?,
            _ => raft
                .handle(bytes, |_| true)
                .await
                .map_err(io::Error::other)?,
        };
        let mut frame = (answer.len() as u32).to_le_bytes().to_vec();
        frame.extend_from_slice(&answer);
        line.write_all(&frame).await?;
    }
}

async fn connect(address: &str) -> io::Result<TcpStream> {
    let line = TcpStream::connect(address).await?;
    line.set_nodelay(true)?;
    Ok(line)
}

impl Wires {
    fn all(&self) -> Vec<Raft> {
        self.running
            .lock()
            .map(|all| all.values().cloned().collect())
            .unwrap_or_default()
    }

    fn add(&self, id: u64, raft: Raft) {
        if let Ok(mut all) = self.running.lock() {
            all.insert(id, raft);
        }
    }

    fn remove(&self, id: u64) {
        if let Ok(mut all) = self.running.lock() {
            all.remove(&id);
        }
    }

    async fn leader(&self) -> Raft {
        loop {
            if let Some(raft) = self
                .all()
                .into_iter()
                .find(|r| r.leadership().borrow().is_leader)
            {
                return raft;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn carry(&self, address: &str, message: &[u8]) -> io::Result<Vec<u8>> {
        let idle = self
            .idle
            .lock()
            .ok()
            .and_then(|mut idle| idle.get_mut(address)?.pop());
        let mut line = match idle {
            Some(line) => line,
            None => connect(address).await?,
        };
        let answer = exchange(&mut line, MESSAGE, message).await?;
        if let Ok(mut idle) = self.idle.lock() {
            idle.entry(address.into()).or_default().push(line);
        }
        Ok(answer)
    }
}

#[async_trait]
impl Transport for Wires {
    async fn send(
        &self,
        target: u64,
        address: &str,
        message: Vec<u8>,
    ) -> Result<Vec<u8>, TransportError> {
        self.carry(address, &message)
            .await
            .map_err(|error| TransportError {
                target,
                address: address.into(),
                reason: error.to_string(),
            })
    }
}

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_micros();
    println!(
        "{what}: p50 {} us, p99 {} us, max {} us ({} samples)",
        at(0.5),
        at(0.99),
        at(1.0),
        times.len()
    );
}

/// Proposes to whoever leads until one accepts.
async fn until_accepted(wires: &Wires) -> Duration {
    let started = Instant::now();
    loop {
        let leader = wires.leader().await;
        let tried = leader.propose(vec![1; 200]);
        if let Ok(Ok(_)) = tokio::time::timeout(Duration::from_secs(1), tried).await {
            return started.elapsed();
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let proposals: usize = std::env::args().nth(1).map_or(Ok(2000), |n| n.parse())?;
    let dirs = tempfile::tempdir()?;
    let wires = Wires::default();
    for id in 1..=3 {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let config = RaftConfig::new(dirs.path().join(id.to_string()), id, &address, [1; 32]);
        let raft = Raft::open(config, Arc::<Counter>::default(), Arc::new(wires.clone())).await?;
        wires.add(id, raft.clone());
        let served = raft.clone();
        tokio::spawn(async move {
            while let Ok((line, _)) = listener.accept().await {
                tokio::spawn(serve(line, served.clone()));
            }
        });
        if id == 1 {
            raft.bootstrap().await?;
        } else {
            wires.leader().await.add_member(id, &address).await?;
        }
    }
    let leader = wires.leader().await;
    let address = leader.members().into_iter().find(|m| m.id == leader.id());
    let address = address.ok_or("the leader is no member")?.address;

    for writers in [1, 64, 256] {
        let started = Instant::now();
        let mut running = tokio::task::JoinSet::new();
        for _ in 0..writers {
            let each = proposals.max(writers) * writers.min(8) / writers;
            let mut line = connect(&address).await?;
            running.spawn(async move {
                let mut times = Vec::new();
                for _ in 0..each {
                    let started = Instant::now();
                    if exchange(&mut line, PROPOSAL, &[1; 1024]).await.is_ok() {
                        times.push(started.elapsed());
                    }
                }
                times
            });
        }
        let times: Vec<Duration> = running.join_all().await.into_iter().flatten().collect();
        let rate = times.len() as f64 / started.elapsed().as_secs_f64();
        report(
            &format!("writers: {writers}, 1 KiB, {rate:.0} a second"),
            times,
        );
    }

    let mut times = Vec::new();
    for _ in 0..proposals.min(500) {
        let started = Instant::now();
        leader.read_barrier().await?;
        times.push(started.elapsed());
    }
    report("linearizable read on the leader", times);

    let started = Instant::now();
    wires.leader().await.transfer_leadership().await?;
    until_accepted(&wires).await;
    println!(
        "handed over, next write accepted after {} ms",
        started.elapsed().as_millis()
    );

    let leader = wires.leader().await;
    wires.remove(leader.id());
    let started = Instant::now();
    tokio::spawn(async move { leader.shutdown().await });
    until_accepted(&wires).await;
    println!(
        "leader stopped, next write accepted after {} ms",
        started.elapsed().as_millis()
    );
    for raft in wires.all() {
        raft.shutdown().await;
    }
    Ok(())
}

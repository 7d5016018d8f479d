//! How fast is a commit? Three members in one process, each on disk.
//!
//! `cargo run --release -p skep-manager-raft --example commit [PROPOSALS]`
//! prints the latency of single proposals, the throughput of many at once, and
//! how long it takes until a write is accepted again after the leader stops
//! and after leadership is handed over.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use skep_manager_raft::{Machine, Raft, RaftConfig, Transport, TransportError};

/// Counts, so that what is measured is the log.
#[derive(Default)]
struct Counter(Mutex<u64>);

impl Machine for Counter {
    fn apply(&self, index: u64, _: &[u8]) -> Vec<u8> {
        if let Ok(mut count) = self.0.lock() {
            *count = index;
        }
        Vec::new()
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

#[derive(Clone, Default)]
struct Wires(Arc<Mutex<BTreeMap<u64, Raft>>>);

impl Wires {
    fn get(&self, id: u64) -> Option<Raft> {
        self.0.lock().ok()?.get(&id).cloned()
    }

    fn all(&self) -> Vec<Raft> {
        self.0
            .lock()
            .map(|all| all.values().cloned().collect())
            .unwrap_or_default()
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
}

#[async_trait]
impl Transport for Wires {
    async fn send(
        &self,
        target: u64,
        address: &str,
        message: Vec<u8>,
    ) -> Result<Vec<u8>, TransportError> {
        let failed = |reason: String| TransportError {
            target,
            address: address.into(),
            reason,
        };
        let peer = self.get(target).ok_or_else(|| failed("stopped".into()))?;
        peer.handle(message)
            .await
            .map_err(|e| failed(e.to_string()))
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
        let address = format!("mem:{id}");
        let config = RaftConfig::new(dirs.path().join(id.to_string()), id, &address, [1; 32]);
        let raft = Raft::open(config, Arc::<Counter>::default(), Arc::new(wires.clone())).await?;
        if let Ok(mut all) = wires.0.lock() {
            all.insert(id, raft.clone());
        }
        if id == 1 {
            raft.bootstrap().await?;
        } else {
            wires.leader().await.add_member(id, &address).await?;
        }
    }
    let leader = wires.leader().await;

    let mut times = Vec::new();
    for _ in 0..proposals {
        let started = Instant::now();
        leader.propose(vec![1; 200]).await?;
        times.push(started.elapsed());
    }
    report("one at a time, 200 bytes", times);

    for width in [16, 256] {
        let started = Instant::now();
        let mut running = tokio::task::JoinSet::new();
        for _ in 0..width {
            let leader = leader.clone();
            let each = proposals.max(width) * 4 / width;
            running.spawn(async move {
                let mut times = Vec::new();
                for _ in 0..each {
                    let started = Instant::now();
                    if leader.propose(vec![1; 200]).await.is_ok() {
                        times.push(started.elapsed());
                    }
                }
                times
            });
        }
        let times: Vec<Duration> = running.join_all().await.into_iter().flatten().collect();
        let rate = times.len() as f64 / started.elapsed().as_secs_f64();
        report(&format!("{width} at a time, {rate:.0} a second"), times);
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
    if let Ok(mut all) = wires.0.lock() {
        all.remove(&leader.id());
    }
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

//! Members in one process over a network in memory that can be cut.

#![allow(dead_code, missing_docs)]

pub mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use skep_manager_raft::{Machine, OpenError, Raft, RaftConfig, Transport, TransportError};
use tempfile::TempDir;

/// Long enough for a machine that is busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A proposal that nobody can read.
pub const UNREADABLE: &[u8] = b"unreadable";

/// Remembers the proposals in order.
#[derive(Default)]
pub struct Ledger(Mutex<Vec<Vec<u8>>>);

impl Ledger {
    pub fn entries(&self) -> Vec<Vec<u8>> {
        self.0.lock().unwrap().clone()
    }
}

impl Machine for Ledger {
    fn apply(&self, index: u64, entry: &[u8]) -> Result<Vec<u8>, String> {
        if entry == UNREADABLE {
            return Err("unheard of".to_owned());
        }
        let mut entries = self.0.lock().unwrap();
        entries.push(entry.to_vec());
        assert_eq!(
            entries.len() as u64,
            index,
            "proposals are numbered without gaps"
        );
        Ok([b"did ", entry].concat())
    }

    fn snapshot(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for entry in self.0.lock().unwrap().iter() {
            bytes.extend_from_slice(&(entry.len() as u32).to_le_bytes());
            bytes.extend_from_slice(entry);
        }
        bytes
    }

    fn restore(&self, mut snapshot: &[u8]) -> Result<(), String> {
        let mut entries = Vec::new();
        while let Some((length, rest)) = snapshot.split_first_chunk::<4>() {
            let length = u32::from_le_bytes(*length) as usize;
            let (entry, rest) = rest.split_at_checked(length).ok_or("cut short")?;
            entries.push(entry.to_vec());
            snapshot = rest;
        }
        *self.0.lock().unwrap() = entries;
        Ok(())
    }
}

/// Who can hear whom.
#[derive(Default)]
pub struct Wires {
    running: Mutex<BTreeMap<u64, Raft>>,
    /// Members that nobody reaches and that reach nobody.
    cut: Mutex<BTreeSet<u64>>,
    largest: AtomicU64,
    /// How long a message above 100 kB takes, in milliseconds.
    slow_ms: AtomicU64,
}

impl Wires {
    pub fn cut(&self, id: u64) {
        self.cut.lock().unwrap().insert(id);
    }

    pub fn heal(&self, id: u64) {
        self.cut.lock().unwrap().remove(&id);
    }

    /// Makes large messages take this long.
    pub fn slow_down(&self, delay: Duration) {
        self.slow_ms
            .store(delay.as_millis() as u64, Ordering::Relaxed);
    }

    /// Bytes of the largest message so far.
    pub fn largest(&self) -> u64 {
        self.largest.load(Ordering::Relaxed)
    }
}

/// One member's end of the wires.
pub struct Wire {
    from: u64,
    wires: Arc<Wires>,
}

#[async_trait]
impl Transport for Wire {
    async fn send(
        &self,
        target: u64,
        address: &str,
        message: Vec<u8>,
    ) -> Result<Vec<u8>, TransportError> {
        let failed = |reason: &str| TransportError {
            target,
            address: address.into(),
            reason: reason.into(),
        };
        self.wires
            .largest
            .fetch_max(message.len() as u64, Ordering::Relaxed);
        let slow = self.wires.slow_ms.load(Ordering::Relaxed);
        if slow > 0 && message.len() > 100_000 {
            tokio::time::sleep(Duration::from_millis(slow)).await;
        }
        let connected = || {
            let cut = self.wires.cut.lock().unwrap();
            !cut.contains(&target) && !cut.contains(&self.from)
        };
        if !connected() {
            return Err(failed("cut off"));
        }
        if address != address_of(target) {
            return Err(failed("nobody there"));
        }
        let peer = self.wires.running.lock().unwrap().get(&target).cloned();
        let peer = peer.ok_or_else(|| failed("connection refused"))?;
        let answer = peer
            .handle(message, |_| true)
            .await
            .map_err(|e| failed(&e.to_string()))?;
        if connected() {
            Ok(answer)
        } else {
            Err(failed("cut off"))
        }
    }
}

/// Timers for tests that are not about elections: a busy machine must not
/// start one.
pub fn calm(config: &mut RaftConfig) {
    config.heartbeat = Duration::from_millis(200);
    config.election_min = Duration::from_secs(3);
    config.election_max = Duration::from_secs(5);
}

pub fn address_of(id: u64) -> String {
    format!("mem:{id}")
}

/// A cluster of members, each with its own directory.
pub struct Cluster {
    pub wires: Arc<Wires>,
    dirs: TempDir,
    ledgers: BTreeMap<u64, Arc<Ledger>>,
    pub tune: fn(&mut RaftConfig),
}

impl Cluster {
    pub fn new(tune: fn(&mut RaftConfig)) -> Self {
        Self {
            wires: Arc::default(),
            dirs: TempDir::new().unwrap(),
            ledgers: BTreeMap::new(),
            tune,
        }
    }

    /// A cluster of `n` voters, the first of which leads at first.
    pub async fn of(n: u64, tune: fn(&mut RaftConfig)) -> Self {
        let mut cluster = Self::new(tune);
        let first = cluster.start(1).await;
        first.bootstrap().await.unwrap();
        cluster.leader().await;
        for id in 2..=n {
            cluster.start(id).await;
            cluster
                .leader()
                .await
                .add_member(id, &address_of(id))
                .await
                .unwrap();
        }
        cluster
    }

    pub fn dir(&self, id: u64) -> PathBuf {
        self.dirs.path().join(id.to_string())
    }

    /// Starts a member, with what its directory holds.
    pub async fn start(&mut self, id: u64) -> Raft {
        self.try_start(id).await.unwrap()
    }

    pub async fn try_start(&mut self, id: u64) -> Result<Raft, OpenError> {
        let mut config = RaftConfig::new(self.dir(id), id, address_of(id), [id as u8; 32]);
        (self.tune)(&mut config);
        let ledger = Arc::new(Ledger::default());
        self.ledgers.insert(id, ledger.clone());
        let wire = Wire {
            from: id,
            wires: self.wires.clone(),
        };
        let raft = Raft::open(config, ledger, Arc::new(wire)).await?;
        self.wires.running.lock().unwrap().insert(id, raft.clone());
        Ok(raft)
    }

    /// Takes a member off the network and stops it.
    pub async fn kill(&self, id: u64) {
        let raft = self.wires.running.lock().unwrap().remove(&id).unwrap();
        raft.shutdown().await;
    }

    pub fn ledger(&self, id: u64) -> Arc<Ledger> {
        self.ledgers[&id].clone()
    }

    pub fn member(&self, id: u64) -> Raft {
        self.wires.running.lock().unwrap()[&id].clone()
    }

    pub fn running(&self) -> Vec<Raft> {
        self.wires
            .running
            .lock()
            .unwrap()
            .values()
            .cloned()
            .collect()
    }

    /// Waits until a member leads that is not cut off.
    pub async fn leader(&self) -> Raft {
        until("somebody leads", || {
            let cut = self.wires.cut.lock().unwrap().clone();
            self.running()
                .into_iter()
                .find(|r| r.leadership().borrow().is_leader && !cut.contains(&r.id()))
        })
        .await
    }

    /// Waits until these members have applied the same number of proposals.
    pub async fn settled(&self, ids: &[u64], applied: u64) {
        until("all have applied the same", || {
            ids.iter()
                .all(|id| self.ledgers[id].entries().len() as u64 == applied)
                .then_some(())
        })
        .await;
    }

    /// How many proposals were committed, by whoever leads.
    pub async fn total(&self) -> u64 {
        let started = std::time::Instant::now();
        loop {
            // Leadership may change between the two.
            if let Ok(total) = self.leader().await.read_barrier().await {
                return total;
            }
            assert!(started.elapsed() < PATIENCE, "nobody can read");
        }
    }

    pub async fn stop(&self) {
        for raft in self.running() {
            self.kill(raft.id()).await;
        }
    }
}

/// How many proposals a member has seen applied; leadership may change meanwhile.
pub async fn read(member: &Raft) -> u64 {
    let started = std::time::Instant::now();
    loop {
        match member.read_barrier().await {
            Ok(total) => return total,
            Err(error) => assert!(started.elapsed() < PATIENCE, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A member that leads, if there is one.
pub fn leading(wires: &Wires) -> Option<Raft> {
    let running: Vec<Raft> = wires.running.lock().unwrap().values().cloned().collect();
    running
        .into_iter()
        .find(|r| r.leadership().borrow().is_leader)
}

/// Looks again and again until there is something to see.
pub async fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let started = std::time::Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(started.elapsed() < PATIENCE, "never came true: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

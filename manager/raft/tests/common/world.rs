//! Members on simulated disks, on one thread with a paused clock.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use skep_manager_raft::disk::Simulated;
use skep_manager_raft::{OpenError, Raft, RaftConfig, Transport, TransportError, seed_this_thread};
use tokio::time::{Instant, sleep};

use super::Ledger;

/// Who can be reached, and between whom the line is cut.
#[derive(Clone, Default)]
pub struct Wires(
    pub Arc<Mutex<BTreeMap<u64, Raft>>>,
    Arc<Mutex<BTreeSet<(u64, u64)>>>,
);

impl Wires {
    /// Nothing passes between these two.
    pub fn part(&self, one: u64, other: u64) {
        self.1.lock().unwrap().extend([(one, other), (other, one)]);
    }

    /// Nothing passes to or from this one.
    pub fn cut(&self, id: u64) {
        self.part(id, id);
    }

    /// What was parted from it, or cut off, no longer is.
    pub fn mend(&self, id: u64) {
        self.1
            .lock()
            .unwrap()
            .retain(|(from, to)| ![*from, *to].contains(&id));
    }

    fn join(&self, from: u64, to: u64) -> bool {
        let cut = self.1.lock().unwrap();
        ![(from, to), (from, from), (to, to)]
            .iter()
            .any(|pair| cut.contains(pair))
    }
}

/// One member's end.
struct End(u64, Wires);

#[async_trait]
impl Transport for End {
    async fn send(&self, to: u64, at: &str, message: Vec<u8>) -> Result<Vec<u8>, TransportError> {
        let failed = |reason: String| TransportError {
            target: to,
            address: at.into(),
            reason,
        };
        sleep(Duration::from_micros(300)).await;
        let End(from, wires) = self;
        if !wires.join(*from, to) {
            std::future::pending::<()>().await;
        }
        let peer = wires.0.lock().unwrap().get(&to).cloned();
        let peer = peer.ok_or_else(|| failed("nobody there".into()))?;
        let answer = peer.handle(message, |_| true).await;
        sleep(Duration::from_micros(300)).await;
        answer.map_err(|e| failed(e.to_string()))
    }
}

/// Members that lose their power now and then.
pub struct World {
    pub wires: Wires,
    pub disks: BTreeMap<u64, Simulated>,
    pub ledgers: BTreeMap<u64, Arc<Ledger>>,
}

impl World {
    pub async fn of(seed: u64, members: u64) -> Self {
        let disks = (1..=members).map(|id| (id, Simulated::new(seed ^ id)));
        let mut world = Self {
            wires: Wires::default(),
            disks: disks.collect(),
            ledgers: BTreeMap::new(),
        };
        for id in 1..=members {
            let raft = world.start(id).await;
            if id == 1 {
                raft.bootstrap().await.unwrap();
            } else {
                let leader = world.leader().await;
                leader.add_member(id, &format!("mem:{id}")).await.unwrap();
            }
        }
        world
    }

    pub async fn start(&mut self, id: u64) -> Raft {
        let config = self.config(id, id);
        self.open(config).await.unwrap()
    }

    /// For member `id` on the disk that was made for member `disk`.
    pub fn config(&self, id: u64, disk: u64) -> RaftConfig {
        let mut config = RaftConfig::new("/raft", id, format!("mem:{id}"), [1; 32]);
        config.disk = self.disks[&disk].start();
        config.segment_bytes = 64 * 1024;
        config.snapshot_every = 100;
        config.keep_entries = 20;
        config
    }

    pub async fn open(&mut self, config: RaftConfig) -> Result<Raft, OpenError> {
        let id = config.raft_id;
        let ledger = Arc::new(Ledger::default());
        self.ledgers.insert(id, ledger.clone());
        let raft = Raft::open(config, ledger, Arc::new(End(id, self.wires.clone()))).await?;
        self.wires.0.lock().unwrap().insert(id, raft.clone());
        Ok(raft)
    }

    /// Takes a member off the network and ends it in order.
    pub async fn stop(&self, id: u64) {
        let raft = self.wires.0.lock().unwrap().remove(&id).unwrap();
        raft.shutdown().await;
    }

    /// The power first: nothing it still does reaches disk or wire.
    pub async fn crash(&self, id: u64) {
        self.disks[&id].crash();
        let raft = self.wires.0.lock().unwrap().remove(&id).unwrap();
        raft.shutdown().await;
    }

    pub fn leading(&self) -> Option<Raft> {
        let running = self.wires.0.lock().unwrap();
        let leads = |raft: &&Raft| raft.leadership().borrow().is_leader;
        running.values().find(leads).cloned()
    }

    /// Who leads, besides one who may not know that it does not any more.
    pub fn leading_without(&self, former: u64) -> Option<Raft> {
        let running = self.wires.0.lock().unwrap();
        let leads = |raft: &&Raft| raft.id() != former && raft.leadership().borrow().is_leader;
        running.values().find(leads).cloned()
    }

    pub async fn leader(&self) -> Raft {
        let started = Instant::now();
        loop {
            if let Some(raft) = self.leading() {
                return raft;
            }
            assert!(started.elapsed() < Duration::from_secs(60), "nobody leads");
            sleep(Duration::from_millis(5)).await;
        }
    }
}

pub fn simulated<T>(seed: u64, run: impl Future<Output = T>) -> T {
    seed_this_thread(seed);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(run)
}

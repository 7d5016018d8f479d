//! The handle to a running member: opening, bootstrapping, stopping.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use openraft::error::{InitializeError, RaftError};
use openraft::{BasicNode, Raft as Core};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;

use crate::candidacy::Candidate;
use crate::config::RaftConfig;
use crate::error::OpenError;
use crate::leadership::{self, Leadership};
use crate::network::{Factory, Peers};
use crate::receive::Receiving;
use crate::storage::{self, Durable, LogStore, Snapshots};
use crate::types::{CoreRaft, Metrics, NodeId};
use crate::{Machine, Transport, disk, propose, pulse, read, silence};

/// Proposals and reads that may queue before callers wait for room.
const QUEUE: usize = 4096;
/// How often the size of the log is looked at.
const LOG_CHECK: Duration = Duration::from_secs(1);

/// A running member. Clones are handles to the same one; it runs until
/// [`Raft::shutdown`].
#[derive(Clone)]
pub struct Raft {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub id: NodeId,
    pub config: RaftConfig,
    pub core: CoreRaft,
    pub peers: Arc<Peers>,
    pub metrics: watch::Receiver<Metrics>,
    pub leadership: watch::Receiver<Leadership>,
    /// The index of the last proposal that was applied.
    pub applied: watch::Receiver<u64>,
    pub proposals: mpsc::Sender<propose::Waiting>,
    pub in_flight: Arc<Semaphore>,
    pub reads: mpsc::Sender<read::Waiting>,
    /// Held during a change of members.
    pub changing: tokio::sync::Mutex<()>,
    /// Held while the data key changes.
    pub rotating: tokio::sync::Mutex<()>,
    pub log: LogStore,
    pub snapshots: Arc<Snapshots>,
    /// The snapshot that a leader sends.
    pub receiving: Mutex<Receiving>,
    pub machine: Arc<dyn Machine>,
    tasks: Mutex<JoinSet<()>>,
}

impl Raft {
    /// Opens the data directory, restores `machine` from the last snapshot and
    /// the log after it, and starts to take part. A member that was never part
    /// of a cluster waits to be bootstrapped or added.
    ///
    /// # Errors
    /// [`OpenError`]; see [`OpenError::lost_member`] for when the member must
    /// not come back under its id.
    pub async fn open(
        config: RaftConfig,
        machine: Arc<dyn Machine>,
        transport: Arc<dyn Transport>,
    ) -> Result<Self, OpenError> {
        let core_config = config.core()?;
        let place = config.place();
        let start = |e: &dyn std::fmt::Display| OpenError::Start(e.to_string());
        let opened = {
            let machine = machine.clone();
            disk::work(&*config.disk, move || storage::open(place, machine))
        };
        let (log, state_machine) = opened.await.map_err(|e| start(&e))??;
        let applied = state_machine.watch_applied();
        let snapshots = state_machine.snapshots();
        let peers = Arc::new(Peers::new(config.raft_id, transport, config.heartbeat));
        let core = Core::new(
            config.raft_id,
            core_config,
            Factory(peers.clone()),
            log.clone(),
            state_machine,
        );
        let core = match core.await {
            Ok(core) => core,
            Err(error) => {
                log.close().await;
                return Err(start(&error));
            }
        };
        let mut metrics = core.metrics();
        peers.follow(metrics.clone());
        // The first that it reports is what it found on disk. If it stopped
        // before, its followers learn that by themselves.
        let _ = metrics.changed().await;
        let (lead, leadership) = watch::channel(Leadership::default());
        let (proposals, proposed) = mpsc::channel(QUEUE);
        let (reads, asked) = mpsc::channel(QUEUE);
        let in_flight = Arc::new(Semaphore::new(propose::IN_FLIGHT as usize));
        let mut tasks = JoinSet::new();
        tasks.spawn(leadership::follow(
            metrics.clone(),
            lead,
            config.quorum_timeout(),
            config.heartbeat * 2,
        ));
        tasks.spawn(pulse::run(
            metrics.clone(),
            peers.clone(),
            log.durable(),
            config.heartbeat,
            config.stall(),
        ));
        tasks.spawn(silence::run(
            metrics.clone(),
            peers.clone(),
            config.quorum_timeout(),
            config.heartbeat * 2,
        ));
        let candidate = Candidate {
            id: config.raft_id,
            core: core.clone(),
            log: log.clone(),
            peers: peers.clone(),
            timers: config.timers(),
        };
        tasks.spawn(candidate.run());
        tasks.spawn(end_with_disk(core.clone(), log.durable()));
        tasks.spawn(propose::run(core.clone(), proposed, in_flight.clone()));
        tasks.spawn(read::run(core.clone(), asked));
        tasks.spawn(bound_log(core.clone(), log.clone(), config.snapshot_bytes));
        Ok(Self {
            inner: Arc::new(Inner {
                id: config.raft_id,
                config,
                core,
                peers,
                metrics,
                leadership,
                applied,
                proposals,
                in_flight,
                reads,
                changing: tokio::sync::Mutex::new(()),
                rotating: tokio::sync::Mutex::new(()),
                log,
                snapshots,
                receiving: Mutex::default(),
                machine,
                tasks: Mutex::new(tasks),
            }),
        })
    }

    /// Makes this member a cluster of one. Does nothing if it is part of a
    /// cluster already.
    ///
    /// # Errors
    /// If the core stopped.
    pub async fn bootstrap(&self) -> Result<(), OpenError> {
        let address = BasicNode::new(&self.inner.config.address);
        let members = BTreeMap::from([(self.inner.id, address)]);
        match self.inner.core.initialize(members).await {
            Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(()),
            Err(error) => Err(OpenError::Start(error.to_string())),
        }
    }

    /// This member's Raft id.
    pub fn id(&self) -> u64 {
        self.inner.id
    }

    /// Follows who leads. The last value after [`Raft::shutdown`], or after a
    /// failed disk, names no leader.
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.inner.leadership.clone()
    }

    /// Follows the index of the last proposal that was applied here.
    pub fn applied(&self) -> watch::Receiver<u64> {
        self.inner.applied.clone()
    }

    /// Waits until this member has a vote; false if it stopped before.
    pub fn seated(&self) -> impl Future<Output = bool> + Send + use<> {
        let (mut metrics, id) = (self.inner.metrics.clone(), self.inner.id);
        async move {
            let votes = metrics.wait_for(|m| {
                let membership = m.membership_config.membership();
                membership.voter_ids().any(|voter| voter == id)
            });
            votes.await.is_ok()
        }
    }

    /// Waits until the member has stopped, by [`Raft::shutdown`] or because
    /// its disk failed; the reason in the latter case.
    pub async fn stopped(&self) -> Option<String> {
        let mut metrics = self.inner.metrics.clone();
        // If the core is gone without a word, it has stopped as well.
        let _ = metrics.wait_for(|m| m.running_state.is_err()).await;
        self.failure()
    }

    /// Makes a snapshot soon, whatever the policy says.
    pub async fn snapshot(&self) {
        if let Err(error) = self.inner.core.trigger().snapshot().await {
            tracing::debug!(%error, "cannot ask for a snapshot");
        }
    }

    /// Stops taking part and closes the files. Proposals still waiting end
    /// with [`crate::ProposeError::Stopped`]. Does not hand leadership over;
    /// see [`Raft::transfer_leadership`].
    pub async fn shutdown(&self) {
        if let Err(error) = self.inner.core.shutdown().await {
            tracing::warn!(%error, "the raft core did not stop cleanly");
        }
        let mut tasks = {
            let mut tasks = self.inner.tasks.lock().unwrap_or_else(|e| e.into_inner());
            std::mem::take(&mut *tasks)
        };
        // Those that follow the core end with it; the rest must not wait for
        // handles that others keep.
        tasks.shutdown().await;
        self.inner.log.close().await;
    }
}

/// A member whose log cannot be written takes no part any more.
async fn end_with_disk(core: CoreRaft, durable: Arc<Durable>) {
    durable.failed().await;
    if let Err(error) = core.shutdown().await {
        tracing::debug!(%error, "the raft core had ended");
    }
}

/// Keeps the log small in bytes, where openraft only counts entries: first a
/// snapshot, and if what is kept behind it is still too much, that goes too.
async fn bound_log(core: CoreRaft, log: LogStore, limit: usize) {
    let metrics = core.metrics();
    loop {
        tokio::time::sleep(LOG_CHECK).await;
        if log.bytes() <= limit {
            continue;
        }
        let (snapshot, applied) = {
            let metrics = metrics.borrow();
            (metrics.snapshot, metrics.last_applied)
        };
        // Under load something is always applied after the last snapshot.
        let behind = snapshot.map_or(0, |snapshot| log.bytes_until(snapshot.index));
        let asked = match snapshot {
            Some(snapshot) if behind > limit || Some(snapshot) >= applied => {
                core.trigger().purge_log(snapshot.index).await
            }
            _ => core.trigger().snapshot().await,
        };
        if let Err(error) = asked {
            tracing::debug!(%error, "cannot shorten the raft log");
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TransportError;
    use async_trait::async_trait;
    use openraft::storage::RaftLogStorage;

    /// Remembers nothing, so that its snapshots stay small.
    struct Nothing;

    impl Machine for Nothing {
        fn apply(&self, _: u64, _: &[u8]) -> Result<Vec<u8>, String> {
            Ok(Vec::new())
        }
        fn snapshot(&self) -> Vec<u8> {
            Vec::new()
        }
        fn restore(&self, _: &[u8]) -> Result<(), String> {
            Ok(())
        }
    }

    #[async_trait]
    impl Transport for Nothing {
        async fn send(&self, id: u64, at: &str, _: Vec<u8>) -> Result<Vec<u8>, TransportError> {
            Err(TransportError {
                target: id,
                address: at.to_owned(),
                reason: "nobody there".to_owned(),
            })
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_log_is_shortened_while_it_is_written_all_the_time() {
        let dir = tempfile::tempdir().unwrap();
        let config = RaftConfig {
            snapshot_bytes: 100_000,
            keep_entries: 1_000_000,
            ..RaftConfig::new(dir.path(), 1, "nowhere", [1; 32])
        };
        let raft = Raft::open(config, Arc::new(Nothing), Arc::new(Nothing));
        let raft = raft.await.unwrap();
        raft.bootstrap().await.unwrap();
        let mut leadership = raft.leadership();
        leadership.wait_for(|now| now.is_leader).await.unwrap();
        let mut writers = JoinSet::new();
        for _ in 0..4 {
            let raft = raft.clone();
            writers.spawn(async move { while raft.propose(vec![1; 10_000]).await.is_ok() {} });
        }
        let mut log = raft.inner.log.clone();
        let shortened = async {
            while log
                .get_log_state()
                .await
                .unwrap()
                .last_purged_log_id
                .is_none()
            {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let shortened = tokio::time::timeout(Duration::from_secs(60), shortened).await;
        shortened.expect("the log only grows");
        raft.shutdown().await;
    }
}

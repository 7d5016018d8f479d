//! The handle to a running member: opening, bootstrapping, stopping.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use openraft::error::{InitializeError, RaftError};
use openraft::{BasicNode, Raft as Core};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;

use crate::config::RaftConfig;
use crate::error::OpenError;
use crate::leadership::{self, Leadership};
use crate::network::{Factory, Peers};
use crate::storage::{self, LogStore, Place};
use crate::types::{CoreRaft, Metrics, NodeId};
use crate::{Machine, Transport, propose, read};

/// Bytes of one log file.
const SEGMENT_BYTES: usize = 4 << 20;
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
    log: LogStore,
    tasks: Mutex<JoinSet<()>>,
}

impl Raft {
    /// Opens the data directory, restores `machine` from the last snapshot and
    /// the log after it, and starts to take part. A member that was never part
    /// of a cluster waits to be bootstrapped or added.
    ///
    /// # Errors
    /// [`OpenError`]. After `Damaged` the member must not come back under its
    /// id: what it promised may be lost.
    pub async fn open(
        config: RaftConfig,
        machine: Arc<dyn Machine>,
        transport: Arc<dyn Transport>,
    ) -> Result<Self, OpenError> {
        let core_config = config.core()?;
        let place = Place {
            dir: config.dir.clone(),
            node: config.raft_id,
            data_key: config.data_key,
            segment_bytes: SEGMENT_BYTES,
        };
        let start = |e: &dyn std::fmt::Display| OpenError::Start(e.to_string());
        let (log, state_machine) =
            tokio::task::spawn_blocking(move || storage::open(place, machine))
                .await
                .map_err(|e| start(&e))??;
        let applied = state_machine.watch_applied();
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
                log.close();
                return Err(start(&error));
            }
        };
        let metrics = core.metrics();
        let (lead, leadership) = watch::channel(Leadership::default());
        let (proposals, proposed) = mpsc::channel(QUEUE);
        let (reads, asked) = mpsc::channel(QUEUE);
        let in_flight = Arc::new(Semaphore::new(propose::IN_FLIGHT as usize));
        let mut tasks = JoinSet::new();
        tasks.spawn(leadership::follow(
            metrics.clone(),
            lead,
            config.quorum_timeout(),
        ));
        tasks.spawn(propose::run(core.clone(), proposed, in_flight.clone()));
        tasks.spawn(read::run(core.clone(), asked));
        tasks.spawn(bound_log(core.clone(), log.clone(), config.snapshot_bytes));
        let raft = Self {
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
                log,
                tasks: Mutex::new(tasks),
            }),
        };
        raft.stand_if_alone().await;
        Ok(raft)
    }

    /// A cluster of one need not wait for an election timeout.
    async fn stand_if_alone(&self) {
        let members = self.members();
        let voters: Vec<u64> = members.iter().filter(|m| m.voter).map(|m| m.id).collect();
        if voters == [self.inner.id]
            && let Err(error) = self.inner.core.trigger().elect().await
        {
            tracing::debug!(%error, "cannot stand for election at once");
        }
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

    /// Whether this member is or was part of a cluster.
    ///
    /// # Errors
    /// If the core stopped.
    pub async fn is_initialized(&self) -> Result<bool, OpenError> {
        let answer = self.inner.core.is_initialized().await;
        answer.map_err(|e| OpenError::Start(e.to_string()))
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

    /// Waits until the member has stopped, by [`Raft::shutdown`] or because
    /// its disk failed; the reason in the latter case.
    pub async fn stopped(&self) -> Option<String> {
        let mut metrics = self.inner.metrics.clone();
        let state = match metrics.wait_for(|m| m.running_state.is_err()).await {
            Ok(metrics) => metrics.running_state.clone(),
            Err(_) => return None,
        };
        match state {
            Err(openraft::error::Fatal::Stopped) | Ok(()) => None,
            Err(fatal) => Some(fatal.to_string()),
        }
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
        let log = self.inner.log.clone();
        if tokio::task::spawn_blocking(move || log.close())
            .await
            .is_err()
        {
            tracing::warn!("the raft log did not close cleanly");
        }
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
        let asked = match snapshot {
            Some(snapshot) if Some(snapshot) >= applied => {
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

//! The knobs, and how they map to openraft's.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use openraft::SnapshotPolicy;

use crate::candidacy::Timers;
use crate::disk::{Disk, Real};
use crate::error::OpenError;
use crate::storage::Place;

/// How a member keeps its log and its time.
#[derive(Clone)]
pub struct RaftConfig {
    /// Where log and snapshots are; made if missing. One process at a time.
    pub dir: PathBuf,
    /// The disk on which `dir` is.
    pub disk: Arc<dyn Disk>,
    /// This member's id, unique for all time: never reused, not even by the
    /// same machine after it lost its data.
    pub raft_id: u64,
    /// Where the others reach this member.
    pub address: String,
    /// The key under which log and snapshots are encrypted.
    pub data_key: [u8; 32],
    /// Keys from before that files may still be under. Once a member is open
    /// nothing is under them any more, and they may be forgotten.
    pub old_keys: Vec<[u8; 32]>,
    /// Whether this member was here before: then a directory without a log is
    /// [`OpenError::Missing`], for who forgot how it voted must not vote again
    /// under its id.
    pub existing: bool,
    /// How often a leader shows that it lives. It is also how long one
    /// message may take before it is sent again.
    pub heartbeat: Duration,
    /// A member stands for election after this much silence at the earliest, and
    /// votes for nobody before.
    pub election_min: Duration,
    /// A member stands for election after this much silence at the latest.
    pub election_max: Duration,
    /// Bytes of one log file, which is made in full before it is used.
    pub segment_bytes: usize,
    /// Log entries after which a snapshot is made.
    pub snapshot_every: u64,
    /// Bytes of log after which a snapshot is made; the log since the last
    /// snapshot stays in memory.
    pub snapshot_bytes: usize,
    /// Log entries kept behind a snapshot for members that lag a little.
    pub keep_entries: u64,
    /// How long a new member may take to catch up.
    pub catch_up: Duration,
}

impl RaftConfig {
    /// A configuration with the default timers: heartbeat 100 ms, election
    /// after 300 to 600 ms, a snapshot every 10,000 entries or 16 MiB.
    pub fn new(
        dir: impl Into<PathBuf>,
        raft_id: u64,
        address: impl Into<String>,
        data_key: [u8; 32],
    ) -> Self {
        Self {
            dir: dir.into(),
            disk: Arc::new(Real),
            raft_id,
            address: address.into(),
            data_key,
            old_keys: Vec::new(),
            existing: false,
            heartbeat: Duration::from_millis(100),
            election_min: Duration::from_millis(300),
            election_max: Duration::from_millis(600),
            segment_bytes: 4 << 20,
            snapshot_every: 10_000,
            snapshot_bytes: 16 << 20,
            keep_entries: 500,
            catch_up: Duration::from_secs(60),
        }
    }

    pub(crate) fn place(&self) -> Place {
        Place {
            disk: self.disk.clone(),
            dir: self.dir.clone(),
            node: self.raft_id,
            data_key: self.data_key,
            old_keys: self.old_keys.clone(),
            existing: self.existing,
            segment_bytes: self.segment_bytes,
        }
    }

    /// How long a leader may be without an answer from a majority before it
    /// is no longer called one. Longer than it takes the others to elect the
    /// next, so that a busy moment does not take leadership away.
    pub(crate) fn quorum_timeout(&self) -> Duration {
        self.election_max * 2
    }

    /// How long a leader keeps its place while its disk does not answer.
    pub(crate) fn stall(&self) -> Duration {
        self.election_max * 5
    }

    /// A member that did not answer for this long is unreachable.
    pub(crate) fn silence(&self) -> Duration {
        (self.heartbeat * 10).max(self.election_max)
    }

    /// How long members that heard a leader vote for nobody else.
    pub(crate) fn lease(&self) -> Duration {
        self.election_min
    }

    /// When this member stands for election.
    pub(crate) fn timers(&self) -> Timers {
        Timers {
            heartbeat: self.heartbeat,
            lease: self.lease(),
            election_max: self.election_max,
        }
    }

    /// openraft stands when it is told to. Of its election timeouts the one is the
    /// lease, the other how long it waits for a vote: for as long as it may.
    pub(crate) fn core(&self) -> Result<Arc<openraft::Config>, OpenError> {
        let ms = |d: Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
        let heartbeat = ms(self.heartbeat);
        let lease = ms(self.lease());
        let config = openraft::Config {
            cluster_name: "skep".into(),
            heartbeat_interval: heartbeat,
            election_timeout_min: lease.saturating_sub(1),
            election_timeout_max: lease,
            install_snapshot_timeout: 10_000,
            max_payload_entries: 1024,
            replication_lag_threshold: self.snapshot_every.saturating_add(self.keep_entries),
            snapshot_policy: SnapshotPolicy::LogsSinceLast(self.snapshot_every),
            snapshot_max_chunk_size: 512 * 1024,
            max_in_snapshot_log_to_keep: self.keep_entries,
            purge_batch_size: 1,
            enable_elect: false,
            ..openraft::Config::default()
        };
        if self.election_max < self.timers().least() {
            return Err(OpenError::Timers(format!(
                "election_max must be at least {:?}, election_min and one and a half heartbeats",
                self.timers().least()
            )));
        }
        config
            .validate()
            .map(Arc::new)
            .map_err(|e| OpenError::Timers(e.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_timers_are_accepted_and_an_impossible_one_is_refused_in_words() {
        let mut config = RaftConfig::new("/nowhere", 1, "a", [0; 32]);
        let core = config.core().unwrap();
        assert_eq!(core.election_timeout_max, 300);
        config.election_max = config.election_min;
        assert!(config.core().unwrap_err().to_string().contains("450ms"));
        config.election_max *= 4;
        config.heartbeat = Duration::from_millis(400);
        assert!(config.core().unwrap_err().to_string().contains("timers"));
    }
}

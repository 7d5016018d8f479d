//! The replicated state: the store behind Raft, and who is told of changes.

use skep_manager_raft::Machine;
use skep_manager_store::{Event, Snapshot, Store};
use skep_types::{Timestamp, Version};
use std::sync::{Arc, RwLock};
use tokio::sync::{broadcast, watch};

/// Changes kept for a watcher that lags; one that lags more is told so.
const EVENT_BACKLOG: usize = 4096;

/// Changes of one entry.
#[derive(Debug)]
pub(crate) struct EntryEvents {
    /// The entry.
    pub version: Version,
    /// Its time.
    pub at: Timestamp,
    /// What changed.
    pub events: Vec<Event>,
}

/// The store of this manager. Written by Raft alone.
pub(crate) struct State {
    store: RwLock<Store>,
    version: watch::Sender<Version>,
    events: broadcast::Sender<Arc<EntryEvents>>,
}

impl State {
    pub(crate) fn new() -> Arc<State> {
        Arc::new(State {
            store: RwLock::new(Store::new()),
            version: watch::Sender::new(Version(0)),
            events: broadcast::Sender::new(EVENT_BACKLOG),
        })
    }

    /// Everything as of now.
    pub(crate) fn snapshot(&self) -> Snapshot {
        self.read(Store::snapshot)
    }

    /// Says when the state changed; never what.
    pub(crate) fn changes(&self) -> watch::Receiver<Version> {
        self.version.subscribe()
    }

    /// Says what changed, for people who watch.
    pub(crate) fn events(&self) -> broadcast::Receiver<Arc<EntryEvents>> {
        self.events.subscribe()
    }

    fn read<T>(&self, view: impl FnOnce(&Store) -> T) -> T {
        view(
            &self
                .store
                .read()
                .unwrap_or_else(std::sync::PoisonError::into_inner),
        )
    }
}

impl Machine for State {
    fn apply(&self, index: u64, entry: &[u8]) -> Vec<u8> {
        let (now, actions) = match skep_proto::decode_entry(entry) {
            Ok(decoded) => decoded,
            Err(error) => {
                // Every manager reads the same bytes, so all skip it alike;
                // it can only come from a newer version of skep.
                tracing::error!(%index, %error, "raft entry cannot be read and is skipped");
                return Vec::new();
            }
        };
        let version = Version(index);
        let applied = {
            let mut store = self
                .store
                .write()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            store.apply(version, now, &actions)
        };
        let results = skep_proto::encode_results(&applied.results);
        if !applied.events.is_empty() {
            let events = EntryEvents {
                version,
                at: now,
                events: applied.events,
            };
            // Nobody watches when this fails.
            let _ = self.events.send(Arc::new(events));
        }
        self.version.send_replace(version);
        results
    }

    fn snapshot(&self) -> Vec<u8> {
        skep_proto::encode_snapshot(&State::snapshot(self).dump())
    }

    fn freeze(&self) -> Box<dyn FnOnce() -> Vec<u8> + Send> {
        let snapshot = State::snapshot(self);
        Box::new(move || skep_proto::encode_snapshot(&snapshot.dump()))
    }

    fn restore(&self, snapshot: &[u8]) -> Result<(), String> {
        let dump = skep_proto::decode_snapshot(snapshot).map_err(|error| error.to_string())?;
        let version = dump.version;
        *self
            .store
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = Store::load(dump);
        self.version.send_replace(version);
        Ok(())
    }
}

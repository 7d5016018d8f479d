//! The replicated state: the store behind Raft, and who is told of changes.

use crate::clock::Clock;
use crate::events::{EntryEvents, Events};
use skep_manager_raft::Machine;
use skep_manager_store::{Snapshot, Store};
use skep_proto::Invalid;
use skep_types::{Format, Timestamp, Version};
use std::sync::{Arc, RwLock};
use tokio::sync::watch;

/// The store of this manager. Written by Raft alone.
pub(crate) struct State {
    store: RwLock<Store>,
    clock: Clock,
    version: watch::Sender<Version>,
    /// What changed, for people who watch.
    pub(crate) events: Events,
}

impl State {
    pub(crate) fn new() -> Arc<State> {
        Arc::new(State {
            store: RwLock::new(Store::new()),
            clock: Clock::new(),
            version: watch::Sender::new(Version(0)),
            events: Events::new(),
        })
    }

    /// Everything as of now.
    pub(crate) fn snapshot(&self) -> Snapshot {
        self.read(Store::snapshot)
    }

    /// What entries are written in now.
    pub(crate) fn format(&self) -> Format {
        self.read(|store| store.state().format())
    }

    /// What time it is for the swarm; never before that of an entry applied.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Says when the state changed; never what.
    pub(crate) fn changes(&self) -> watch::Receiver<Version> {
        self.version.subscribe()
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
    fn apply(&self, index: u64, entry: &[u8]) -> Result<Vec<u8>, String> {
        // Those who can read it apply it: to skip it is to differ from them.
        let (now, actions) = skep_proto::decode_entry(entry).map_err(|error| {
            format!(
                "raft entry {index} cannot be read: {error}, then restart the daemon on this node"
            )
        })?;
        self.clock.learn(now);
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
            self.events.add(EntryEvents {
                version,
                at: now,
                events: applied.events,
            });
        }
        self.version.send_replace(version);
        Ok(results)
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
        self.clock.learn(dump.changed_at());
        let version = dump.version;
        *self
            .store
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = Store::load(dump);
        self.events.restored();
        self.version.send_replace(version);
        Ok(())
    }

    fn is_snapshot(&self, bytes: &[u8]) -> Result<(), String> {
        match skep_proto::decode_snapshot(bytes) {
            // Perhaps a newer version wrote it: `restore` says so.
            Ok(_) | Err(Invalid::Format { found: 1.., .. } | Invalid::Enum(..)) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skep_manager_store::{Action, ConfigAction};
    use skep_types::ConfigId;

    #[test]
    fn the_time_of_an_entry_is_known_from_the_log_and_from_a_snapshot() {
        let ahead = State::new().now() + std::time::Duration::from_secs(3600);
        let create = Action::Config(ConfigAction::Create {
            id: ConfigId::from_bits(1),
            spec: Box::default(),
        });
        let entry = skep_proto::encode_entry(Format::FIRST, ahead, &[create]);
        let (one, other) = (State::new(), State::new());
        one.apply(1, &entry).unwrap();
        assert!(one.now() >= ahead);
        other.restore(&Machine::snapshot(&*one)).unwrap();
        assert!(other.now() >= ahead);
    }

    #[test]
    fn an_entry_of_a_newer_version_is_not_skipped() {
        // Field 1, the format, of a version to come.
        let refused = State::new().apply(7, &[0x08, 99]).unwrap_err();
        for part in [
            "entry 7",
            "99",
            "install the version of skep that the leader runs",
        ] {
            assert!(refused.contains(part), "{refused}");
        }
    }
}

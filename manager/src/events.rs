//! What changed, for people who watch, and what changed lately.

use skep_manager_store::Event;
use skep_types::{Timestamp, Version};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::broadcast;

/// Changes kept for a watcher that lags; one that lags more is told so.
const BACKLOG: usize = 4096;
/// Events kept for who asks about the past.
const PAST_MAX: usize = 4096;

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

/// What watchers are told.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    /// An entry changed something.
    Entry(Arc<EntryEvents>),
    /// A snapshot took the place of many entries: what they changed is not
    /// known.
    Restored,
}

/// The changes that this manager knows of.
pub(crate) struct Events {
    watchers: broadcast::Sender<Change>,
    past: Mutex<Past>,
}

#[derive(Default)]
struct Past {
    entries: VecDeque<Arc<EntryEvents>>,
    /// Events in all of them.
    events: usize,
}

impl Events {
    pub(crate) fn new() -> Events {
        Events {
            watchers: broadcast::Sender::new(BACKLOG),
            past: Mutex::default(),
        }
    }

    /// An entry changed something.
    pub(crate) fn add(&self, entry: EntryEvents) {
        let entry = Arc::new(entry);
        let mut past = self.past();
        past.events += entry.events.len();
        past.entries.push_back(entry.clone());
        while past.events > PAST_MAX
            && let Some(oldest) = past.entries.pop_front()
        {
            past.events -= oldest.events.len();
        }
        // Nobody watches when this fails.
        let _ = self.watchers.send(Change::Entry(entry));
    }

    /// A snapshot was taken over.
    pub(crate) fn restored(&self) {
        *self.past() = Past::default();
        let _ = self.watchers.send(Change::Restored);
    }

    /// What changed since then, as far as it is known, and all that changes from now on.
    pub(crate) fn since(
        &self,
        since: Timestamp,
    ) -> (Vec<Arc<EntryEvents>>, broadcast::Receiver<Change>) {
        let past = self.past();
        let entries = past.entries.iter().filter(|entry| entry.at >= since);
        (entries.cloned().collect(), self.watchers.subscribe())
    }

    fn past(&self) -> MutexGuard<'_, Past> {
        self.past.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skep_manager_store::{EventAction, ObjectId};
    use skep_types::ConfigId;

    fn entry(version: u64, events: usize) -> EntryEvents {
        let event = Event {
            object: ObjectId::Config(ConfigId::from_bits(version.into())),
            action: EventAction::Create,
            name: format!("config-{version}"),
            attributes: Vec::new(),
        };
        EntryEvents {
            version: Version(version),
            at: Timestamp(version),
            events: vec![event; events],
        }
    }

    #[test]
    fn the_newest_events_are_kept_and_a_snapshot_ends_what_is_known() {
        let events = Events::new();
        for version in 1..=10 {
            events.add(entry(version, PAST_MAX / 4));
        }
        let known = |since| -> Vec<u64> {
            let (past, _) = events.since(Timestamp(since));
            past.iter().map(|entry| entry.version.0).collect()
        };
        assert_eq!(known(0), [7, 8, 9, 10]);
        assert_eq!(known(9), [9, 10]);
        events.add(entry(11, PAST_MAX + 1));
        assert!(known(0).is_empty(), "one that is too large is not kept");
        events.add(entry(12, 1));
        assert_eq!(known(0), [12]);
        events.restored();
        assert!(known(0).is_empty());
    }
}

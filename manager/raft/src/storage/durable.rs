//! How far the log is on disk.
//!
//! Owns what was given to the writer and is not durable yet, and why writing
//! ended if it did. openraft waits for the disk within its one loop, in which
//! it also answers heartbeats and counts time. So entries of another leader
//! are called written as soon as the writer has them, and the answer to that
//! leader waits here (`handle`), outside the loop. A leader's own entries are
//! called written when they are: it counts itself towards the majority.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// Entries on their way to the disk.
struct Pending {
    first: u64,
    since: Instant,
}

/// Shared by the log, its writer and those who wait.
pub(crate) struct Durable {
    pending: Mutex<VecDeque<Pending>>,
    /// Why nothing is written any more; changes with every write, too.
    failure: watch::Sender<Option<String>>,
}

impl Durable {
    pub(crate) fn new() -> Self {
        Self {
            pending: Mutex::default(),
            failure: watch::Sender::new(None),
        }
    }

    fn pending(&self) -> MutexGuard<'_, VecDeque<Pending>> {
        self.pending.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Entries from `first` on are about to be sent to the writer.
    pub(crate) fn sent(&self, first: u64) {
        self.pending().push_back(Pending {
            first,
            since: Instant::now(),
        });
    }

    /// The oldest of those sent are on disk.
    pub(crate) fn written(&self) {
        self.pending().pop_front();
        self.failure.send_modify(|_| {});
    }

    /// Nothing more will be written.
    pub(crate) fn fail(&self, reason: String) {
        self.failure.send_modify(|failure| {
            failure.get_or_insert(reason);
        });
    }

    /// Whether all entries up to this one are on disk, as far as they are in
    /// the log.
    pub(crate) fn holds(&self, index: u64) -> bool {
        self.pending().iter().all(|sent| sent.first > index)
    }

    /// Waits until [`Durable::holds`]; false if that will never be.
    pub(crate) async fn reach(&self, index: u64) -> bool {
        let mut failure = self.failure.subscribe();
        let ended = failure.wait_for(|failure| failure.is_some() || self.holds(index));
        ended.await.is_ok_and(|failure| failure.is_none())
    }

    /// For how long the disk has been at work on what it was given.
    pub(crate) fn waiting(&self) -> Option<Duration> {
        self.pending().front().map(|sent| sent.since.elapsed())
    }

    /// Why nothing is written any more, if so.
    pub(crate) fn failure(&self) -> Option<String> {
        self.failure.borrow().clone()
    }

    /// Waits until nothing is written any more because the disk failed.
    pub(crate) async fn failed(&self) {
        let mut failure = self.failure.subscribe();
        // The sender is `self`, so it is not gone.
        let _ = failure.wait_for(Option::is_some).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_entry_is_held_when_all_that_was_sent_before_it_is_written() {
        let durable = Durable::new();
        assert!(durable.holds(9));
        durable.sent(5);
        // A new leader wrote over what was there.
        durable.sent(3);
        assert!(durable.holds(2));
        assert!(!durable.holds(4));
        durable.written();
        assert!(!durable.holds(5), "3 and all after it are not written");
        assert_eq!(durable.waiting(), Some(Duration::ZERO));
        durable.written();
        assert!(durable.reach(5).await);
        assert_eq!(durable.waiting(), None);
        durable.sent(6);
        durable.fail("no disk".into());
        assert!(!durable.reach(6).await);
        assert_eq!(durable.failure().as_deref(), Some("no disk"));
    }
}

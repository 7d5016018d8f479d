//! Whether a manager hears this node, and since when none does.

use skep_agent_planner::restart::SILENT_BEATS;
use skep_types::ClusterSpec;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};

/// Whether managers hear this node. Cheap to clone.
#[derive(Clone)]
pub struct Contact(Arc<watch::Sender<State>>);

struct State {
    /// Sessions with managers.
    sessions: usize,
    /// When the last session ended, or the daemon began.
    since: Instant,
    /// Time between heartbeats, as a manager asked for it last.
    period: Duration,
}

impl Default for Contact {
    fn default() -> Contact {
        Contact(Arc::new(watch::Sender::new(State {
            sessions: 0,
            since: Instant::now(),
            period: ClusterSpec::default().heartbeat,
        })))
    }
}

/// There is a session while this is kept.
pub(crate) struct Listener(Contact);

impl Drop for Listener {
    fn drop(&mut self) {
        self.0.0.send_modify(|state| {
            state.sessions -= 1;
            state.since = Instant::now();
        });
    }
}

impl Contact {
    /// A manager listens for as long as what is returned is kept.
    pub(crate) fn open(&self) -> Listener {
        self.0.send_modify(|state| state.sessions += 1);
        Listener(self.clone())
    }

    /// A manager asks for heartbeats in this period.
    pub(crate) fn asked(&self, period: Duration) {
        self.0.send_modify(|state| state.period = period);
    }

    /// Whether a manager listens now.
    pub fn is_heard(&self) -> bool {
        self.0.borrow().sessions > 0
    }

    /// Waits until a manager listens.
    pub async fn heard(&self) {
        // The sender is as long-lived as this.
        let _ = self
            .0
            .subscribe()
            .wait_for(|state| state.sessions > 0)
            .await;
    }

    /// Waits until `at`, and then until none has listened for some heartbeats: the node
    /// is on its own.
    pub async fn silent(&self, at: Instant) {
        sleep_until(at).await;
        let mut state = self.0.subscribe();
        loop {
            let until = {
                let state = state.borrow_and_update();
                (state.sessions == 0).then(|| state.since + state.period * SILENT_BEATS)
            };
            match until {
                // The sender is as long-lived as this.
                None => drop(state.changed().await),
                Some(until) => {
                    if timeout_at(until, state.changed()).await.is_err() {
                        return;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::{advance, timeout};

    #[tokio::test]
    async fn a_manager_listens_for_as_long_as_there_is_a_session() {
        let contact = Contact::default();
        assert!(!contact.is_heard());
        let old = contact.open();
        let new = contact.clone().open();
        drop(old);
        assert!(contact.is_heard());
        contact.heard().await;
        drop(new);
        assert!(!contact.is_heard());
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_is_on_its_own_three_heartbeats_after_its_last_session() {
        let contact = Contact::default();
        let silent_within = async |seconds| {
            let silent = contact.silent(Instant::now());
            let limit = Duration::from_secs(seconds);
            timeout(limit, silent).await.is_ok()
        };
        assert!(!silent_within(2).await);
        assert!(silent_within(2).await, "since the daemon began");
        let session = contact.open();
        contact.asked(Duration::from_secs(10));
        assert!(!silent_within(100).await);
        drop(session);
        assert!(!silent_within(29).await);
        // A session, though a short one.
        drop(contact.open());
        assert!(!silent_within(29).await);
        assert!(silent_within(2).await);
        // It may not start before.
        let begun = Instant::now();
        contact.silent(begun + Duration::from_secs(5)).await;
        assert_eq!(begun.elapsed(), Duration::from_secs(5));
        advance(Duration::from_secs(60)).await;
        assert!(silent_within(1).await);
    }
}

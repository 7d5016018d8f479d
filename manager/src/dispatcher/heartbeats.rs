//! When each node was last heard, by a clock that nobody sets.
//!
//! In memory of the leader only: heartbeats never enter Raft. The planner
//! reckons in the time of day, so what was heard is told as that long before
//! its now: a step of the system's clock makes nobody late.

use skep_manager_planner::{Heard, Liveness};
use skep_types::{NodeId, Timestamp};
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::Instant;

/// How often a leader shows itself that it runs.
pub(crate) const PULSE: Duration = Duration::from_millis(100);

/// Heartbeats after which a session that was not heard is taken for ended.
const STALE: u32 = 3;

/// The count of one term.
pub(super) struct Heartbeats {
    since: Instant,
    heard: HashMap<NodeId, Sign>,
    /// When this process was last seen to run.
    awake: Instant,
}

/// A sign of life, answered with the period until the next.
struct Sign {
    at: Instant,
    period: Duration,
    by: Session,
}

/// The session a node was heard by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Session {
    /// The manager that holds it.
    pub door: NodeId,
    /// Its number.
    pub number: u64,
}

impl Heartbeats {
    /// Nobody heard yet.
    pub(super) fn new(now: Instant) -> Heartbeats {
        Heartbeats {
            since: now,
            heard: HashMap::new(),
            awake: now,
        }
    }

    /// How long this count has gone on.
    pub(super) fn age(&self, now: Instant) -> Duration {
        now.duration_since(self.since)
    }

    /// Takes note of a sign of life, unless a later one is known. True when the
    /// node may have been given up in the meantime.
    pub(super) fn hear(
        &mut self,
        node: NodeId,
        by: Session,
        at: Instant,
        period: Duration,
    ) -> bool {
        // Nobody is late for what was before this count began.
        let at = at.max(self.since);
        let before = self.heard.get(&node);
        if before.is_some_and(|before| before.at > at) {
            return false;
        }
        let sign = Sign { at, period, by };
        self.heard
            .insert(node, sign)
            .is_none_or(|before| at.duration_since(before.at) > before.period * 2)
    }

    /// It is as if the node had never been heard. Returns its last session.
    pub(super) fn forget(&mut self, node: NodeId) -> Option<Session> {
        self.heard.remove(&node).map(|sign| sign.by)
    }

    /// The session the node was heard by last, unless that is too long ago.
    pub(super) fn session(&self, node: NodeId, now: Instant) -> Option<Session> {
        let sign = self.heard.get(&node)?;
        let fresh = now.duration_since(sign.at) <= sign.period * STALE;
        fresh.then_some(sign.by)
    }

    /// This process runs. When it did not for more than a heartbeat (it was
    /// stopped, or its machine was) nobody could be heard, and the count
    /// begins anew.
    pub(super) fn awake(&mut self, now: Instant, period: Duration) {
        let away = now.duration_since(self.awake);
        if away > period + PULSE {
            tracing::warn!(
                ?away,
                "this manager was paused; heartbeats are counted anew"
            );
            *self = Heartbeats::new(now);
        }
        self.awake = now;
    }

    /// What was heard, reckoned back from `at`, which is now.
    pub(super) fn liveness(&self, now: Instant, at: Timestamp) -> Liveness {
        let before = |instant: Instant| {
            let passed = now.duration_since(instant).as_millis();
            Timestamp(at.0.saturating_sub(u64::try_from(passed).unwrap_or(u64::MAX)))
        };
        let heard = self.heard.iter().map(|(node, sign)| {
            let heard = Heard {
                at: before(sign.at),
                period: sign.period,
            };
            (*node, heard)
        });
        Liveness {
            leader_since: before(self.since),
            heard: heard.collect(),
            former: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId::from_bits(1);
    const PERIOD: Duration = Duration::from_secs(1);
    const BY: Session = Session {
        door: NodeId::from_bits(2),
        number: 3,
    };

    #[test]
    fn a_step_of_the_clock_makes_nobody_late() {
        let start = Instant::now();
        let mut count = Heartbeats::new(start);
        count.hear(NODE, BY, start, PERIOD);
        let now = start + PERIOD;
        for at in [Timestamp(5_000_000), Timestamp(9_000_000_000), Timestamp(4)] {
            let heard = count.liveness(now, at).heard[&NODE];
            assert!(at.since(heard.at) <= PERIOD, "{at:?}");
        }
    }

    #[test]
    fn nobody_is_late_when_it_was_the_leader_that_was_away() {
        let start = Instant::now();
        let at = Timestamp(5_000_000);
        let mut count = Heartbeats::new(start);
        count.hear(NODE, BY, start, PERIOD);
        let mut now = start;
        for _ in 0..50 {
            now += PULSE;
            count.awake(now, PERIOD);
        }
        assert_eq!(
            count.liveness(now, at).heard.len(),
            1,
            "it ran all the time"
        );

        now += PERIOD * 10;
        count.awake(now, PERIOD);
        assert_eq!(count.liveness(now, at), Liveness::new(at));
    }
}

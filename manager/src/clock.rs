//! The swarm's clock: the one place where this crate asks what time it is.
//!
//! Every entry of the log carries the time of the leader that proposed it, and delays
//! are counted from there. So the clock of the next leader, or of the same one after
//! somebody set it right, may be behind what is already written; the swarm's never is:
//! it goes on from the last entry at the pace of time.

use skep_types::Timestamp;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What this manager knows of the time.
pub(crate) struct Clock {
    /// The latest time agreed on, and when it was learned.
    agreed: Mutex<(Timestamp, Instant)>,
}

impl Clock {
    pub(crate) fn new() -> Clock {
        Clock {
            agreed: Mutex::new((Timestamp(0), Instant::now())),
        }
    }

    /// It is at least this late: an agreed entry says so.
    pub(crate) fn learn(&self, at: Timestamp) {
        let learned = Instant::now();
        let mut agreed = self.agreed.lock().unwrap_or_else(PoisonError::into_inner);
        if at > agreed.0 + learned.saturating_duration_since(agreed.1) {
            *agreed = (at, learned);
        }
    }

    /// Now, by the clock of this machine, or by the swarm's where that is ahead.
    pub(crate) fn now(&self) -> Timestamp {
        let agreed = self.agreed.lock().unwrap_or_else(PoisonError::into_inner);
        wall().max(agreed.0 + agreed.1.elapsed())
    }
}

/// The clock of this machine.
fn wall() -> Timestamp {
    let since_epoch: Duration = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn it_goes_on_from_an_entry_of_a_clock_that_was_ahead() {
        let clock = Clock::new();
        let ahead = wall() + HOUR;
        clock.learn(ahead);
        let (now, later) = (clock.now(), Timestamp(ahead.0 + 1));
        assert!(now >= ahead && now.since(ahead) < HOUR, "{now:?}");
        while clock.now() < later {
            std::thread::yield_now();
        }
    }

    #[test]
    fn an_entry_of_a_clock_that_was_behind_does_not_put_it_back() {
        let clock = Clock::new();
        clock.learn(Timestamp(1));
        assert!(clock.now() + HOUR > wall());
        let ahead = wall() + HOUR;
        clock.learn(ahead);
        clock.learn(Timestamp(2));
        assert!(clock.now() >= ahead);
    }
}

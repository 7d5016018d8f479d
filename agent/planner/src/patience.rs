//! How long a node tries to prepare a task that fails for reasons that may pass.

use std::time::{Duration, Instant};

/// After so long of nothing but such failures another node may do better.
const PATIENCE: Duration = Duration::from_secs(3 * 60);

/// The patience with one task.
#[derive(Debug, Default)]
pub struct Patience {
    /// The first failure of those in a row.
    since: Option<Instant>,
}

impl Patience {
    /// Preparing failed once more, for now. Whether it has been tried for long enough:
    /// never without a manager that listens. Then nobody puts the task elsewhere, and
    /// what keeps the node from its managers may be what keeps it from the rest.
    pub fn is_over(&mut self, now: Instant, is_heard: bool) -> bool {
        if !is_heard {
            self.since = None;
            return false;
        }
        let since = *self.since.get_or_insert(now);
        now.saturating_duration_since(since) >= PATIENCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_for_minutes_is_given_up() {
        let (mut patience, begun) = (Patience::default(), Instant::now());
        let over = [0, 10, 179, 180].map(|at| {
            let now = begun + Duration::from_secs(at);
            patience.is_over(now, true)
        });
        assert_eq!(over, [false, false, false, true]);
    }

    #[test]
    fn time_without_a_manager_does_not_count() {
        let (mut patience, begun) = (Patience::default(), Instant::now());
        let mut is_over = |at, is_heard| {
            let now = begun + Duration::from_secs(at);
            patience.is_over(now, is_heard)
        };
        assert!(!is_over(0, true));
        assert!(!is_over(300, false));
        // The manager is back; the rest may take a moment more.
        assert!(!is_over(310, true));
        assert!(!is_over(489, true));
        assert!(is_over(490, true));
    }
}

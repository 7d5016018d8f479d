//! How a service wants its tasks changed: how many at a time, in which order, and how
//! long each is watched.

use crate::allocator::has_host_ports;
use crate::draft::Work;
use skep_types::{Service, Timestamp, UpdateOrder, UpdateState};
use std::time::Duration;

/// Swarm's default monitor time.
pub(super) const DEFAULT_MONITOR: Duration = Duration::from_secs(5);

/// What is in force: a rollback has its own.
pub(crate) struct Pace {
    parallelism: u32,
    /// Time a task takes traffic until the next is changed.
    watched: Duration,
    /// The new task starts before the old one stops.
    pub(in crate::orchestrator) starts_first: bool,
    /// Tasks are being changed by an update or a rollback.
    pub(in crate::orchestrator) rolls: bool,
}

impl Pace {
    pub(crate) fn of(service: &Service) -> Pace {
        let state = service.update_status.as_ref().map(|status| status.state);
        let config = match state {
            Some(UpdateState::RollbackStarted | UpdateState::RollbackPaused) => {
                &service.spec.rollback
            }
            _ => &service.spec.update,
        };
        Pace {
            parallelism: config.parallelism,
            watched: config.monitor.unwrap_or(DEFAULT_MONITOR).max(config.delay),
            starts_first: config.order == UpdateOrder::StartFirst && !has_host_ports(service),
            rolls: matches!(
                state,
                Some(UpdateState::Updating | UpdateState::RollbackStarted)
            ),
        }
    }

    /// How many more may be changed beside so many.
    pub(in crate::orchestrator) fn room(&self, busy: usize) -> usize {
        match self.parallelism {
            0 => usize::MAX,
            n => (n as usize).saturating_sub(busy),
        }
    }

    /// When a task that takes traffic has been watched long enough.
    pub(crate) fn settles_at(&self, task: &Work<'_>) -> Option<Timestamp> {
        task.is_ready().then(|| task.ready_since() + self.watched)
    }
}

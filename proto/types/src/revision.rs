//! What a service was before: its revisions, and which of them it goes back to.

use crate::meta::Timestamp;
use crate::service::{Service, ServiceSpec};

/// Earlier revisions that a service keeps.
pub const PAST_MAX: usize = 10;

/// One of the things a service was told to be. How many tasks it has and its labels
/// are no part of that: they may change within a revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revision {
    /// Counted from 1 in each service; never used again.
    pub number: u64,
    /// When it became the present one.
    pub made_at: Timestamp,
    /// It was made by going back to that one.
    pub returns_to: Option<u64>,
    /// What came of rolling it out; `None` while nothing is known of that.
    pub outcome: Option<RevisionOutcome>,
}

impl Revision {
    /// That of a new service.
    pub fn first(made_at: Timestamp) -> Revision {
        Revision {
            number: 1,
            made_at,
            returns_to: None,
            outcome: None,
        }
    }
}

/// What came of rolling out a revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RevisionOutcome {
    /// Every task was as it says.
    Completed,
    /// Its update failed.
    Failed,
    /// Another one was asked for before it was known.
    Superseded,
}

/// An earlier revision.
#[derive(Debug, Clone, PartialEq)]
pub struct PastRevision {
    /// Which, and what came of it.
    pub revision: Revision,
    /// What the service was.
    pub spec: ServiceSpec,
}

impl ServiceSpec {
    /// They differ at most in what is no part of a revision.
    pub fn same_revision(&self, other: &ServiceSpec) -> bool {
        // Destructured, so that a new part has to be decided on here.
        let ServiceSpec {
            name: _,
            labels: _,
            mode: _,
            task,
            update,
            rollback,
            endpoint,
            // Jobs have runs instead.
            job: _,
            rebalance: _,
            depends_on: _,
        } = self;
        *task == other.task
            && *update == other.update
            && *rollback == other.rollback
            && *endpoint == other.endpoint
    }
}

impl Service {
    /// An earlier revision that is kept.
    pub fn past_revision(&self, number: u64) -> Option<&PastRevision> {
        self.past.iter().find(|past| past.revision.number == number)
    }

    /// What a rollback returns to unless told otherwise: the newest earlier one that
    /// did not fail, and is another than the present one.
    pub fn before(&self) -> Option<&PastRevision> {
        self.newest(|outcome| outcome != Some(RevisionOutcome::Failed))
    }

    /// What a failed update returns to by itself: the newest earlier one that was
    /// rolled out whole, and is another than the present one.
    pub fn last_good(&self) -> Option<&PastRevision> {
        self.newest(|outcome| outcome == Some(RevisionOutcome::Completed))
    }

    fn newest(&self, serves: impl Fn(Option<RevisionOutcome>) -> bool) -> Option<&PastRevision> {
        let mut past = self.past.iter().rev();
        past.find(|past| serves(past.revision.outcome) && !past.spec.same_revision(&self.spec))
    }

    /// What it becomes by going back to one. It keeps its number of tasks, whether they are
    /// spread anew by themselves, and what they wait for.
    pub fn as_before(&self, past: &PastRevision) -> ServiceSpec {
        ServiceSpec {
            mode: self.spec.mode,
            rebalance: self.spec.rebalance,
            depends_on: self.spec.depends_on.clone(),
            ..past.spec.clone()
        }
    }
}

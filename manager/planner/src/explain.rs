//! Why tasks are where they are: for a service every node, for a node every service, and
//! the places that stay empty.
//!
//! Asks the scheduler and the orchestrator themselves, on a draft that is thrown away, so
//! that what is told is what they would do. From the snapshot alone: any manager can.

use crate::allocator::Allocator;
use crate::draft::{Draft, Position};
use crate::explained::{Explained, Subject, Vacancy};
use crate::orchestrator::vacancies;
use crate::scheduler::verdicts;
use skep_manager_store::Snapshot;
use skep_types::Timestamp;

/// Explains; empty for what is not there.
pub fn explain(snapshot: &Snapshot, now: Timestamp, subject: Subject) -> Explained {
    let mut draft = Draft::whole(snapshot, now);
    let mut allocator = Allocator::new(&draft);
    let (nodes, verdicts) = verdicts(&draft, &mut allocator, subject);
    let vacant = match subject {
        Subject::Service(service) => vacancies(&mut draft, service),
        Subject::Node(_) => Vec::new(),
    };
    let vacancy = |(position, why)| {
        let (slot, node) = match position {
            Position::Slot(slot) => (Some(slot), None),
            Position::Node(node) => (None, Some(node)),
            Position::Run(_, slot, node) => (Some(slot), node),
        };
        Vacancy { slot, node, why }
    };
    Explained {
        nodes,
        verdicts,
        vacancies: vacant.into_iter().map(vacancy).collect(),
    }
}

//! What the managers should change next, as a pure function.
//!
//! [`reconcile`] looks at everything on every wake and returns a [`Plan`]:
//! actions to propose, and when to look again. It knows no clock, no disk and
//! no network, keeps nothing between passes that the plan depends on, and gives the
//! same plan for the same input; a new leader therefore goes on where the old one stopped.
//! Proposing the plan and waiting is the manager's business.
//!
//! A pass goes through these steps, each reading what the ones before it
//! decided:
//! 1. `nodes`: who answers; addresses in the mesh; nodes that never came.
//! 2. `allocator`: subnets, virtual addresses, published ports.
//! 3. `orchestrator`: which tasks should exist; restarts; rolling updates; moves.
//! 4. `reaper`: which tasks are forgotten; `generations`: which contents of secrets and
//!    configs are.
//! 5. `scheduler`: which node each waiting task gets, with its addresses; `allocator`
//!    again: further addresses of those that run.
//! 6. `stacks`: which networks are removed that stacks have left.
//!
//! Changes of a node's role are not planned here. [`deploy`] says what a user's deploy of a
//! stack changes.

#![forbid(unsafe_code)]

mod allocator;
mod current;
pub mod deploy;
mod draft;
mod explain;
mod explained;
mod foresee;
mod generations;
mod ids;
mod liveness;
mod nodes;
mod orchestrator;
mod plan;
mod reaper;
mod scheduler;
mod settled;
mod stacks;

pub use explain::explain;
pub use explained::{Explained, Fit, NodeUse, Subject, Vacancy, Verdict};
pub use foresee::{Foreseen, Step, Waiting, foresee};
pub use ids::IdSource;
pub use liveness::{Heard, Liveness};
pub use plan::Plan;
pub use settled::Settled;

use allocator::Allocator;
use draft::Draft;
use skep_manager_store::Snapshot;
use skep_types::Timestamp;

/// One full pass.
pub fn reconcile(
    snapshot: &Snapshot,
    liveness: &Liveness,
    now: Timestamp,
    ids: &mut IdSource,
) -> Plan {
    pass(snapshot, liveness, now, ids, &mut Settled::default())
}

/// The same pass, which spares itself a look at what earlier ones found settled and has
/// not changed since. The plan is that of [`reconcile`]; with debug assertions that is
/// checked.
pub fn reconcile_changed(
    snapshot: &Snapshot,
    liveness: &Liveness,
    now: Timestamp,
    ids: &mut IdSource,
    settled: &mut Settled,
) -> Plan {
    let mut same_ids = ids.clone();
    let plan = pass(snapshot, liveness, now, ids, settled);
    if cfg!(debug_assertions) {
        let whole = reconcile(snapshot, liveness, now, &mut same_ids);
        assert_eq!(plan.actions, whole.actions, "a service was passed over");
        assert_eq!(plan.explanations, whole.explanations);
        // A time that was found to be too early meanwhile is a look for nothing.
        let late = |at| plan.wake_at.is_none_or(|wakes| wakes > at);
        assert!(!whole.wake_at.is_some_and(late), "{plan:?} {whole:?}");
    }
    plan
}

fn pass(
    snapshot: &Snapshot,
    liveness: &Liveness,
    now: Timestamp,
    ids: &mut IdSource,
    settled: &mut Settled,
) -> Plan {
    let mut draft = Draft::new(snapshot, now, liveness.leader_since);
    nodes::judge(&mut draft, liveness);
    nodes::join_mesh(&mut draft);
    nodes::forget_unheard(&mut draft);
    let kept = settled.gather(&mut draft);
    let mut allocator = Allocator::new(&draft);
    allocator.endpoints(&mut draft);
    orchestrator::orchestrate(&mut draft, &mut allocator, ids);
    reaper::reap(&mut draft);
    generations::collect(&mut draft);
    scheduler::schedule(&mut draft, &mut allocator);
    allocator::attach(&mut draft, &mut allocator);
    allocator.finish(&mut draft);
    stacks::remove_left(&mut draft);
    let looked = settled::look(&mut draft);
    settled.keep(snapshot, liveness.leader_since, kept, looked);
    draft.into_plan()
}

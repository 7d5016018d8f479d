//! The one loop: look at everything, plan, propose, wait.

use crate::shared::Shared;
use skep_manager_planner::{IdSource, Settled, reconcile_changed};
use skep_manager_store::Snapshot;
use skep_types::{Node, NodeId, Timestamp};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// A pass that looks at everything is made this often, whatever happens.
const FULL_SCAN: Duration = Duration::from_secs(10);
/// Pause after a proposal that could not be agreed on; leadership is about to
/// be lost, or a majority about to come back.
const AFTER_FAILURE: Duration = Duration::from_millis(100);
/// A pass that found nothing to do and took longer than this rests for as long as it
/// took, up to a limit.
const REST_MIN: Duration = Duration::from_millis(2);
const REST_MAX: Duration = Duration::from_secs(1);

/// Reconciles until it is dropped. Run by the leader only; the Raft member `former` led
/// before it.
pub(crate) async fn run(shared: Shared, former: Option<u64>) {
    let mut ids = IdSource::new(rand::random());
    let mut changes = shared.state.changes();
    let mut settled = Settled::default();
    let mut whole = Instant::now();
    loop {
        changes.borrow_and_update();
        if whole.elapsed() >= FULL_SCAN {
            settled = Settled::default();
            whole = Instant::now();
        }
        let snapshot = shared.state.snapshot();
        let now = shared.state.now();
        let mut liveness = shared.sessions.liveness(now, snapshot.heartbeat());
        liveness.former = former.and_then(|id| last_heard(&shared, &snapshot, id, now));
        let begun = Instant::now();
        let plan = reconcile_changed(&snapshot, &liveness, now, &mut ids, &mut settled);
        let took = begun.elapsed();
        if !plan.actions.is_empty() {
            tracing::debug!(actions = plan.actions.len(), version = %snapshot.version(), "planned");
            match shared.propose_all(&plan.actions).await {
                // A plan the store does not take at all is made again with a pause.
                Ok(0) => {
                    tokio::time::sleep(AFTER_FAILURE).await;
                    continue;
                }
                // The next pass sees what it did.
                Ok(_) => continue,
                Err(error) => {
                    tracing::warn!(%error, "plan could not be agreed on");
                    tokio::time::sleep(AFTER_FAILURE).await;
                    continue;
                }
            }
        }
        let wait = plan
            .wake_at
            .map_or(FULL_SCAN, |at| at.since(now).min(FULL_SCAN));
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            () = shared.sessions.liveness_changed() => {}
            () = tokio::time::sleep(wait) => continue,
        }
        // Where something is reported all the time, of thousands of nodes, looking
        // takes no more than half a core. Elsewhere a pass takes no time to speak of.
        if took > REST_MIN {
            tokio::time::sleep(took.min(REST_MAX)).await;
        }
    }
}

/// The node that is this Raft member, and when it last spoke as one.
fn last_heard(
    shared: &Shared,
    snapshot: &Snapshot,
    raft_id: u64,
    now: Timestamp,
) -> Option<(NodeId, Timestamp)> {
    let silent = shared.raft.last_heard(raft_id)?.elapsed().as_millis();
    let silent = u64::try_from(silent).unwrap_or(u64::MAX);
    let is_it = |node: &&Arc<Node>| {
        node.manager
            .as_ref()
            .is_some_and(|seat| seat.raft_id == raft_id)
    };
    let node = snapshot.nodes().find(is_it)?;
    Some((node.id, Timestamp(now.0.saturating_sub(silent))))
}

//! Leadership is one scope: everything that only the leader does starts
//! together and ends together.

use crate::dispatcher::heartbeats;
use crate::shared::Shared;
use crate::{keeper, reconciler, rotation};
use std::time::Duration;
use tokio::task::JoinSet;

/// Pause before a leader that lost a part starts anew.
const BEFORE_ANEW: Duration = Duration::from_secs(1);

/// Follows leadership for as long as it is not dropped.
pub(crate) async fn run(shared: Shared) {
    let mut leadership = shared.raft.leadership();
    let mut former = None;
    loop {
        let current = leadership.borrow_and_update().clone();
        if let Some((leader, _)) = &current.leader
            && *leader != shared.raft.id()
        {
            former = Some(*leader);
        }
        if current.is_leader {
            tracing::info!(term = current.term, "leading");
            shared.sessions.begin_term();
            let mut duties = JoinSet::new();
            duties.spawn(reconciler::run(shared.clone(), former.take()));
            duties.spawn(keeper::run(shared.clone()));
            duties.spawn(rotation::run(shared.clone()));
            duties.spawn(pulse(shared.clone()));
            tokio::select! {
                () = lost(&mut leadership, current.term) => {}
                // A leader that lacks a part is worse than none: start anew.
                ended = duties.join_next() => {
                    tracing::error!(?ended, "a duty of the leader ended");
                }
            }
            duties.shutdown().await;
            shared.sessions.end_term();
            tracing::info!(term = current.term, "not leading any more");
            // What ended a duty may end it again at once.
            tokio::select! {
                () = lost(&mut leadership, current.term) => {}
                () = tokio::time::sleep(BEFORE_ANEW) => {}
            }
        } else if leadership.changed().await.is_err() {
            return;
        }
    }
}

/// A leader that was paused must not take its own silence for the agents'.
async fn pulse(shared: Shared) {
    loop {
        tokio::time::sleep(heartbeats::PULSE).await;
        let period = shared.state.snapshot().heartbeat();
        shared.sessions.awake(period);
    }
}

async fn lost(
    leadership: &mut tokio::sync::watch::Receiver<skep_manager_raft::Leadership>,
    term: u64,
) {
    // An error means that Raft has stopped, which is the end as well.
    let _ = leadership
        .wait_for(|now| !now.is_leader || now.term != term)
        .await;
}

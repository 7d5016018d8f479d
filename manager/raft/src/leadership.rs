//! Who leads, as the rest of the manager should see it.
//!
//! openraft calls a node leader as soon as it is elected and for as long as
//! it hears of no other. Here a leader is one that has applied everything
//! that was committed before it (its first entry of the term is applied) and
//! that heard from a majority not long ago. The latter matters after a
//! restart too: openraft takes up the leadership that is noted on disk, while
//! the others may long have another leader.

use std::time::Duration;

use openraft::ServerState;
use tokio::sync::watch;

use crate::types::{Metrics, NodeId};

/// Who leads this term.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leadership {
    /// The term; grows with every election.
    pub term: u64,
    /// Raft id and address of the leader, if there is one.
    pub leader: Option<(u64, String)>,
    /// Whether this node leads: its state is complete and a majority follows.
    pub is_leader: bool,
}

/// The leader that openraft names, with its address.
pub(crate) fn leader_of(metrics: &Metrics) -> Option<(NodeId, String)> {
    let id = metrics.current_leader?;
    let membership = metrics.membership_config.membership();
    Some((id, membership.get_node(&id)?.addr.clone()))
}

/// Whether this node leads but has not heard from a majority for too long.
pub(crate) fn quorum_lost(metrics: &Metrics, limit: Duration) -> bool {
    metrics.state == ServerState::Leader
        && metrics
            .millis_since_quorum_ack
            .is_some_and(|ms| Duration::from_millis(ms) > limit)
}

pub(crate) fn view(metrics: &Metrics, limit: Duration) -> Leadership {
    let term = metrics.current_term;
    if metrics.running_state.is_err() || quorum_lost(metrics, limit) {
        return Leadership {
            term,
            leader: None,
            is_leader: false,
        };
    }
    let heard = metrics.millis_since_quorum_ack.is_some();
    let complete = metrics
        .last_applied
        .is_some_and(|id| id.leader_id == *metrics.vote.leader_id());
    let unconfirmed = metrics.state == ServerState::Leader && !heard;
    Leadership {
        term,
        leader: leader_of(metrics).filter(|_| !unconfirmed),
        is_leader: metrics.state == ServerState::Leader && heard && complete,
    }
}

/// Follows openraft's metrics until it stops. A majority that was not heard of
/// gets `grace` to be heard: after a stall of this node its answers are there,
/// but not counted yet.
pub(crate) async fn follow(
    mut metrics: watch::Receiver<Metrics>,
    leadership: watch::Sender<Leadership>,
    limit: Duration,
    grace: Duration,
) {
    loop {
        if leadership.borrow().is_leader && quorum_lost(&metrics.borrow(), limit) {
            let heard = metrics.wait_for(|now| !quorum_lost(now, limit));
            // Either way the current state decides.
            let _ = tokio::time::timeout(grace, heard).await;
        }
        let current = view(&metrics.borrow_and_update(), limit);
        leadership.send_if_modified(|old| {
            let changed = *old != current;
            *old = current;
            changed
        });
        if metrics.changed().await.is_err() {
            break;
        }
    }
    leadership.send_modify(|last| {
        last.leader = None;
        last.is_leader = false;
    });
}

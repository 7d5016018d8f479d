//! A leader that no majority answers falls silent.
//!
//! openraft's goes on beating those whom it reaches, and who hears a leader votes for no other.
//! Where some links are cut, nobody would lead then: not this one, which has no majority,
//! and nobody who has. So it says nothing more as a leader, and asks the others whether they are
//! there, which keeps nobody from voting; once a majority is, it goes on.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::candidacy::{agreed, voters_besides};
use crate::leadership::quorum_lost;
use crate::network::Peers;
use crate::types::Metrics;
use crate::wire::{Empty, RequestKind};

/// Keeps the leader silent for as long as no majority answers. A majority that was not heard
/// for `limit` gets `grace` to be heard, as in [`crate::leadership::follow`]. Ends with the core.
pub(crate) async fn run(
    mut metrics: watch::Receiver<Metrics>,
    peers: Arc<Peers>,
    limit: Duration,
    grace: Duration,
) {
    loop {
        let lost = metrics.wait_for(|now| quorum_lost(now, limit));
        if lost.await.is_err() {
            return;
        }
        let heard = metrics.wait_for(|now| !quorum_lost(now, limit));
        if timeout(grace, heard).await.is_err() {
            while is_alone(&metrics, &peers, limit, grace).await {
                if peers.silence(true) {
                    tracing::warn!("no majority of the managers answers: others may elect one");
                }
                sleep(grace).await;
            }
            peers.silence(false);
        }
        // What it sends now is answered, and counted, by then.
        sleep(grace).await;
    }
}

/// It leads, and no majority answers it.
async fn is_alone(
    metrics: &watch::Receiver<Metrics>,
    peers: &Arc<Peers>,
    limit: Duration,
    patience: Duration,
) -> bool {
    let (id, members) = {
        let metrics = metrics.borrow();
        if !quorum_lost(&metrics, limit) {
            return false;
        }
        (metrics.id, metrics.membership_config.membership().clone())
    };
    let mut asked = JoinSet::new();
    for (other, address) in voters_besides(&members, id) {
        let peers = peers.clone();
        asked.spawn(async move {
            let answer = peers.ask(other, &address, RequestKind::Ping(Empty {}));
            answer.await.is_ok().then_some(other)
        });
    }
    !timeout(patience, agreed(&members, id, asked))
        .await
        .unwrap_or(false)
}

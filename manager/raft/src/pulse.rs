//! Heartbeats of a leader whose disk keeps it waiting.
//!
//! openraft writes a leader's entries within the loop that also sends its
//! heartbeats. A disk that stalls for longer than an election timeout would
//! cost the leadership, on a busy machine often to one whose disk is the same.
//! So this speaks for the leader meanwhile, for a limited time: a leader whose
//! disk does not come back must lose its place.

use std::sync::Arc;
use std::time::Duration;

use openraft::ServerState;
use tokio::sync::watch;
use tokio::time::{interval, timeout};

use crate::network::Peers;
use crate::storage::Durable;
use crate::types::Metrics;
use crate::wire::{AppendRequest, RequestKind};

/// Shows for at most `limit` that the leader lives while it waits for its
/// disk. Never ends by itself.
pub(crate) async fn run(
    metrics: watch::Receiver<Metrics>,
    peers: Arc<Peers>,
    durable: Arc<Durable>,
    heartbeat: Duration,
    limit: Duration,
) {
    let mut beats = interval(heartbeat);
    loop {
        beats.tick().await;
        let stalled = durable.waiting();
        if !stalled.is_some_and(|stalled| stalled >= heartbeat && stalled < limit) {
            continue;
        }
        let (vote, others) = {
            let metrics = metrics.borrow();
            if metrics.state != ServerState::Leader {
                continue;
            }
            let nodes = metrics.membership_config.membership().nodes();
            let others: Vec<_> = nodes
                .filter(|(id, _)| **id != metrics.id)
                .map(|(id, node)| (*id, node.addr.clone()))
                .collect();
            (metrics.vote, others)
        };
        for (id, address) in others {
            let peers = peers.clone();
            // Says nothing of the log: every log holds what precedes the first
            // entry.
            let beat = RequestKind::Append(AppendRequest {
                vote: Some((&vote).into()),
                previous: None,
                entries: Vec::new(),
                commit: None,
            });
            tokio::spawn(async move {
                // Whether it arrived shows when the leader is back.
                let _ = timeout(heartbeat, peers.ask(id, &address, beat)).await;
            });
        }
    }
}

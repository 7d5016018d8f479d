//! When a member that stood for election may stand again.
//!
//! openraft draws its election timeout once, when a member starts, and counts it in
//! whole ticks. Two that drew alike would stand at the same moments for ever, each in
//! the way of the other: whoever voted for the one refuses the other, though that one
//! was elected. So who stood rests for a time that is drawn anew each time.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use crate::runtime;
use crate::types::{CoreRaft, Metrics};

/// Has the member rest for up to `longest` after each time it stood. Ends with the core.
pub(crate) async fn run(core: CoreRaft, mut metrics: watch::Receiver<Metrics>, longest: Duration) {
    let mut stood = 0;
    while metrics.changed().await.is_ok() {
        let voted = {
            let metrics = metrics.borrow_and_update();
            let candidate = metrics.vote.leader_id.voted_for();
            (candidate == Some(metrics.id)).then_some(metrics.vote.leader_id.term)
        };
        let Some(term) = voted.filter(|term| *term > stood) else {
            continue;
        };
        stood = term;
        core.runtime_config().elect(false);
        sleep(rest(longest)).await;
        core.runtime_config().elect(true);
    }
}

fn rest(longest: Duration) -> Duration {
    // Without chance it is as if it stood alone.
    let drawn = runtime::random().map_or(0, u32::from_le_bytes);
    longest.mul_f64(f64::from(drawn) / f64::from(u32::MAX))
}

//! How often nodes may say something new of themselves: each time is an entry that
//! every manager keeps.

use skep_types::NodeId;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// So many times of one node, as Swarm has it.
const REGISTRATIONS: usize = 3;
/// In so long.
const WINDOW: Duration = Duration::from_secs(8);

/// What was said in the last seconds, to this manager while it leads.
#[derive(Default)]
pub(crate) struct Registrations(Mutex<VecDeque<(Instant, NodeId)>>);

impl Registrations {
    fn lock(&self) -> MutexGuard<'_, VecDeque<(Instant, NodeId)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of one more. False when the node has had all of its own.
    pub(crate) fn take(&self, node: NodeId) -> bool {
        let mut said = self.lock();
        let now = Instant::now();
        while said.front().is_some_and(|(at, _)| now - *at >= WINDOW) {
            said.pop_front();
        }
        let own = said.iter().filter(|(_, of)| *of == node).count();
        let may = own < REGISTRATIONS;
        if may {
            said.push_back((now, node));
        }
        may
    }

    /// The last one of this node came to nothing.
    pub(crate) fn give_back(&self, node: NodeId) {
        let mut said = self.lock();
        if let Some(last) = said.iter().rposition(|(_, of)| *of == node) {
            said.remove(last);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_node_has_a_few_and_more_later() {
        let said = Registrations::default();
        let (one, other) = (NodeId::from_bits(1), NodeId::from_bits(2));
        assert!((0..REGISTRATIONS).all(|_| said.take(one)));
        assert!(!said.take(one));
        assert!(said.take(other));
        // What was refused does not count.
        said.give_back(one);
        assert!(said.take(one) && !said.take(one));
        tokio::time::advance(WINDOW).await;
        assert!(said.take(one));
        assert_eq!(said.lock().len(), 1);
    }
}

//! Has flows to tasks that are gone forgotten, beside the passes: with hundreds of thousands of connections to
//! look through, the next change of the network must not wait for that.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipnet::Ipv4Net;
use skep_agent_planner::network::Desired;
use skep_types::chain;

use crate::conntrack::Tracked;
use crate::error::Error;
use crate::ruleset::known_backends;

/// The flows of this node.
#[derive(Debug)]
pub(super) struct Flows {
    tracked: Tracked,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Where flows may lead now.
    now: Arc<Backends>,
    /// What all flows were last looked through for, or are about to be.
    looked: Option<Arc<Backends>>,
    /// There is to be another look.
    again: bool,
    /// A thread is at it.
    running: bool,
}

/// Addresses that connections are balanced over, and the subnets they are of.
#[derive(Debug, Default, PartialEq, Eq)]
struct Backends {
    subnets: Vec<Ipv4Net>,
    known: BTreeSet<Ipv4Addr>,
}

impl Backends {
    fn gone(&self, address: Ipv4Addr) -> bool {
        !self.known.contains(&address)
            && self.subnets.iter().any(|subnet| subnet.contains(&address))
    }
}

impl Flows {
    /// Those of the calling thread's network namespace.
    pub(super) fn open() -> Result<Self, Error> {
        Ok(Flows {
            tracked: Tracked::open()?,
            state: Mutex::default(),
        })
    }

    /// Flows may lead where this says. To be told before the packet filter is: a look that is under way must
    /// not take the first flows to a new task for strays.
    pub(super) fn expect(&self, desired: &Desired) {
        let networks = desired.networks.values();
        let now = Backends {
            subnets: networks
                .flat_map(|network| network.subnets.iter().copied())
                .collect(),
            known: known_backends(desired),
        };
        let mut state = self.state();
        if *state.now != now {
            state.now = Arc::new(now);
        }
    }

    /// Begins to forget what leads elsewhere. To be called when the packet filter sends nothing there any more;
    /// does nothing if that was done since. Must be called within a tokio runtime.
    pub(super) fn forget(self: &Arc<Self>) {
        let mut state = self.state();
        if state.looked.as_ref() == Some(&state.now) {
            return;
        }
        state.looked = Some(Arc::clone(&state.now));
        state.again = true;
        if !std::mem::replace(&mut state.running, true) {
            let flows = Arc::clone(self);
            tokio::task::spawn_blocking(move || flows.run());
        }
    }

    fn run(&self) {
        while self.is_to_look() {
            let gone = |address| {
                let now = Arc::clone(&self.state().now);
                now.gone(address)
            };
            match self.tracked.forget(gone) {
                Ok(0) => {}
                Ok(count) => tracing::debug!(count, "flows to tasks that are gone forgotten"),
                Err(error) => {
                    tracing::warn!(error = %chain(&error), "old flows may go on to tasks that are gone");
                    // The next pass tries again.
                    self.state().looked = None;
                }
            }
        }
    }

    fn is_to_look(&self) -> bool {
        let mut state = self.state();
        state.running = std::mem::take(&mut state.again);
        state.running
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::conntrack::testing::in_a_namespace;

    const GONE: [u8; 4] = [10, 1, 1, 2];
    const KEPT: [u8; 4] = [10, 1, 1, 3];

    fn backends(known: &[[u8; 4]]) -> Arc<Backends> {
        Arc::new(Backends {
            subnets: vec!["10.1.0.0/16".parse().expect("a subnet")],
            known: known.iter().copied().map(Ipv4Addr::from).collect(),
        })
    }

    #[test]
    fn nobody_waits_until_all_flows_are_looked_through() {
        in_a_namespace(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .max_blocking_threads(1)
                .build()
                .expect("a runtime");
            let _inside = runtime.enter();
            let flows = Arc::new(Flows::open().expect("sockets"));
            // A list has its socket for itself.
            let tracked = Tracked::open().expect("sockets");
            let add = |tasks: &[[u8; 4]]| {
                for (port, task) in (1..).zip(tasks) {
                    tracked.add(port, *task);
                }
            };
            let until = |count: usize| {
                let begun = Instant::now();
                while tracked.count() != count || flows.state().running {
                    assert!(
                        begun.elapsed() < Duration::from_secs(20),
                        "{count} expected"
                    );
                    std::thread::sleep(Duration::from_millis(5));
                }
            };
            add(&[GONE, KEPT]);
            // The machine is busy.
            let (go, wait) = std::sync::mpsc::channel::<()>();
            tokio::task::spawn_blocking(move || wait.recv());
            flows.state().now = backends(&[GONE, KEPT]);
            flows.forget();
            flows.state().now = backends(&[KEPT]);
            flows.forget();
            assert_eq!(tracked.count(), 2, "it has not come to that");
            drop(go);
            until(1);
            // A flow begins anew, and then its task goes for good: only the latter is a reason to look.
            tracked.add(9, GONE);
            flows.forget();
            assert!(!flows.state().running && tracked.count() == 2);
            flows.state().now = backends(&[]);
            flows.forget();
            until(0);
        });
    }
}

//! No container of a removed service outlives it for long on a host that can
//! be reached.

use super::{HostSight, Verdict};
use skep_manager_store::Snapshot;
use skep_types::TaskId;
use std::collections::BTreeMap;
use std::time::Duration;

/// Longest life of a container whose service is gone, while nothing is wrong
/// with its host: a new session, an assignment and a slow stop.
const LIMIT: Duration = Duration::from_secs(45);

/// Since when containers run without a service on hosts that are well.
#[derive(Default)]
pub(super) struct Removed(BTreeMap<TaskId, Duration>);

impl Removed {
    pub(super) fn see(&mut self, hosts: &[HostSight], state: &Snapshot, now: Duration) -> Verdict {
        let mut orphans = BTreeMap::new();
        for host in hosts.iter().filter(|host| host.well) {
            for (id, container) in &host.containers {
                if !container.running || state.service(container.service).is_some() {
                    continue;
                }
                let since = self.0.get(id).copied().unwrap_or(now);
                if now > since + LIMIT {
                    return Err(format!("task {id} still runs on {}", host.name));
                }
                orphans.insert(*id, since);
            }
        }
        self.0 = orphans;
        Ok(())
    }
}

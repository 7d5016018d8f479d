//! No secret is on a host without a task that uses it, but for as long as it
//! takes to tell the host.

use super::{HostSight, Verdict};
use skep_manager_store::Snapshot;
use skep_types::SecretId;
use std::collections::BTreeMap;
use std::time::Duration;

/// Longest stay of a secret that is not needed on a host that is well.
const LIMIT: Duration = Duration::from_secs(45);

/// Since when secrets are where they are not needed.
#[derive(Default)]
pub(super) struct Kept(BTreeMap<(usize, SecretId), Duration>);

impl Kept {
    pub(super) fn see(&mut self, hosts: &[HostSight], state: &Snapshot, now: Duration) -> Verdict {
        let mut kept = BTreeMap::new();
        for (number, host) in hosts.iter().enumerate() {
            let Some(node) = host.node.filter(|_| host.well) else {
                continue;
            };
            for secret in &host.secrets {
                let needed = state.tasks_on(node).any(|task| {
                    let container = &task.spec.container;
                    container.secrets.iter().any(|used| used.id == *secret)
                });
                if needed {
                    continue;
                }
                let since = self.0.get(&(number, *secret)).copied();
                let since = since.unwrap_or(now);
                if now > since + LIMIT {
                    return Err(format!(
                        "secret {secret} stays on {} for nothing",
                        host.name
                    ));
                }
                kept.insert((number, *secret), since);
            }
        }
        self.0 = kept;
        Ok(())
    }
}

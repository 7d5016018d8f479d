//! Makes good what others break: a flushed packet filter, a removed interface, a route that went.

use std::sync::{Arc, Weak};
use std::time::Duration;

use skep_types::chain;

use super::Inner;
use crate::error::Error;

/// Time between looks at what costs next to nothing to look at: the packet filter's generation, and whether
/// WireGuard says it failed.
const INTERVAL: Duration = Duration::from_secs(2);
/// Every so many looks everything is read and compared.
const THOROUGH: u32 = 15;

/// Looks until the data plane is gone.
pub(super) async fn watch(inner: Weak<Inner>) {
    let mut timer = tokio::time::interval(INTERVAL);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for look in 1u32.. {
        timer.tick().await;
        let Some(inner) = inner.upgrade() else { return };
        let blocking = Arc::clone(&inner);
        match tokio::task::spawn_blocking(move || blocking.repair_rules()).await {
            Ok(Ok(true)) => tracing::info!("packet filter was changed from outside: written anew"),
            Ok(Ok(false)) | Err(_) => {}
            Ok(Err(error)) => {
                tracing::warn!(error = %chain(&error), "packet filter could not be repaired");
            }
        }
        match inner.repair(look.is_multiple_of(THOROUGH)).await {
            Ok(true) => tracing::info!("network was changed from outside: made anew"),
            Ok(false) => {}
            Err(error) => tracing::warn!(error = %chain(&error), "network could not be repaired"),
        }
    }
}

impl Inner {
    /// Writes the packet filter anew if anybody changed anything in nftables since; tells whether it did.
    fn repair_rules(&self) -> Result<bool, Error> {
        // Held throughout: a pass must not write another table in between.
        self.rules().repair()
    }
}

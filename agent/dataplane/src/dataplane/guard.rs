//! Repairs the packet filter when somebody else flushes it.

use std::sync::Weak;
use std::time::Duration;

use super::Inner;
use crate::error::Error;

/// Time between looks. A look asks the kernel one number.
const INTERVAL: Duration = Duration::from_secs(2);

/// Looks until the data plane is gone.
pub(super) async fn watch(inner: Weak<Inner>) {
    let mut timer = tokio::time::interval(INTERVAL);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        timer.tick().await;
        let Some(inner) = inner.upgrade() else { return };
        let looked = tokio::task::spawn_blocking(move || inner.repair_rules()).await;
        match looked {
            Ok(Ok(true)) => tracing::info!("packet filter was changed from outside: written anew"),
            Ok(Ok(false)) | Err(_) => {}
            Ok(Err(error)) => {
                tracing::warn!(error = %crate::error::chain(&error), "packet filter could not be checked")
            }
        }
    }
}

impl Inner {
    /// Writes the packet filter anew if anybody changed anything in nftables since; tells whether it did.
    fn repair_rules(&self) -> Result<bool, Error> {
        let table = {
            let rules = self.rules();
            match &rules.written {
                Some((table, written)) if rules.nft.generation()? != *written => table.clone(),
                _ => return Ok(false),
            }
        };
        self.write_rules(table)?;
        Ok(true)
    }
}

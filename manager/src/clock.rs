//! The one place where this crate asks what time it is.

use skep_types::Timestamp;
use std::time::{SystemTime, UNIX_EPOCH};

/// Now, by the clock of this machine.
pub(crate) fn now() -> Timestamp {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}

//! Waiting for what must become true, and watching what must stay true.

use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long between two looks.
const PAUSE: Duration = Duration::from_millis(100);

/// Looks until `condition` is `Ok`, and returns what it found and how long it took.
///
/// # Panics
/// With the last reason, when it is not so within `limit`.
pub fn wait_for<T>(
    what: &str,
    limit: Duration,
    mut condition: impl FnMut() -> Result<T, String>,
) -> (T, Duration) {
    let begun = Instant::now();
    loop {
        match condition() {
            Ok(found) => return (found, begun.elapsed()),
            Err(reason) if begun.elapsed() >= limit => {
                panic!("waited {limit:?} for: {what}\nbut: {reason}")
            }
            Err(_) => sleep(PAUSE),
        }
    }
}

/// Looks again and again for `long` whether `condition` stays `Ok`.
///
/// # Panics
/// With the reason, as soon as it is not.
pub fn holds_for(what: &str, long: Duration, mut condition: impl FnMut() -> Result<(), String>) {
    let begun = Instant::now();
    while begun.elapsed() < long {
        if let Err(reason) = condition() {
            let after = begun.elapsed();
            panic!("must hold for {long:?}: {what}\nbut after {after:?}: {reason}");
        }
        sleep(PAUSE);
    }
}

//! Whether a container takes traffic, asked for as long as it runs. One that does
//! not is left alone, and so is one whose health is another matter.

use super::{probe, without_zeros};
use crate::executor::Executor;
use skep_types::{HealthCheck, TaskId};
use std::time::Duration;

/// Time between checks of one that takes traffic.
const INTERVAL: Duration = Duration::from_secs(5);
/// Time between checks of one that does not yet, or no more.
const START_INTERVAL: Duration = Duration::from_millis(500);
const RETRIES: u32 = 3;

/// Asks one container over its life.
pub(crate) struct Readiness {
    task: TaskId,
    check: HealthCheck,
    ready: bool,
    failures: u32,
    /// Why it is not ready was told.
    told: bool,
}

impl Readiness {
    /// With what was found last; a container that just started is not ready.
    pub(crate) fn new(task: TaskId, check: HealthCheck, ready: bool) -> Readiness {
        Readiness {
            task,
            check: without_zeros(check),
            ready,
            failures: 0,
            told: false,
        }
    }

    /// Waits for the next change: that it takes traffic, or why it does not.
    pub(crate) async fn change(&mut self, executor: &Executor) -> Result<(), String> {
        loop {
            let pause = match self.ready {
                true => self.check.interval.unwrap_or(INTERVAL),
                false => self.check.start_interval.unwrap_or(START_INTERVAL),
            };
            tokio::time::sleep(pause).await;
            let found = probe::run(executor, &self.task, &self.check).await;
            if let Some(change) = self.found(found) {
                return change;
            }
        }
    }

    /// What is new with this.
    fn found(&mut self, found: Result<(), String>) -> Option<Result<(), String>> {
        match found {
            Ok(()) => {
                self.failures = 0;
                self.told = false;
                (!std::mem::replace(&mut self.ready, true)).then_some(Ok(()))
            }
            Err(reason) => {
                self.failures = self.failures.saturating_add(1);
                // One that takes traffic may fail some times.
                if self.ready && self.failures < self.check.retries.unwrap_or(RETRIES) {
                    return None;
                }
                self.ready = false;
                (!std::mem::replace(&mut self.told, true)).then_some(Err(reason))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_new_is_told() {
        let mut readiness = Readiness::new(TaskId::from_bits(1), HealthCheck::default(), false);
        let told: Vec<&str> = "--+--+---+"
            .chars()
            .map(|found| {
                let found = match found {
                    '+' => Ok(()),
                    _ => Err("down".to_owned()),
                };
                match readiness.found(found) {
                    None => ".",
                    Some(Ok(())) => "ready",
                    Some(Err(_)) => "not ready",
                }
            })
            .collect();
        let expected = [
            "not ready",
            ".",
            "ready",
            ".",
            ".",
            ".",
            ".",
            ".",
            "not ready",
            "ready",
        ];
        assert_eq!(told, expected);
    }
}

//! Whether a container works, by making its check again and again. How one is
//! made is `probe`'s; whether it takes traffic, `readiness`'s.

mod probe;
mod readiness;

pub(crate) use readiness::Readiness;

use crate::executor::Executor;
use skep_agent_images::{Healthcheck, Image};
use skep_types::{HealthCheck, HealthTest, TaskId};
use std::time::Duration;
use tokio::time::Instant;

const INTERVAL: Duration = Duration::from_secs(30);
const START_INTERVAL: Duration = Duration::from_secs(5);
const RETRIES: u32 = 3;

/// The check in force: the spec's, with the image's for what it leaves open.
/// `None` when there is none, or it is switched off.
pub(crate) fn effective(spec: Option<&HealthCheck>, image: Option<&Image>) -> Option<HealthCheck> {
    let of_image = image
        .and_then(|image| image.config.healthcheck.as_ref())
        .map(|check| without_zeros(from_image(check)));
    let spec = spec.cloned().map(without_zeros);
    let check = match (spec, of_image) {
        (None, image) => image?,
        (Some(spec), None) => spec,
        (Some(spec), Some(image)) => HealthCheck {
            test: match spec.test {
                HealthTest::Inherit => image.test,
                own => own,
            },
            interval: spec.interval.or(image.interval),
            timeout: spec.timeout.or(image.timeout),
            retries: spec.retries.or(image.retries),
            start_period: spec.start_period.or(image.start_period),
            start_interval: spec.start_interval.or(image.start_interval),
        },
    };
    match check.test {
        HealthTest::Inherit | HealthTest::Disabled => None,
        _ => Some(check),
    }
}

fn from_image(check: &Healthcheck) -> HealthCheck {
    HealthCheck {
        test: match check.test.split_first() {
            Some((kind, words)) if kind == "CMD" => HealthTest::Command(words.to_vec()),
            Some((kind, words)) if kind == "CMD-SHELL" => HealthTest::Shell(words.join(" ")),
            _ => HealthTest::Disabled,
        },
        interval: Some(check.interval),
        timeout: Some(check.timeout),
        retries: Some(check.retries),
        start_period: Some(check.start_period),
        start_interval: Some(check.start_interval),
    }
}

/// A zero leaves open what it stands for, in a spec as in an image.
fn without_zeros(check: HealthCheck) -> HealthCheck {
    let set = |duration: Option<Duration>| duration.filter(|duration| !duration.is_zero());
    HealthCheck {
        test: check.test,
        interval: set(check.interval),
        timeout: set(check.timeout),
        retries: check.retries.filter(|retries| *retries > 0),
        start_period: set(check.start_period),
        start_interval: set(check.start_interval),
    }
}

/// Checks one container over its life.
pub(crate) struct Health {
    task: TaskId,
    check: HealthCheck,
    started: Instant,
    failures: u32,
    healthy: bool,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It works.
    Healthy,
    /// It does not, too often in a row: why.
    Unhealthy(String),
}

impl Health {
    pub(crate) fn new(task: TaskId, check: HealthCheck) -> Health {
        Health {
            task,
            check,
            started: Instant::now(),
            failures: 0,
            healthy: false,
        }
    }

    /// For a container that was healthy before the daemon started.
    pub(crate) fn adopted(task: TaskId, check: HealthCheck) -> Health {
        Health {
            healthy: true,
            ..Health::new(task, check)
        }
    }

    fn starting(&self) -> bool {
        let period = self.check.start_period.unwrap_or_default();
        !self.healthy && self.started.elapsed() < period
    }

    /// Waits for the next time a check says something new: the first success,
    /// or one failure too many. Safe to drop while waiting.
    pub(crate) async fn verdict(&mut self, executor: &Executor) -> Verdict {
        loop {
            let pause = if self.starting() {
                self.check.start_interval.unwrap_or(START_INTERVAL)
            } else {
                self.check.interval.unwrap_or(INTERVAL)
            };
            tokio::time::sleep(pause).await;
            let counts = !self.starting();
            match probe::run(executor, &self.task, &self.check).await {
                Ok(()) => {
                    self.failures = 0;
                    if !self.healthy {
                        self.healthy = true;
                        return Verdict::Healthy;
                    }
                }
                Err(reason) if counts => {
                    self.failures += 1;
                    if self.failures >= self.check.retries.unwrap_or(RETRIES) {
                        return Verdict::Unhealthy(reason);
                    }
                }
                Err(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_of_a_spec_leave_the_defaults_in_force() {
        let given = |duration, retries| HealthCheck {
            test: HealthTest::Shell("true".to_owned()),
            interval: Some(duration),
            timeout: Some(duration),
            retries: Some(retries),
            start_period: Some(duration),
            start_interval: Some(duration),
        };
        let open = HealthCheck {
            test: HealthTest::Shell("true".to_owned()),
            interval: None,
            timeout: None,
            retries: None,
            start_period: None,
            start_interval: None,
        };
        assert_eq!(effective(Some(&given(Duration::ZERO, 0)), None), Some(open));
        let chosen = given(Duration::from_secs(1), 1);
        assert_eq!(effective(Some(&chosen), None), Some(chosen.clone()));
    }
}

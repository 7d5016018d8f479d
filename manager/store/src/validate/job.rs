//! Checks of what is particular to jobs.

use super::Invalid;
use skep_types::{JobSpec, ServiceSpec, UpdateConfig};
use std::time::Duration;

/// Least and most that a deadline or the time a job is kept can be.
const TIMES: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(366 * 24 * 60 * 60);

/// A job has no updates, and only a job has runs.
pub(super) fn check(spec: &ServiceSpec, job: Option<&JobSpec>) -> Result<(), Invalid> {
    if !spec.mode.is_job() {
        return match job {
            None => Ok(()),
            Some(_) => refuse("job-deadline and job-ttl can only be used with a job mode"),
        };
    }
    let no_update = UpdateConfig::default();
    if spec.update != no_update || spec.rollback != no_update {
        return refuse("update and rollback configuration is not supported for jobs");
    }
    let Some(JobSpec { deadline, ttl }) = job else {
        return Ok(());
    };
    for (name, time) in [("job-deadline", deadline), ("job-ttl", ttl)] {
        if time.is_some_and(|time| !TIMES.contains(&time)) {
            return refuse(&format!("{name} must be from 1s to 366 days"));
        }
    }
    Ok(())
}

fn refuse<T>(message: &str) -> Result<T, Invalid> {
    Err(Invalid::Spec(message.to_owned()))
}

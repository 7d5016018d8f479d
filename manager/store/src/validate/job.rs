//! Checks of what is particular to jobs.

use super::Invalid;
use crate::schedule::{knows_zone, near_zone};
use skep_types::{JobSpec, Schedule, ServiceSpec, UpdateConfig};
use std::time::Duration;

/// Least and most that a deadline or the time a job is kept can be.
const TIMES: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(366 * 24 * 60 * 60);

/// A job has no updates, and only a job has runs.
pub(super) fn check(spec: &ServiceSpec, job: Option<&JobSpec>) -> Result<(), Invalid> {
    if !spec.mode.is_job() {
        return match job {
            None => Ok(()),
            Some(_) => {
                refuse("job-deadline, job-ttl and a schedule can only be used with a job mode")
            }
        };
    }
    let no_update = UpdateConfig::default();
    if spec.update != no_update || spec.rollback != no_update {
        return refuse("update and rollback configuration is not supported for jobs");
    }
    let Some(JobSpec {
        deadline,
        ttl,
        schedule,
    }) = job
    else {
        return Ok(());
    };
    for (name, time) in [("job-deadline", deadline), ("job-ttl", ttl)] {
        if time.is_some_and(|time| !TIMES.contains(&time)) {
            return refuse(&format!("{name} must be from 1s to 366 days"));
        }
    }
    let Some(schedule) = schedule else {
        return Ok(());
    };
    if ttl.is_some() {
        return refuse("job-ttl cannot be used with a schedule: such a job is never over");
    }
    let Schedule {
        // Read already: it fires.
        cron: _,
        time_zone,
        concurrency: _,
        starting_deadline,
        suspend: _,
    } = schedule;
    if starting_deadline.is_some_and(|time| !TIMES.contains(&time)) {
        return refuse("schedule-starting-deadline must be from 1s to 366 days");
    }
    if knows_zone(time_zone) {
        return Ok(());
    }
    let short: String = time_zone.chars().take(64).collect();
    let help = match near_zone(&short) {
        Some(zone) => format!("did you mean {zone:?}?"),
        None => "write UTC or a name such as Europe/Zurich".to_owned(),
    };
    refuse(&format!(
        "schedule-tz: {short:?} is not a time zone; {help}"
    ))
}

fn refuse<T>(message: &str) -> Result<T, Invalid> {
    Err(Invalid::Spec(message.to_owned()))
}

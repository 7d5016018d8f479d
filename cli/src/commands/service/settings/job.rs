//! Flags about the runs of a job, and when it runs by itself.

use crate::error::usage;
use crate::flags;
use anyhow::Result;
use clap::ValueEnum;
use skep_types::{Concurrency, Cron, JobSpec, Schedule, ServiceSpec};
use std::time::Duration;

/// What holds for the runs of a job.
#[derive(Debug, Default, PartialEq, clap::Args)]
pub(super) struct Job {
    /// Time after which a run of a job is stopped; 0 for none
    #[arg(long, value_name = "DURATION", value_parser = flags::duration)]
    job_deadline: Option<Duration>,
    /// Time after its end at which a job is removed; 0 to keep it
    #[arg(long, value_name = "DURATION", value_parser = flags::duration)]
    job_ttl: Option<Duration>,
    /// When a job runs by itself, as cron has it, e.g. '30 3 * * mon-fri' or @daily; ''
    /// takes the schedule away
    #[arg(long, value_name = "CRON", value_parser = cron)]
    schedule: Option<Expression>,
    /// Time zone of the schedule, e.g. Europe/Zurich; UTC by default
    #[arg(long, value_name = "ZONE")]
    schedule_tz: Option<String>,
    /// What happens when a run is due while another is open
    #[arg(long, value_enum)]
    schedule_concurrency: Option<Overlap>,
    /// How late a run may begin that could not when it was due; 0 for however late
    #[arg(long, value_name = "DURATION", value_parser = flags::duration)]
    schedule_starting_deadline: Option<Duration>,
    /// No run is due for now
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_possible_values = true)]
    schedule_suspend: Option<bool>,
}

/// A cron expression, or none in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Expression(Option<Cron>);

fn cron(text: &str) -> Result<Expression, String> {
    if text.is_empty() {
        return Ok(Expression(None));
    }
    let read = Cron::parse(text).map_err(|invalid| invalid.to_string())?;
    Ok(Expression(Some(read)))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Overlap {
    /// It is opened beside it
    Allow,
    /// It is passed over
    Forbid,
    /// It takes its place
    Replace,
}

impl Job {
    /// It is to run by itself.
    pub(super) fn has_schedule(&self) -> bool {
        matches!(self.schedule, Some(Expression(Some(_))))
    }

    pub(super) fn apply(&self, spec: &mut ServiceSpec) -> Result<()> {
        if *self == Job::default() {
            return Ok(());
        }
        let job = spec.job.get_or_insert_default();
        let set = |place: &mut Option<Duration>, value: Option<Duration>| {
            if let Some(time) = value {
                *place = (!time.is_zero()).then_some(time);
            }
        };
        set(&mut job.deadline, self.job_deadline);
        set(&mut job.ttl, self.job_ttl);
        match (&self.schedule, &mut job.schedule) {
            (Some(Expression(None)), place) => *place = None,
            (Some(Expression(Some(cron))), Some(present)) => present.cron = cron.clone(),
            (Some(Expression(Some(cron))), place) => *place = Some(Schedule::new(cron.clone())),
            (None, _) => {}
        }
        let details = self.schedule_tz.is_some()
            || self.schedule_concurrency.is_some()
            || self.schedule_starting_deadline.is_some()
            || self.schedule_suspend.is_some();
        match &mut job.schedule {
            Some(schedule) => {
                super::put(&mut schedule.time_zone, &self.schedule_tz);
                set(
                    &mut schedule.starting_deadline,
                    self.schedule_starting_deadline,
                );
                super::put(&mut schedule.suspend, &self.schedule_suspend);
                match self.schedule_concurrency {
                    Some(Overlap::Allow) => schedule.concurrency = Concurrency::Allow,
                    Some(Overlap::Forbid) => schedule.concurrency = Concurrency::Forbid,
                    Some(Overlap::Replace) => schedule.concurrency = Concurrency::Replace,
                    None => {}
                }
            }
            None if details => {
                return Err(usage(
                    "flags of a schedule can only be used with --schedule",
                ));
            }
            None => {}
        }
        // Nothing said of it is what it was before.
        if **job == JobSpec::default() {
            spec.job = None;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_is_set_changed_and_taken_away() -> Result<()> {
        let mut spec = ServiceSpec::default();
        let minutes = Job {
            schedule: Some(cron("*/5 * * * *").map_err(usage)?),
            schedule_tz: Some("Europe/Zurich".to_owned()),
            ..Job::default()
        };
        assert!(minutes.has_schedule());
        minutes.apply(&mut spec)?;
        let daily = Job {
            schedule: Some(cron("@daily").map_err(usage)?),
            schedule_suspend: Some(true),
            ..Job::default()
        };
        daily.apply(&mut spec)?;
        let schedule = spec
            .schedule()
            .map(|s| (s.cron.to_string(), s.time_zone.as_str(), s.suspend));
        assert_eq!(schedule, Some(("@daily".to_owned(), "Europe/Zurich", true)));
        let none = Job {
            schedule: Some(cron("").map_err(usage)?),
            ..Job::default()
        };
        none.apply(&mut spec)?;
        assert_eq!(spec.job, None);
        let alone = Job {
            schedule_suspend: Some(true),
            ..Job::default()
        };
        assert!(alone.apply(&mut spec).is_err());
        let refused = cron("0 0 31 2 *").err().unwrap_or_default();
        assert!(refused.starts_with("day of the month: "), "{refused}");
        Ok(())
    }
}

//! Flags about the runs of a job.

use crate::flags;
use skep_types::JobSpec;
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
}

impl Job {
    pub(super) fn apply(&self, job: &mut Option<Box<JobSpec>>) {
        if *self == Job::default() {
            return;
        }
        let job = job.get_or_insert_default();
        let set = |place: &mut Option<Duration>, value: Option<Duration>| {
            if let Some(time) = value {
                *place = (!time.is_zero()).then_some(time);
            }
        };
        set(&mut job.deadline, self.job_deadline);
        set(&mut job.ttl, self.job_ttl);
    }
}

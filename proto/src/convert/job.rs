//! How many tasks a service has, and jobs: what holds for their runs, and the runs.

use super::basic::{millis, require, wire_enum};
use crate::{Invalid, pb};
use skep_types::{
    Concurrency, Cron, JobRun, JobSpec, JobStatus, Outcome, RunCause, RunEnd, Schedule,
    ServiceMode, Timestamp, Version,
};
use std::time::Duration;

wire_enum!(RunCause, RunCause, run_cause, "run.cause", {
    Created = Created, Updated = Updated, Scheduled = Scheduled, Triggered = Triggered,
});
wire_enum!(Outcome, Outcome, outcome, "run.end.outcome", {
    Succeeded = Succeeded, Failed = Failed, DeadlineExceeded = DeadlineExceeded,
    Replaced = Replaced,
});

wire_enum!(Concurrency, Concurrency, concurrency, "schedule.concurrency", {
    Allow = Allow, Forbid = Forbid, Replace = Replace,
});

impl From<ServiceMode> for pb::ServiceMode {
    fn from(mode: ServiceMode) -> Self {
        use pb::service_mode::{Global, GlobalJob, Mode, Replicated, ReplicatedJob};
        pb::ServiceMode {
            mode: Some(match mode {
                ServiceMode::Replicated { replicas } => Mode::Replicated(Replicated { replicas }),
                ServiceMode::Global => Mode::Global(Global {}),
                ServiceMode::ReplicatedJob {
                    completions,
                    concurrent,
                } => Mode::ReplicatedJob(ReplicatedJob {
                    completions,
                    concurrent,
                }),
                ServiceMode::GlobalJob => Mode::GlobalJob(GlobalJob {}),
            }),
        }
    }
}

impl TryFrom<pb::ServiceMode> for ServiceMode {
    type Error = Invalid;
    fn try_from(mode: pb::ServiceMode) -> Result<Self, Invalid> {
        use pb::service_mode::{Global, GlobalJob, Mode, Replicated, ReplicatedJob};
        Ok(match require(mode.mode, "service.mode.mode")? {
            Mode::Replicated(Replicated { replicas }) => ServiceMode::Replicated { replicas },
            Mode::Global(Global {}) => ServiceMode::Global,
            Mode::ReplicatedJob(ReplicatedJob {
                completions,
                concurrent,
            }) => ServiceMode::ReplicatedJob {
                completions,
                concurrent,
            },
            Mode::GlobalJob(GlobalJob {}) => ServiceMode::GlobalJob,
        })
    }
}

impl From<&JobSpec> for pb::JobSpec {
    fn from(spec: &JobSpec) -> Self {
        let JobSpec {
            deadline,
            ttl,
            schedule,
        } = spec;
        pb::JobSpec {
            deadline_ms: deadline.map(millis),
            ttl_ms: ttl.map(millis),
            schedule: schedule.as_ref().map(Into::into),
        }
    }
}

impl TryFrom<pb::JobSpec> for JobSpec {
    type Error = Invalid;
    fn try_from(spec: pb::JobSpec) -> Result<Self, Invalid> {
        let pb::JobSpec {
            deadline_ms,
            ttl_ms,
            schedule,
        } = spec;
        Ok(JobSpec {
            deadline: deadline_ms.map(Duration::from_millis),
            ttl: ttl_ms.map(Duration::from_millis),
            schedule: schedule.map(TryInto::try_into).transpose()?,
        })
    }
}

impl From<&Schedule> for pb::Schedule {
    fn from(schedule: &Schedule) -> Self {
        let Schedule {
            cron,
            time_zone,
            concurrency,
            starting_deadline,
            suspend,
        } = schedule;
        pb::Schedule {
            cron: cron.to_string(),
            time_zone: time_zone.clone(),
            concurrency: pb::Concurrency::from(*concurrency).into(),
            starting_deadline_ms: starting_deadline.map(millis),
            suspend: *suspend,
        }
    }
}

impl TryFrom<pb::Schedule> for Schedule {
    type Error = Invalid;
    fn try_from(schedule: pb::Schedule) -> Result<Self, Invalid> {
        let pb::Schedule {
            cron,
            time_zone,
            concurrency: policy,
            starting_deadline_ms,
            suspend,
        } = schedule;
        Ok(Schedule {
            cron: Cron::parse(&cron)
                .map_err(|invalid| Invalid::Value("schedule.cron", invalid.to_string()))?,
            time_zone,
            concurrency: concurrency(policy)?,
            starting_deadline: starting_deadline_ms.map(Duration::from_millis),
            suspend,
        })
    }
}

impl From<&JobStatus> for pb::JobStatus {
    fn from(status: &JobStatus) -> Self {
        let JobStatus {
            runs,
            due_until,
            skipped,
        } = status;
        pb::JobStatus {
            runs: runs.iter().map(Into::into).collect(),
            due_until_ms: due_until.0,
            skipped: *skipped,
        }
    }
}

impl TryFrom<pb::JobStatus> for JobStatus {
    type Error = Invalid;
    fn try_from(status: pb::JobStatus) -> Result<Self, Invalid> {
        let pb::JobStatus {
            runs,
            due_until_ms,
            skipped,
        } = status;
        Ok(JobStatus {
            runs: runs
                .into_iter()
                .map(TryInto::try_into)
                .collect::<Result<_, _>>()?,
            due_until: Timestamp(due_until_ms),
            skipped,
        })
    }
}

impl From<&JobRun> for pb::JobRun {
    fn from(run: &JobRun) -> Self {
        let JobRun {
            number,
            cause,
            spec_version,
            due_at,
            started_at,
            end,
        } = run;
        pb::JobRun {
            number: *number,
            cause: pb::RunCause::from(*cause).into(),
            spec_version: spec_version.0,
            due_at_ms: due_at.map(|at| at.0),
            started_at_ms: started_at.0,
            end: end.map(Into::into),
        }
    }
}

impl TryFrom<pb::JobRun> for JobRun {
    type Error = Invalid;
    fn try_from(run: pb::JobRun) -> Result<Self, Invalid> {
        let pb::JobRun {
            number,
            cause,
            spec_version,
            due_at_ms,
            started_at_ms,
            end,
        } = run;
        Ok(JobRun {
            number,
            cause: run_cause(cause)?,
            spec_version: Version(spec_version),
            due_at: due_at_ms.map(Timestamp),
            started_at: Timestamp(started_at_ms),
            end: end.map(TryInto::try_into).transpose()?,
        })
    }
}

impl From<RunEnd> for pb::RunEnd {
    fn from(end: RunEnd) -> Self {
        let RunEnd {
            outcome,
            at,
            succeeded,
            failed,
            exit_code,
        } = end;
        pb::RunEnd {
            outcome: pb::Outcome::from(outcome).into(),
            at_ms: at.0,
            succeeded,
            failed,
            exit_code,
        }
    }
}

impl TryFrom<pb::RunEnd> for RunEnd {
    type Error = Invalid;
    fn try_from(end: pb::RunEnd) -> Result<Self, Invalid> {
        let pb::RunEnd {
            outcome: word,
            at_ms,
            succeeded,
            failed,
            exit_code,
        } = end;
        Ok(RunEnd {
            outcome: outcome(word)?,
            at: Timestamp(at_ms),
            succeeded,
            failed,
            exit_code,
        })
    }
}

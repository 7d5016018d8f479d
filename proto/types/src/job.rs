//! Jobs: services whose tasks run to their end. What a user says of one beside its mode,
//! and what is kept of its runs once their tasks are forgotten.
//!
//! A run is opened by the store, where it applies what asks for one, and closed by the
//! planner. How far an open run is, is read from its tasks.

use crate::cron::Cron;
use crate::meta::{Timestamp, Version};
use std::fmt;
use std::time::Duration;

/// What holds for a job beside its mode.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JobSpec {
    /// Time after which a run that has not ended is stopped; no limit when not set.
    pub deadline: Option<Duration>,
    /// Time after the end of the newest run at which the job is removed; kept for ever
    /// when not set.
    pub ttl: Option<Duration>,
    /// When it runs by itself; once, as it is made, when not set.
    pub schedule: Option<Schedule>,
}

/// When a job runs by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// The minutes at which a run is due.
    pub cron: Cron,
    /// By the clocks of this time zone, e.g. `Europe/Zurich`; `UTC` has no summer time.
    pub time_zone: String,
    /// What happens when a run is due and another is open.
    pub concurrency: Concurrency,
    /// How late a run that is due may be opened, when nobody could earlier; however
    /// late when not set.
    pub starting_deadline: Option<Duration>,
    /// No run is due for now.
    pub suspend: bool,
}

/// What happens when a run is due while another is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Concurrency {
    /// It is opened beside it.
    #[default]
    Allow,
    /// It is passed over.
    Forbid,
    /// It takes its place.
    Replace,
}

/// The runs of a job.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JobStatus {
    /// Oldest first: all that are open, and the newest that have ended.
    pub runs: Vec<JobRun>,
    /// What was due by then has been dealt with.
    pub due_until: Timestamp,
    /// Runs that were due and passed over, because others were open.
    pub skipped: u64,
}

/// One run of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobRun {
    /// From 1; its tasks carry it.
    pub number: u64,
    /// Why it was opened.
    pub cause: RunCause,
    /// The task template its tasks are made from.
    pub spec_version: Version,
    /// When it was due, for one that was opened by the schedule.
    pub due_at: Option<Timestamp>,
    /// When it was opened.
    pub started_at: Timestamp,
    /// How it ended; `None` while it is open.
    pub end: Option<RunEnd>,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunEnd {
    /// In one word.
    pub outcome: Outcome,
    /// When.
    pub at: Timestamp,
    /// Places (slots or nodes) that were completed.
    pub succeeded: u32,
    /// Places that failed for good: no attempt was left.
    pub failed: u32,
    /// Exit code of the task that decided, or of the last one that ended by itself.
    pub exit_code: Option<i32>,
}

/// Why a run was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RunCause {
    /// Its job was made.
    Created,
    /// What its tasks run, or how often, was changed; also by force.
    Updated,
    /// It was due.
    Scheduled,
    /// Somebody asked for it.
    Triggered,
}

/// How a run ended, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// Everything was completed.
    Succeeded,
    /// A place failed, and no attempt was left.
    Failed,
    /// It took longer than it may.
    DeadlineExceeded,
    /// A newer run took its place.
    Replaced,
}

impl JobStatus {
    /// Most ended runs that are kept.
    pub const HISTORY: usize = 10;
    /// Most runs that are open at a time; what is due beyond is passed over.
    pub const MOST_OPEN: usize = 10;

    /// The newest run.
    pub fn newest(&self) -> Option<&JobRun> {
        self.runs.last()
    }

    /// The run of that number, unless it is forgotten.
    pub fn run(&self, number: u64) -> Option<&JobRun> {
        self.runs.iter().find(|run| run.number == number)
    }

    /// The runs that have not ended.
    pub fn open(&self) -> impl Iterator<Item = &JobRun> + '_ {
        self.runs.iter().filter(|run| run.end.is_none())
    }

    /// Ends all open runs in favour of another; `succeeded` says how far each of them,
    /// by number, was.
    pub fn replace(&mut self, now: Timestamp, succeeded: impl Fn(u64) -> u32) {
        for run in self.runs.iter_mut().filter(|run| run.end.is_none()) {
            run.end = Some(RunEnd {
                outcome: Outcome::Replaced,
                at: now,
                succeeded: succeeded(run.number),
                failed: 0,
                exit_code: None,
            });
        }
    }

    /// Opens one more run; the oldest ended ones beyond the limit are forgotten.
    pub fn begin(&mut self, cause: RunCause, spec_version: Version, now: Timestamp) {
        let number = self.newest().map_or(1, |run| run.number.saturating_add(1));
        self.runs.push(JobRun {
            number,
            cause,
            spec_version,
            due_at: None,
            started_at: now,
            end: None,
        });
        let ended = self.runs.iter().filter(|run| run.end.is_some()).count();
        let mut surplus = ended.saturating_sub(Self::HISTORY);
        self.runs.retain(|run| {
            let forgotten = surplus > 0 && run.end.is_some();
            surplus -= usize::from(forgotten);
            !forgotten
        });
    }
}

impl Schedule {
    /// One in UTC that lets runs overlap.
    pub fn new(cron: Cron) -> Schedule {
        Schedule {
            cron,
            time_zone: "UTC".to_owned(),
            concurrency: Concurrency::default(),
            starting_deadline: None,
            suspend: false,
        }
    }
}

impl Concurrency {
    /// Lower-case name, as flags, files and JSON have it.
    pub fn name(self) -> &'static str {
        match self {
            Concurrency::Allow => "allow",
            Concurrency::Forbid => "forbid",
            Concurrency::Replace => "replace",
        }
    }
}

impl RunCause {
    /// Lower-case name, as tables and JSON have it.
    pub fn name(self) -> &'static str {
        match self {
            RunCause::Created => "created",
            RunCause::Updated => "updated",
            RunCause::Scheduled => "scheduled",
            RunCause::Triggered => "triggered",
        }
    }
}

impl Outcome {
    /// Lower-case name, as tables and JSON have it.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Succeeded => "succeeded",
            Outcome::Failed => "failed",
            Outcome::DeadlineExceeded => "deadline exceeded",
            Outcome::Replaced => "replaced",
        }
    }
}

impl fmt::Display for RunCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_ended_runs_are_forgotten_and_open_ones_are_not() {
        let mut job = JobStatus::default();
        for at in 0..15 {
            job.begin(RunCause::Created, Version(1), Timestamp(at));
            if at != 2 {
                let end = RunEnd {
                    outcome: Outcome::Succeeded,
                    at: Timestamp(at),
                    succeeded: 1,
                    failed: 0,
                    exit_code: Some(0),
                };
                job.runs.last_mut().unwrap().end = Some(end);
            }
        }
        job.begin(RunCause::Updated, Version(2), Timestamp(20));
        let numbers: Vec<u64> = job.runs.iter().map(|run| run.number).collect();
        assert_eq!(numbers, [3, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]);
        assert_eq!(job.open().count(), 2);
        job.replace(Timestamp(21), |_| 0);
        assert_eq!(job.open().count(), 0);
        assert_eq!(
            job.run(14).unwrap().end.unwrap().outcome,
            Outcome::Succeeded
        );
    }
}

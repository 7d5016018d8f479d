//! Waiting for a job: what a view says of its newest run, and when that is an end.

use super::assess::{Bar, Report, attempt, short_name};
use crate::view::View;
use skep_types::{JobRun, Outcome, Service, ServiceMode, TaskState};

/// How far the newest run is, into a report that says that the job exists.
pub fn assess(view: &View, service: &Service, report: &mut Report) {
    report.global = service.spec.mode == ServiceMode::GlobalJob;
    report.run = service.job.newest().copied();
    let Some(run) = &report.run else { return };
    (report.done, report.total) = view.completed(service, run);
    let mine = view.tasks.iter().filter(|task| task.service == service.id);
    let mut tasks: Vec<_> = mine.filter(|task| task.run == run.number).collect();
    tasks.sort_by_key(|task| (task.slot, task.node.filter(|_| report.global), task.id));
    for task in tasks {
        if matches!(task.status.state, TaskState::Failed | TaskState::Rejected) {
            report.failed.push(attempt(view, task));
        }
        if !task.is_live() || view.is_away(task) {
            continue;
        }
        let node = task.node.filter(|_| report.global);
        report.bars.push(Bar {
            label: match node {
                Some(node) => view.hostname(node),
                None => format!("{}/{}", task.slot.0, report.total),
            },
            task: short_name(view, task),
            state: task.status.state,
            error: task.status.error.clone(),
            dead: false,
            held: task.held_until().is_some(),
        });
    }
}

/// Where the run is that a report tells of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Tasks run, or may yet.
    Running,
    /// Nothing runs: what waits may do so for ever.
    Waiting,
    /// Everything was completed.
    Succeeded,
    /// It ended otherwise: how.
    Failed(String),
}

/// Where the newest run of a job is.
pub fn standing(report: &Report, run: &JobRun) -> Standing {
    match run.end {
        None => match report.bars.iter().any(|bar| !bar.waits()) {
            true => Standing::Running,
            false => Standing::Waiting,
        },
        Some(end) if end.outcome == Outcome::Succeeded => Standing::Succeeded,
        Some(end) => {
            let code = match end.exit_code {
                Some(code) => format!(", exit code {code}"),
                None => String::new(),
            };
            let (name, number, done) = (&report.name, run.number, end.succeeded);
            Standing::Failed(format!(
                "run {number} of job {name} ended: {} ({done} completed{code})",
                end.outcome
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::judge::{Judge, Verdict};
    use super::super::{assess::assess, render};
    use crate::testing;
    use crate::view::View;
    use skep_types::{
        Cron, JobSpec, Outcome, RunCause, RunEnd, Schedule, ServiceId, ServiceMode, TaskState,
        Timestamp, Version,
    };
    use std::time::Instant;

    const ID: ServiceId = ServiceId::from_bits(7);

    fn look(view: &View) -> (String, Verdict) {
        let mut judge = Judge::new(&[ID], |_| false);
        let reports = [assess(view, ID, "job")];
        // The first look only says what is new.
        let verdict = match judge.look(&reports, Instant::now(), 0) {
            Verdict::GoOn => judge.look(&reports, Instant::now(), 0),
            over => over,
        };
        (render::overall(&reports, &judge), verdict)
    }

    #[test]
    fn a_run_is_waited_for_until_it_is_over() {
        let mut job = testing::service(7, "job", 0);
        job.spec.mode = ServiceMode::ReplicatedJob {
            completions: 3,
            concurrent: 1,
        };
        let now = Timestamp::default();
        job.job.begin(RunCause::Created, Version(1), now);
        let mut view = testing::swarm(vec![job]);
        view.add(0, 1, 1, TaskState::Complete).run = 1;
        let failed = view.add(0, 2, 1, TaskState::Failed);
        failed.run = 1;
        failed.status.error = "task: non-zero exit (3)".to_owned();
        view.add(0, 2, 1, TaskState::Running).run = 1;
        let (overall, verdict) = look(&view);
        assert_eq!(overall, "job progress: 1 out of 3 complete");
        assert_eq!(verdict, Verdict::GoOn);

        let mut ended = |outcome| {
            view.services[0].job.runs[0].end = Some(RunEnd {
                outcome,
                at: now,
                succeeded: 1,
                failed: 1,
                exit_code: Some(3),
            });
            look(&view).1
        };
        assert_eq!(
            ended(Outcome::Failed),
            Verdict::Failed(
                "run 1 of job job ended: failed (1 completed, exit code 3): job.2 failed on one: \
                 task: non-zero exit (3)"
                    .to_owned()
            )
        );
        assert_eq!(ended(Outcome::Succeeded), Verdict::Converged);
        ended(Outcome::Failed);
        let schedule = Cron::parse("@daily").ok().map(Schedule::new);
        let spec = JobSpec {
            schedule,
            ..JobSpec::default()
        };
        view.services[0].spec.job = Some(Box::new(spec));
        assert_eq!(look(&view).1, Verdict::Converged, "nobody waits for a run");
    }
}

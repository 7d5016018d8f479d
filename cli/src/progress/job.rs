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
        if !task.is_live() {
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

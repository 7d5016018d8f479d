//! Runs of jobs: how far one is, and one more that somebody asks for.

use crate::snapshot::Snapshot;
use crate::validate::Invalid;
use skep_types::{
    Concurrency, JobStatus, RunCause, Service, ServiceId, Slot, TaskState, Timestamp,
};
use std::collections::BTreeSet;

/// Places of a run that are done.
pub fn completed(snapshot: &Snapshot, service: ServiceId, run: u64) -> u32 {
    let tasks = snapshot.tasks_of(service);
    let done = tasks.filter(|task| task.run == run && task.status.state == TaskState::Complete);
    let places: BTreeSet<_> = done
        .map(|task| (task.slot, task.node.filter(|_| task.slot == Slot(0))))
        .collect();
    u32::try_from(places.len()).unwrap_or(u32::MAX)
}

/// The runs of a job with one more, which somebody asks for. What its schedule says of
/// runs that overlap holds for this one, too; one without waits for the last to end.
///
/// # Errors
/// It is no job, or may not run now.
pub fn trigger(
    snapshot: &Snapshot,
    service: &Service,
    now: Timestamp,
) -> Result<JobStatus, Invalid> {
    let refuse = |why: String| Invalid::Run {
        service: service.spec.name.clone(),
        why,
    };
    if !service.spec.mode.is_job() {
        return Err(refuse("it is no job".to_owned()));
    }
    let mut job = service.job.clone();
    let schedule = service.spec.schedule();
    let concurrency = schedule.map_or(Concurrency::Forbid, |schedule| schedule.concurrency);
    let open = job.open().map(|run| run.number).next();
    match (concurrency, open) {
        (Concurrency::Forbid, Some(number)) => {
            return Err(refuse(format!("run {number} is still open")));
        }
        (Concurrency::Allow, _) if job.open().count() >= JobStatus::MOST_OPEN => {
            let most = JobStatus::MOST_OPEN;
            return Err(refuse(format!("{most} runs of it are still open")));
        }
        (Concurrency::Replace, _) => job.replace(now, |run| completed(snapshot, service.id, run)),
        (Concurrency::Allow | Concurrency::Forbid, _) => {}
    }
    job.begin(RunCause::Triggered, service.spec_version, now);
    Ok(job)
}

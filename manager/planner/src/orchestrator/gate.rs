//! What a service waits for before its tasks start.
//!
//! Held up are the first start of a place and the beginning of an update, never what
//! replaces a task that ran. Read from the store alone, so what this pass decides of the
//! other service counts from the next one on.

use crate::draft::{Draft, ServiceWork, Work};
use skep_manager_store::{Action, ServiceAction, Snapshot};
use skep_types::{Dependency, DependencyCondition, Outcome, Service, ServiceMode, Task, TaskState};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What is not yet true of what a service depends on, in words; `None` where all is.
pub(super) fn unmet(snapshot: &Snapshot, service: &Service) -> Option<String> {
    let depends_on = service.spec.depends_on.iter();
    let unmet: Vec<String> = depends_on
        .filter_map(|dependency| lacks(snapshot, dependency))
        .collect();
    (!unmet.is_empty()).then(|| format!("waits for {}", unmet.join(", and for ")))
}

/// Whether an update that was asked for cannot begin, so that what ends meanwhile is followed
/// by one of the old template. What was begun, or went back, goes on.
pub(super) fn puts_off(work: &ServiceWork<'_>, service: &Service) -> bool {
    work.gate.is_some() && service.update_status.is_none()
}

/// Whether a position has never had a task that ran: what is there first waits.
pub(super) fn is_first<'w, 'a: 'w>(mut tasks: impl Iterator<Item = &'w Work<'a>>) -> bool {
    !tasks.any(|task| task.ran_at().is_some())
}

/// Says in the service what holds it up, or that nothing does any more. In a pass of its
/// own: the other changes of a pass are planned on the service as it is.
pub(super) fn tell(draft: &mut Draft<'_>, work: &mut ServiceWork<'_>, service: &Service) {
    work.acted |= work.held;
    let waits_for = match (work.held, &work.gate) {
        (true, Some(gate)) => gate.clone(),
        _ => String::new(),
    };
    let is_busy = !draft.plan.actions.is_empty() || work.tasks.iter().any(|t| t.known.is_none());
    if waits_for != service.waits_for && !is_busy {
        let tell = ServiceAction::SetWait {
            id: service.id,
            version: service.meta.version,
            waits_for,
        };
        draft.plan.actions.push(Action::Service(tell));
    }
}

fn lacks(snapshot: &Snapshot, dependency: &Dependency) -> Option<String> {
    let Dependency {
        service: name,
        condition,
        optional,
    } = dependency;
    let Some(service) = snapshot.service_named(name) else {
        return (!optional).then(|| format!("{name}, which does not exist"));
    };
    let tasks = || {
        let tasks = snapshot.tasks_of(service.id);
        tasks.filter(|task| is_present(service, task))
    };
    let (met, what) = match condition {
        DependencyCondition::Started => {
            let ran = |task: &Task| task.status.ran_at.is_some();
            let met = needs_none(service) || is_done(service) || tasks().any(|task| ran(task));
            (met, "start")
        }
        DependencyCondition::Healthy => {
            let serves = |task: &Task| task.status.is_ready() && task.desired == TaskState::Running;
            let met = needs_none(service) || is_done(service) || tasks().any(|task| serves(task));
            (met, "be healthy")
        }
        DependencyCondition::Completed => (completed(service, tasks()), "complete"),
    };
    let failed = match has_failed(service, tasks()) {
        true => ", which failed",
        false => "",
    };
    (!met).then(|| format!("{name} to {what}{failed}"))
}

/// It is meant to have no tasks now: none, or those of runs that are not due.
fn needs_none(service: &Service) -> bool {
    service.spec.mode == ServiceMode::Replicated { replicas: 0 }
        || service.spec.schedule().is_some()
}

/// What runs now would be made from the template of this task.
fn is_present(service: &Service, task: &Task) -> bool {
    task.spec_version == service.spec_version || task.spec.runs_like(&service.spec.task)
}

/// How the newest run of a job ended. What makes a change of its template matter makes it
/// run again, too.
fn outcome(service: &Service) -> Option<Outcome> {
    service.job.newest()?.end.map(|end| end.outcome)
}

fn is_done(service: &Service) -> bool {
    outcome(service) == Some(Outcome::Succeeded)
}

/// Everything that it is to do was done once.
fn completed<'t>(service: &Service, tasks: impl Iterator<Item = &'t Arc<Task>>) -> bool {
    let complete = |task: &&Arc<Task>| task.status.state == TaskState::Complete;
    match service.spec.mode {
        ServiceMode::ReplicatedJob { .. } | ServiceMode::GlobalJob => is_done(service),
        ServiceMode::Replicated { replicas } => {
            let slots: BTreeSet<_> = tasks.filter(complete).map(|task| task.slot).collect();
            replicas > 0 && slots.len() >= replicas as usize
        }
        ServiceMode::Global => {
            let (mut done, mut live) = (false, false);
            for task in tasks {
                done |= complete(&task);
                live |= task.is_live();
            }
            done && !live
        }
    }
}

/// It will come to nothing before somebody changes something: a task of it failed, and none
/// follows.
fn has_failed<'t>(service: &Service, tasks: impl Iterator<Item = &'t Arc<Task>>) -> bool {
    if service.spec.mode.is_job() {
        return outcome(service).is_some_and(|outcome| outcome != Outcome::Succeeded);
    }
    let policy = &service.spec.task.restart;
    let (mut failed, mut goes_on) = (false, false);
    for task in tasks {
        let status = &task.status;
        let fails = matches!(status.state, TaskState::Failed | TaskState::Rejected);
        failed |= fails;
        goes_on |= task.is_live()
            || (fails
                && task.desired <= TaskState::Running
                && policy.follows(status.state, &task.counted(), status.at));
    }
    failed && !goes_on
}

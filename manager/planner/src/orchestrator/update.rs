//! Rolling changes of a service's tasks.
//!
//! Nothing is remembered between passes: which positions are outdated, which
//! are being changed, and which failed is read from the tasks; that an update
//! is under way, and since when, from the service. Which positions are changed next
//! is `round`'s; this begins, ends and fails an update.

mod pace;
mod progress;
mod round;

pub(crate) use pace::Pace;

use super::template;
use crate::current::Current;
use crate::draft::{Draft, Position, ServiceWork, Work};
use crate::ids::IdSource;
use round::Round;
use skep_manager_store::{Action, ServiceAction};
use skep_types::{
    FailureAction, PastRevision, RevisionOutcome, Service, TaskState, UpdateState, UpdateStatus,
};
use std::sync::Arc;

/// Begins an update where tasks are outdated; `empty` are the positions without a
/// live task. No task is made or replaced in that pass: that is done once it is
/// agreed on that an update is under way. Were a part of such a plan
/// refused, the rest would be an update that nobody watches.
pub(super) fn begin(
    draft: &mut Draft<'_>,
    work: &mut ServiceWork<'_>,
    service: &Arc<Service>,
    empty: &[Position],
) -> bool {
    let state = service.update_status.as_ref().map(|status| status.state);
    if !matches!(
        state,
        None | Some(UpdateState::Completed | UpdateState::RollbackCompleted)
    ) {
        return false;
    }
    let current = Current::new(&draft.nodes, service, &work.tasks);
    if !current.has_outdated() {
        return false;
    }
    let is_changed = |task: &Work<'_>| {
        task.is_live() && current.is_outdated(task) && !is_left_alone(draft, task.position())
    };
    let filled: Vec<Position> = empty
        .iter()
        .copied()
        .filter(|position| !is_left_alone(draft, *position))
        .collect();
    if !work.tasks.iter().any(is_changed) && !is_refilled(work, &current, &filled) {
        return false;
    }
    // Stopped first, what serves now would be missed for as long as its successor waits.
    if work.gate.is_some() {
        work.held = true;
        return false;
    }
    let status = UpdateStatus {
        state: UpdateState::Updating,
        started_at: draft.now,
        completed_at: None,
        message: "update in progress".to_owned(),
        resumed_at: None,
    };
    set_status(draft, work, service, status, None);
    true
}

/// An empty position gets a task of the new template after one of the old that
/// failed or was stopped. A node that returns to a global service is none: it
/// gets its task as a new node does.
fn is_refilled(work: &ServiceWork<'_>, current: &Current<'_>, empty: &[Position]) -> bool {
    if empty.is_empty() {
        return false;
    }
    let positions = work.positions();
    empty.iter().any(|position| {
        let tasks = positions.get(position).into_iter().flatten().rev();
        let mut kept = tasks
            .map(|index| &work.tasks[*index])
            .filter(|task| task.desired != TaskState::Remove);
        kept.next().is_some_and(|last| {
            current.runs_other(last)
                && match last.state {
                    TaskState::Failed | TaskState::Rejected => true,
                    TaskState::Complete => false,
                    _ => matches!(position, Position::Slot(_)),
                }
        })
    })
}

/// What is on a paused node stays as it is.
pub(super) fn is_left_alone(draft: &Draft<'_>, position: Position) -> bool {
    match position {
        Position::Slot(_) | Position::Run(..) => false,
        Position::Node(node) => !draft.nodes.get(node).is_some_and(|n| n.takes_tasks()),
    }
}

/// Goes on with the update of a service, or ends it.
pub(super) fn roll<'a>(
    draft: &mut Draft<'a>,
    work: &mut ServiceWork<'a>,
    service: &'a Arc<Service>,
    ids: &mut IdSource,
) {
    let Some(status) = &service.update_status else {
        return;
    };
    let rollback = match status.state {
        UpdateState::Updating => false,
        UpdateState::RollbackStarted => true,
        UpdateState::Paused
        | UpdateState::RollbackPaused
        | UpdateState::Completed
        | UpdateState::RollbackCompleted => return,
    };
    let current = Current::new(&draft.nodes, service, &work.tasks);
    let config = if rollback {
        &service.spec.rollback
    } else {
        &service.spec.update
    };
    let mut round = Round::new(service, config, status, draft.now);
    round.look(draft, work, &current);
    if let Some(task) = round.has_failed() {
        let reason = format!("due to failure or early termination of task {task}");
        match config.failure_action {
            FailureAction::Continue => {}
            action => return fail(draft, work, service, status, action, &reason),
        }
    }
    let mut moves = round.swap(draft, work);
    moves |= round.start(draft, work, ids);
    if round.is_done(work) {
        complete(draft, work, service, status);
    } else if !moves {
        let due = round.due(draft, work);
        let reason = match due {
            _ if round.is_given_up(work) => Some(round.hopeless(draft, work)),
            Some(due) if due <= draft.now => Some(round.stuck(draft, work)),
            _ => None,
        };
        if let Some(reason) = reason {
            // It cannot go on.
            let action = match config.failure_action {
                FailureAction::Continue => FailureAction::Pause,
                action => action,
            };
            return fail(draft, work, service, status, action, &reason);
        }
        if let Some(due) = due {
            draft.plan.wake(due);
        }
    }
    if let Some(at) = round.wake(work) {
        draft.plan.wake(at);
    }
}

fn is_rollback(status: &UpdateStatus) -> bool {
    matches!(
        status.state,
        UpdateState::RollbackStarted | UpdateState::RollbackPaused
    )
}

fn complete(
    draft: &mut Draft<'_>,
    work: &mut ServiceWork<'_>,
    service: &Service,
    status: &UpdateStatus,
) {
    let (state, message) = match is_rollback(status) {
        true => (UpdateState::RollbackCompleted, "rollback completed"),
        false => (UpdateState::Completed, "update completed"),
    };
    let status = UpdateStatus {
        state,
        completed_at: Some(draft.now),
        message: message.to_owned(),
        ..status.clone()
    };
    set_status(
        draft,
        work,
        service,
        status,
        Some(RevisionOutcome::Completed),
    );
}

/// Pauses or rolls back.
fn fail(
    draft: &mut Draft<'_>,
    work: &mut ServiceWork<'_>,
    service: &Service,
    status: &UpdateStatus,
    action: FailureAction,
    reason: &str,
) {
    let rollback = is_rollback(status);
    // A rollback that fails is not rolled back.
    if action == FailureAction::Rollback
        && !rollback
        && let Some(good) = way_back(draft, service)
    {
        let rollback = ServiceAction::Rollback {
            id: service.id,
            version: service.meta.version,
            to: good.revision.number,
            message: format!("update rolled back {reason}"),
            failed: true,
        };
        draft.plan.actions.push(Action::Service(rollback));
        // New ones would be of the template that goes.
        work.tasks.retain(|task| task.known.is_some());
        return;
    }
    let (state, what) = match rollback {
        true => (UpdateState::RollbackPaused, "rollback paused"),
        false => (UpdateState::Paused, "update paused"),
    };
    let status = UpdateStatus {
        state,
        completed_at: None,
        message: format!("{what} {reason}"),
        ..status.clone()
    };
    set_status(draft, work, service, status, Some(RevisionOutcome::Failed));
}

/// The last good revision, if all that it refers to is still there.
fn way_back<'s>(draft: &Draft<'_>, service: &'s Service) -> Option<&'s PastRevision> {
    let is_whole = |past: &&PastRevision| template::is_whole(draft.snapshot, &past.spec.task);
    service.last_good().filter(is_whole)
}

/// At most one a pass: it begins, or goes on, or ends.
fn set_status(
    draft: &mut Draft<'_>,
    work: &mut ServiceWork<'_>,
    service: &Service,
    status: UpdateStatus,
    outcome: Option<RevisionOutcome>,
) {
    work.update_status = Some(status.clone());
    draft
        .plan
        .actions
        .push(Action::Service(ServiceAction::SetUpdateStatus {
            id: service.id,
            version: service.meta.version,
            status,
            outcome,
        }));
}

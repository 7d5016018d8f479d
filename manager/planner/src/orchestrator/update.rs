//! Rolling changes of a service's tasks.
//!
//! Nothing is remembered between passes: which positions are outdated, which
//! are being changed, and which failed is read from the tasks; that an update
//! is under way, and since when, from the service.

use super::{restart, template};
use crate::allocator::has_host_ports;
use crate::draft::{Current, Draft, Origin, Position, ServiceWork, Template, Work};
use crate::ids::IdSource;
use skep_manager_store::{Action, ServiceAction};
use skep_types::{
    Cause, FailureAction, Restarts, Service, TaskId, TaskState, Timestamp, UpdateConfig,
    UpdateOrder, UpdateState, UpdateStatus,
};
use std::sync::Arc;
use std::time::Duration;

/// Swarm's default monitor time.
const DEFAULT_MONITOR: Duration = Duration::from_secs(5);
/// Least time before a failed first start of an update that starts first is
/// tried again; the old task serves meanwhile.
const RETRY_DELAY: Duration = Duration::from_secs(5);

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
    let current = Current::new(service, &work.tasks);
    if !current.has_outdated() {
        return false;
    }
    let is_changed = |task: &Work<'_>| {
        task.is_live() && current.is_outdated(task) && !is_left_alone(draft, task.position())
    };
    if !work.tasks.iter().any(is_changed) && !is_refilled(work, &current, empty) {
        return false;
    }
    let status = UpdateStatus {
        state: UpdateState::Updating,
        started_at: draft.now,
        completed_at: None,
        message: "update in progress".to_owned(),
    };
    set_status(draft, work, service, status);
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
            current.is_outdated(last)
                && match last.state {
                    TaskState::Failed | TaskState::Rejected => true,
                    TaskState::Complete => false,
                    _ => matches!(position, Position::Slot(_)),
                }
        })
    })
}

/// What is on a paused node stays as it is.
fn is_left_alone(draft: &Draft<'_>, position: Position) -> bool {
    match position {
        Position::Slot(_) => false,
        Position::Node(node) => !draft.nodes.get(&node).is_some_and(|n| n.takes_tasks()),
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
    let current = Current::new(service, &work.tasks);
    let config = if rollback {
        &service.spec.rollback
    } else {
        &service.spec.update
    };
    let started_at = status.started_at;
    let mut round = Round {
        service,
        config,
        started_at,
        now: draft.now,
        monitor: config.monitor.unwrap_or(DEFAULT_MONITOR),
        starts_first: config.order == UpdateOrder::StartFirst && !has_host_ports(service),
        cause: template::change_of(service),
        views: Vec::new(),
    };
    round.look(draft, work, &current);
    if let Some(task) = round.has_failed() {
        match fail(draft, work, service, rollback, config, task) {
            Outcome::Stopped => return,
            Outcome::GoesOn => {}
        }
    }
    round.swap(draft, work);
    round.start(draft, work, ids);
    if let Some(at) = round.wake(work) {
        draft.plan.wake(at);
    }
    if round.is_done(work) {
        complete(draft, work, service, rollback, started_at);
    }
}

enum Outcome {
    Stopped,
    GoesOn,
}

/// One position, as far as the update is concerned.
struct View {
    position: Position,
    /// Live tasks of another template.
    outdated: Vec<usize>,
    /// The live task of the present template.
    fresh: Option<usize>,
    /// It is one that this update made, in a position that it changes.
    changing: bool,
    /// A task of any template that was told to stop may still run here.
    stopping: bool,
    /// The first task this update made here has ended by itself.
    tried: bool,
    /// That task, if it failed within the monitor time.
    failed: Option<TaskId>,
    /// When another one may be made after the last that ended by itself here, and
    /// what is counted by then.
    retry: Option<(Timestamp, Restarts)>,
}

impl View {
    /// Stops the old tasks, but for the first `kept`.
    fn stop(&mut self, draft: &Draft<'_>, work: &mut ServiceWork<'_>, kept: usize, cause: Cause) {
        for index in self.outdated.drain(kept..) {
            work.tasks[index].stop(TaskState::Shutdown, cause);
            self.stopping |= super::is_stopping(draft, &work.tasks[index]);
        }
    }
}

struct Round<'u, 'a> {
    service: &'a Arc<Service>,
    config: &'u UpdateConfig,
    started_at: Timestamp,
    now: Timestamp,
    monitor: Duration,
    starts_first: bool,
    cause: Cause,
    views: Vec<View>,
}

impl<'a> Round<'_, 'a> {
    fn look(&mut self, draft: &Draft<'a>, work: &ServiceWork<'a>, current: &Current<'_>) {
        for (position, tasks) in work.positions() {
            if is_left_alone(draft, position) {
                continue;
            }
            let mut view = View {
                position,
                outdated: Vec::new(),
                fresh: None,
                changing: false,
                stopping: false,
                tried: false,
                failed: None,
                retry: None,
            };
            let mut had_outdated = false;
            let mut is_first = true;
            let mut last_end = None;
            for index in tasks {
                let task = &work.tasks[index];
                view.stopping |= super::is_stopping(draft, task);
                if task.desired == TaskState::Remove {
                    continue;
                }
                if current.is_outdated(task) {
                    had_outdated = true;
                    if task.is_live() {
                        view.outdated.push(index);
                    }
                    continue;
                }
                let made_here = task.created_at >= self.started_at;
                if task.is_live() {
                    view.fresh = Some(index);
                    view.changing = made_here && had_outdated;
                }
                if made_here && had_outdated {
                    let ended = restart::ended_by_itself(task);
                    if ended && is_first {
                        view.tried = true;
                        view.failed = self.failed_early(task).then_some(task.id);
                    }
                    if ended {
                        last_end = Some(task);
                    }
                    // What was lost with its node tells nothing of the template.
                    is_first &= task.state == TaskState::Orphaned;
                }
            }
            let policy = &self.service.spec.task.restart;
            view.retry = last_end.map(|task| restart::retry(policy, task, RETRY_DELAY));
            self.views.push(view);
        }
    }

    /// It ended before the monitor time was over.
    fn failed_early(&self, task: &Work<'_>) -> bool {
        task.ran_for() < self.monitor.max(Duration::from_millis(1))
    }

    /// A task to name, once more have failed than may.
    fn has_failed(&self) -> Option<TaskId> {
        let failed: Vec<TaskId> = self.views.iter().filter_map(|view| view.failed).collect();
        let ratio = failed.len() as f32 / self.views.len().max(1) as f32;
        let first = failed.first().copied();
        first.filter(|_| ratio > self.config.max_failure_ratio)
    }

    /// Stops old tasks next to new ones that take traffic, and what an overtaken
    /// update had begun next to them: one old task is enough to serve.
    fn swap(&mut self, draft: &Draft<'a>, work: &mut ServiceWork<'a>) {
        for view in &mut self.views {
            if view.outdated.len() > 1 {
                let serves = |index: &usize| work.tasks[*index].is_ready();
                view.outdated.sort_by_key(|index| !serves(index));
                view.stop(draft, work, 1, self.cause);
            }
            // Where the old one stops first, both are there only if a
            // proposal got lost in between.
            let replaced = view
                .fresh
                .is_some_and(|index| !self.starts_first || work.tasks[index].is_ready());
            if replaced {
                view.stop(draft, work, 0, self.cause);
            }
        }
    }

    /// The position is still being changed: the next one waits for it.
    fn is_busy(&self, view: &View, work: &ServiceWork<'a>) -> bool {
        // Once the first task has ended, the restart policy takes over;
        // waiting for it might be waiting for ever.
        view.changing
            && !view.tried
            && view
                .fresh
                .is_some_and(|index| !self.is_settled(&work.tasks[index]))
    }

    fn settles_at(&self, task: &Work<'_>) -> Option<Timestamp> {
        task.is_ready()
            .then(|| task.ready_since() + self.monitor.max(self.config.delay))
    }

    fn is_settled(&self, task: &Work<'_>) -> bool {
        self.settles_at(task).is_some_and(|at| at <= self.now)
    }

    /// Changes as many further positions as may be changed at a time.
    fn start(&mut self, draft: &Draft<'a>, work: &mut ServiceWork<'a>, ids: &mut IdSource) {
        let busy = self.views.iter().filter(|v| self.is_busy(v, work)).count();
        let mut room = match self.config.parallelism {
            0 => usize::MAX,
            n => (n as usize).saturating_sub(busy),
        };
        let mut order: Vec<usize> = (0..self.views.len())
            .filter(|i| !self.views[*i].outdated.is_empty())
            .filter(|i| self.views[*i].fresh.is_none())
            .filter(|i| self.views[*i].retry.is_none_or(|(at, _)| at <= self.now))
            .collect();
        // What does not serve anyway goes first.
        order.sort_by_key(|i| {
            let view = &self.views[*i];
            let serves = |index: &usize| work.tasks[*index].is_ready();
            view.outdated.iter().any(serves)
        });
        for at in order {
            if room == 0 {
                break;
            }
            room -= 1;
            let view = &mut self.views[at];
            if !self.starts_first {
                view.stop(draft, work, 0, self.cause);
            }
            // In either order: an overtaken update, or a lost node, may have
            // left some that still stop.
            let mut origin = Origin::new(self.cause);
            if view.stopping {
                origin.desired = TaskState::Ready;
            }
            if let Some((_, restarts)) = view.retry {
                origin.restarts = restarts;
            }
            let id = ids.task();
            let template = Template::present(self.service);
            work.create(template, id, view.position, origin, self.now);
            view.fresh = Some(work.tasks.len() - 1);
            view.changing = true;
        }
    }

    fn wake(&self, work: &ServiceWork<'a>) -> Option<Timestamp> {
        let settle = self
            .views
            .iter()
            .filter(|view| self.is_busy(view, work))
            .filter_map(|view| self.settles_at(&work.tasks[view.fresh?]));
        let retry = self
            .views
            .iter()
            .filter(|view| !view.outdated.is_empty() && view.fresh.is_none())
            .filter_map(|view| view.retry.map(|(at, _)| at));
        settle.chain(retry).filter(|at| *at > self.now).min()
    }

    fn is_done(&self, work: &ServiceWork<'a>) -> bool {
        self.views
            .iter()
            .all(|view| view.outdated.is_empty() && !self.is_busy(view, work))
    }
}

fn complete(
    draft: &mut Draft<'_>,
    work: &mut ServiceWork<'_>,
    service: &Service,
    rollback: bool,
    started_at: Timestamp,
) {
    let (state, message) = if rollback {
        (UpdateState::RollbackCompleted, "rollback completed")
    } else {
        (UpdateState::Completed, "update completed")
    };
    set_status(
        draft,
        work,
        service,
        UpdateStatus {
            state,
            started_at,
            completed_at: Some(draft.now),
            message: message.to_owned(),
        },
    );
}

/// Does what the service wants done after a failure.
fn fail(
    draft: &mut Draft<'_>,
    work: &mut ServiceWork<'_>,
    service: &Service,
    rollback: bool,
    config: &UpdateConfig,
    task: TaskId,
) -> Outcome {
    let reason = format!("due to failure or early termination of task {task}");
    let action = match config.failure_action {
        FailureAction::Continue => return Outcome::GoesOn,
        // There is nothing behind a rollback, nor behind a first version.
        FailureAction::Rollback if rollback || !can_return(draft, service) => FailureAction::Pause,
        action => action,
    };
    if action == FailureAction::Rollback {
        let rollback = ServiceAction::Rollback {
            id: service.id,
            version: service.meta.version,
            message: format!("update rolled back {reason}"),
            keep: false,
        };
        draft.plan.actions.push(Action::Service(rollback));
        // New ones would be of the template that goes.
        work.tasks.retain(|task| task.known.is_some());
        return Outcome::Stopped;
    }
    let (state, what) = if rollback {
        (UpdateState::RollbackPaused, "rollback paused")
    } else {
        (UpdateState::Paused, "update paused")
    };
    let started_at = service
        .update_status
        .as_ref()
        .map_or(draft.now, |status| status.started_at);
    set_status(
        draft,
        work,
        service,
        UpdateStatus {
            state,
            started_at,
            completed_at: None,
            message: format!("{what} {reason}"),
        },
    );
    Outcome::Stopped
}

/// There is a previous spec, and all that it refers to is still there.
fn can_return(draft: &Draft<'_>, service: &Service) -> bool {
    let previous = service.previous_spec.as_ref();
    previous.is_some_and(|previous| template::is_whole(draft.snapshot, &previous.task))
}

/// At most one a pass: it begins, or goes on, or ends.
fn set_status(
    draft: &mut Draft<'_>,
    work: &mut ServiceWork<'_>,
    service: &Service,
    status: UpdateStatus,
) {
    work.update_status = Some(status.clone());
    draft
        .plan
        .actions
        .push(Action::Service(ServiceAction::SetUpdateStatus {
            id: service.id,
            version: service.meta.version,
            status,
        }));
}

//! A round of an update: how far each position is, and which are changed next.
//!
//! Whether the update fails, pauses or ends is `update`'s; when it counts as stuck,
//! `progress`'s.

use super::super::{is_stopping, moves, promote, restart, template};
use super::is_left_alone;
use super::pace::{DEFAULT_MONITOR, Pace};
use crate::allocator::has_host_ports;
use crate::current::{Allowed, Current};
use crate::draft::{Draft, Origin, Position, ServiceWork, Template, Work};
use crate::ids::IdSource;
use skep_types::{
    Cause, Restarts, Service, TaskId, TaskState, Timestamp, UpdateConfig, UpdateOrder, UpdateStatus,
};
use std::sync::Arc;
use std::time::Duration;

/// One position, as far as the update is concerned.
pub(super) struct View {
    pub(super) position: Position,
    /// Live tasks of another template.
    pub(super) outdated: Vec<usize>,
    /// The live task of the present template.
    pub(super) fresh: Option<usize>,
    /// It is one that this update made, be it before it was told to go on, in a
    /// position that it changes: until it has settled the update is not done.
    pub(super) changing: bool,
    /// A task of any template that was told to stop may still run here.
    pub(super) stopping: bool,
    /// The update has made a task here, be it before it was told to go on.
    changed: bool,
    /// When it made the first here that counts.
    pub(super) begun_at: Option<Timestamp>,
    /// The last task it made here.
    pub(super) last: Option<usize>,
    /// A task that this update made here has ended by itself.
    pub(super) tried: bool,
    /// The first of those, if it failed within the monitor time.
    failed: Option<TaskId>,
    /// When another one may be made after the last that ended by itself here, and
    /// what is counted by then.
    retry: Option<(Timestamp, Restarts)>,
    /// None is made after that: the restart policy says so. The old task serves until
    /// somebody looks.
    pub(super) given_up: bool,
    /// The service is to have nothing here any more: its constraints were changed.
    pub(super) closed: bool,
    /// When the last old task of a closed position has had its time to stop.
    stops_until: Option<Timestamp>,
    /// When the last old task of a closed position ended.
    pub(super) closed_at: Option<Timestamp>,
    /// The live task came while this update rolls, to where there was none before.
    pub(super) arrived: bool,
}

impl View {
    /// Stops the old tasks, but for the first `kept`.
    fn stop(&mut self, draft: &Draft<'_>, work: &mut ServiceWork<'_>, kept: usize, cause: Cause) {
        for index in self.outdated.drain(kept..) {
            work.tasks[index].stop(TaskState::Shutdown, cause);
            self.stopping |= is_stopping(draft, &work.tasks[index]);
        }
    }
}

pub(super) struct Round<'u, 'a> {
    pub(super) service: &'a Arc<Service>,
    pub(super) config: &'u UpdateConfig,
    started_at: Timestamp,
    /// From when its tries count: those before it was told to go on are no failures.
    pub(super) counts_from: Timestamp,
    pub(super) now: Timestamp,
    monitor: Duration,
    starts_first: bool,
    cause: Cause,
    pub(super) views: Vec<View>,
}

impl<'u, 'a> Round<'u, 'a> {
    pub(super) fn new(
        service: &'a Arc<Service>,
        config: &'u UpdateConfig,
        status: &UpdateStatus,
        now: Timestamp,
    ) -> Round<'u, 'a> {
        Round {
            service,
            config,
            started_at: status.started_at,
            counts_from: status.counts_from(),
            now,
            monitor: config.monitor.unwrap_or(DEFAULT_MONITOR),
            starts_first: config.order == UpdateOrder::StartFirst && !has_host_ports(service),
            cause: template::change_of(service),
            views: Vec::new(),
        }
    }

    /// Takes in how far each position is.
    pub(super) fn look(
        &mut self,
        draft: &Draft<'a>,
        work: &ServiceWork<'a>,
        current: &Current<'_>,
    ) {
        let mut allowed = Allowed::default();
        for (position, tasks) in work.positions() {
            if is_left_alone(draft, position) {
                continue;
            }
            let mut view = View {
                position,
                outdated: Vec::new(),
                fresh: None,
                changing: false,
                changed: false,
                begun_at: None,
                last: None,
                stopping: false,
                tried: false,
                failed: None,
                retry: None,
                given_up: false,
                closed: match position {
                    Position::Slot(_) | Position::Run(..) => false,
                    Position::Node(node) => draft.nodes.get(node).is_some_and(|node| {
                        let Service { spec, .. } = &**self.service;
                        !allowed.on(node.node, self.service.spec_version, &spec.task)
                    }),
                },
                stops_until: None,
                closed_at: None,
                arrived: false,
            };
            let mut had_outdated = false;
            let mut last_end = None;
            for index in tasks {
                let task = &work.tasks[index];
                if is_stopping(draft, task) {
                    view.stopping = true;
                    let until = view.closed.then(|| promote::wait_ends(draft, task));
                    view.stops_until = view.stops_until.max(until);
                }
                if task.desired == TaskState::Remove {
                    continue;
                }
                if current.is_outdated(task) {
                    had_outdated = true;
                    if task.is_live() {
                        view.outdated.push(index);
                    } else if view.closed && task.state.is_terminal() {
                        view.closed_at = view.closed_at.max(Some(task.ended_at()));
                    }
                    continue;
                }
                view.changed |= had_outdated && task.created_at >= self.started_at;
                let made_here = task.created_at >= self.counts_from;
                if task.is_live() {
                    view.fresh = Some(index);
                    let is_made = task.created_at >= self.started_at;
                    view.changing = had_outdated && is_made;
                    // Within a millisecond the version tells.
                    view.arrived =
                        !had_outdated && is_made && task.spec_version == self.service.spec_version;
                }
                if made_here && had_outdated {
                    view.begun_at.get_or_insert(task.created_at);
                    view.last = Some(index);
                    // What was drained or lost with its node tells nothing of the template.
                    if task.ended_by_itself() {
                        if !view.tried {
                            view.tried = true;
                            view.failed = self.failed_early(task).then_some(task.id);
                        }
                        last_end = Some(task);
                    }
                }
            }
            let policy = &self.service.spec.task.restart;
            view.retry =
                last_end.and_then(|task| restart::retry(policy, task, restart::RETRY_DELAY));
            view.given_up = last_end.is_some() && view.retry.is_none();
            self.views.push(view);
        }
    }

    /// It ended before the monitor time was over, which begins when it takes traffic.
    fn failed_early(&self, task: &Work<'_>) -> bool {
        let monitor = self.monitor.max(Duration::from_millis(1));
        task.ready_at()
            .is_none_or(|at| task.ended_at().since(at) < monitor)
    }

    /// A task to name, once more have failed than may, of the positions to be changed.
    pub(super) fn has_failed(&self) -> Option<TaskId> {
        let failed: Vec<TaskId> = self.views.iter().filter_map(|view| view.failed).collect();
        let changes = |view: &&View| view.changed || !view.outdated.is_empty();
        let all = self.views.iter().filter(changes).count();
        let ratio = failed.len() as f32 / all.max(1) as f32;
        let first = failed.first().copied();
        first.filter(|_| ratio > self.config.max_failure_ratio)
    }

    /// Stops old tasks next to new ones that take traffic, and what an overtaken
    /// update had begun next to them: one old task is enough to serve. Whether it
    /// stopped any.
    pub(super) fn swap(&mut self, draft: &Draft<'a>, work: &mut ServiceWork<'a>) -> bool {
        let count = |views: &[View]| -> usize { views.iter().map(|v| v.outdated.len()).sum() };
        let before = count(&self.views);
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
        count(&self.views) < before
    }

    /// The position is still being changed: the next one waits for it.
    pub(super) fn is_busy(&self, view: &View, work: &ServiceWork<'a>) -> bool {
        // Once a task has ended by itself, the restart policy takes over;
        // waiting for it might be waiting for ever.
        view.changing
            && !view.tried
            && view
                .fresh
                .is_some_and(|index| !self.is_settled(&work.tasks[index]))
    }

    /// What came to where there was none is to take over from positions that are closed,
    /// and has not settled yet.
    pub(super) fn is_arriving(&self, view: &View, work: &ServiceWork<'a>) -> bool {
        let is_settled = |index| self.is_settled(&work.tasks[index]);
        view.arrived && !view.fresh.is_some_and(is_settled)
    }

    /// Something is left to be closed.
    pub(super) fn closes(&self) -> bool {
        let mut views = self.views.iter();
        views.any(|view| view.closed && !view.outdated.is_empty())
    }

    /// An old task of a closed position still has time to stop: no new one waits there
    /// for that, so the next position does.
    fn is_closing(&self, view: &View) -> bool {
        view.stops_until.is_some_and(|at| at > self.now)
    }

    pub(super) fn settles_at(&self, task: &Work<'_>) -> Option<Timestamp> {
        task.is_ready()
            .then(|| task.ready_since() + self.monitor.max(self.config.delay))
    }

    fn is_settled(&self, task: &Work<'_>) -> bool {
        self.settles_at(task).is_some_and(|at| at <= self.now)
    }

    /// Changes as many further positions as may be changed at a time. Whether there
    /// were any.
    pub(super) fn start(
        &mut self,
        draft: &Draft<'a>,
        work: &mut ServiceWork<'a>,
        ids: &mut IdSource,
    ) -> bool {
        let mut any = false;
        // What is moved for another reason is missing just as well.
        let moved = moves::under_way(work, &Pace::of(self.service), None, self.now);
        let is_moved = |view: &View| view.outdated.is_empty() && moved.contains(&view.position);
        let is_busy =
            |view: &&View| self.is_busy(view, work) || self.is_closing(view) || is_moved(view);
        let busy = self.views.iter().filter(is_busy).count();
        let arriving = self.views.iter().any(|view| self.is_arriving(view, work));
        let mut room = match self.config.parallelism {
            0 => usize::MAX,
            n => (n as usize).saturating_sub(busy),
        };
        let mut order: Vec<usize> = (0..self.views.len())
            .filter(|i| !self.views[*i].outdated.is_empty())
            .filter(|i| self.views[*i].fresh.is_none())
            .filter(|i| match self.views[*i].closed {
                true => !arriving,
                false => !self.views[*i].given_up,
            })
            .filter(|i| self.views[*i].retry.is_none_or(|(at, _)| at <= self.now))
            .collect();
        // What does not serve anyway goes first, then what has to leave its node.
        order.sort_by_key(|i| {
            let outdated = &self.views[*i].outdated;
            let serves = |index: &usize| work.tasks[*index].is_ready();
            let stays = |index: &usize| work.tasks[*index].leaves.is_none();
            (outdated.iter().any(serves), outdated.iter().all(stays))
        });
        for at in order {
            if room == 0 {
                break;
            }
            room -= 1;
            any = true;
            let view = &mut self.views[at];
            if !self.starts_first || view.closed {
                view.stop(draft, work, 0, self.cause);
            }
            if view.closed {
                continue;
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
        any
    }

    pub(super) fn wake(&self, work: &ServiceWork<'a>) -> Option<Timestamp> {
        let closes = self.closes();
        let settle = self
            .views
            .iter()
            .filter(|view| self.is_busy(view, work) || (closes && self.is_arriving(view, work)))
            .filter_map(|view| self.settles_at(&work.tasks[view.fresh?]));
        let retry = self
            .views
            .iter()
            .filter(|view| !view.outdated.is_empty() && view.fresh.is_none())
            .filter_map(|view| view.retry.map(|(at, _)| at));
        let closed = self.views.iter().filter_map(|view| view.stops_until);
        settle
            .chain(retry)
            .chain(closed)
            .filter(|at| *at > self.now)
            .min()
    }

    pub(super) fn is_done(&self, work: &ServiceWork<'a>) -> bool {
        self.views
            .iter()
            .all(|view| view.outdated.is_empty() && !self.is_busy(view, work))
    }
}

//! When an update that gets no further has failed, and what it is that keeps it.

use super::super::{is_stopping, promote};
use super::round::{Round, View};
use crate::draft::{Draft, Position, ServiceWork, Work};
use skep_types::Timestamp;
use std::time::Duration;

/// Kubernetes' default.
const DEFAULT_DEADLINE: Duration = Duration::from_secs(10 * 60);

impl<'a> Round<'_, 'a> {
    /// When it counts as stuck, unless something happens; `None` for never.
    pub(super) fn due(&self, draft: &Draft<'a>, work: &ServiceWork<'a>) -> Option<Timestamp> {
        match self.deadline() {
            Duration::ZERO => None,
            deadline => Some(self.progressed_at(draft, work) + deadline),
        }
    }

    fn deadline(&self) -> Duration {
        self.config.progress_deadline.unwrap_or(DEFAULT_DEADLINE)
    }

    /// When it last got further. What it waits for by its service's own settings, the
    /// time a task is watched and the time an old one has to stop, is none of its time.
    fn progressed_at(&self, draft: &Draft<'a>, work: &ServiceWork<'a>) -> Timestamp {
        // While no manager led it could not get further, or nobody was told.
        let mut at = self.counts_from.max(draft.leader_since);
        for view in &self.views {
            // Once a position: tries that follow the first are no progress.
            at = at.max(view.begun_at.unwrap_or_default());
            at = at.max(view.closed_at.unwrap_or_default());
            let fresh = view.fresh.filter(|_| view.changing || view.arrived);
            let Some(task) = fresh.map(|index| &work.tasks[index]) else {
                continue;
            };
            if !view.tried && task.restarts.in_row == 0 {
                let came = [task.ran_at(), task.ready_at()];
                at = came.into_iter().flatten().fold(at, Timestamp::max);
            }
            at = at.max(self.settles_at(task).unwrap_or_default());
        }
        if self.views.iter().any(|view| view.stopping) {
            let stopping = work.tasks.iter().filter(|task| is_stopping(draft, task));
            let ends = stopping.map(|old| promote::wait_ends(draft, old));
            at = ends.fold(at, Timestamp::max);
        }
        at.min(self.now)
    }

    /// Nothing of it is under way, and by the restart policy nothing more follows where
    /// old tasks are left: there is nothing to wait for.
    pub(super) fn is_given_up(&self, work: &ServiceWork<'a>) -> bool {
        let left = |view: &&View| !view.outdated.is_empty();
        let waits =
            |view: &View| view.stopping || self.is_busy(view, work) || self.is_arriving(view, work);
        let mut left = self.views.iter().filter(left).peekable();
        left.peek().is_some()
            && left.all(|view| view.given_up && view.fresh.is_none() && !view.closed)
            && !self.views.iter().any(waits)
    }

    /// That no try is left, and where.
    pub(super) fn hopeless(&self, draft: &Draft<'a>, work: &ServiceWork<'a>) -> String {
        let text = "after the last try that the restart policy allows".to_owned();
        self.with_place(draft, work, text)
    }

    /// Since when it is stuck, and where.
    pub(super) fn stuck(&self, draft: &Draft<'a>, work: &ServiceWork<'a>) -> String {
        let text = format!("after {} without progress", words(self.deadline()));
        self.with_place(draft, work, text)
    }

    fn with_place(&self, draft: &Draft<'a>, work: &ServiceWork<'a>, mut text: String) -> String {
        let closes = self.closes();
        let waits = |view: &&View| {
            let task = view.fresh.map(|index| &work.tasks[index]);
            let is_waited_for =
                self.is_busy(view, work) || (closes && self.is_arriving(view, work));
            is_waited_for && task.is_some_and(|task| !task.is_ready())
        };
        // Or where the old task serves, and no new one comes up beside it.
        let retried = |view: &&View| !view.outdated.is_empty() && view.last.is_some();
        let found = self.views.iter().find(waits);
        if let Some(view) = found.or_else(|| self.views.iter().find(retried))
            && let Some(task) = view.fresh.or(view.last).map(|index| &work.tasks[index])
        {
            let name = self.name_of(draft, view.position);
            let is = if task.state.is_terminal() { "" } else { "is " };
            text.push_str(&format!(": {name} {is}{}", task.state));
            if let Some(why) = why(task) {
                text.push_str(&format!(": {why}"));
            }
        }
        text
    }

    fn name_of(&self, draft: &Draft<'a>, position: Position) -> String {
        let service = &self.service.spec.name;
        match position {
            Position::Slot(slot) | Position::Run(_, slot, _) => format!("{service}.{}", slot.0),
            Position::Node(id) => match draft.nodes.get(id) {
                Some(node) => format!("{service}.{}", node.node.description.hostname),
                None => format!("{service}.{id}"),
            },
        }
    }
}

/// What is known of why it is no further.
fn why<'t>(task: &'t Work<'_>) -> Option<&'t str> {
    let status = task.known.map(|task| &task.status)?;
    let mut texts = [status.error.as_str(), status.message.as_str()].into_iter();
    texts.find(|text| !text.is_empty() && *text != status.state.name())
}

/// In the largest unit that it is whole in.
fn words(time: Duration) -> String {
    match time.as_secs() {
        _ if time.subsec_nanos() > 0 => format!("{time:?}"),
        seconds if seconds % 3600 == 0 => format!("{}h", seconds / 3600),
        seconds if seconds % 60 == 0 => format!("{}m", seconds / 60),
        seconds => format!("{seconds}s"),
    }
}

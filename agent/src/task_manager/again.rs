//! What follows when a container has ended: the word to the managers, or while none
//! hears this node, another container of the same task.
//!
//! An end is final once it is said. Until then it is only written down, so that the
//! next daemon goes on with it.

use super::{RETRY_MAX, RETRY_MIN, TaskManager, now};
use skep_agent_planner::restart::{self, Again, Ended};
use skep_types::{Task, TaskState, TaskStatus};
use tokio::time::Instant;

/// An end that nobody was told of yet. On disk only: what is told to have ended takes
/// no traffic in any case.
pub(crate) fn is_unsaid(status: &TaskStatus) -> bool {
    status.state.is_terminal() && status.not_ready
}

/// An end, as it is written down until it is said.
pub(crate) fn unsaid(status: &TaskStatus, ended: Ended) -> TaskStatus {
    TaskStatus {
        state: ended.state,
        at: ended.at,
        not_ready: true,
        ..status.clone()
    }
}

impl TaskManager {
    /// The container has ended, and nothing of it runs; why is in the status. The
    /// managers decide what follows. While none hears this node, it may be itself.
    pub(super) async fn ends(&mut self, task: &Task, ended: Ended) {
        let again = restart::again(task, &self.status, ended);
        if let Some(again) = again.filter(|_| !self.reporter.contact().is_heard())
            && self.is_left_alone(task, ended, again).await
        {
            return self.begins_again(task, ended, again);
        }
        let message = match ended.state {
            TaskState::Complete => "finished",
            TaskState::Rejected => "rejected",
            TaskState::Orphaned => "lost",
            _ => "failed",
        };
        self.at(task, ended.state, message, ended.at).await;
    }

    /// Waits for its time to start again. Not if a manager hears of it before.
    async fn is_left_alone(&mut self, task: &Task, ended: Ended, again: Again) -> bool {
        let at = Instant::now() + again.delay;
        let written = Task {
            status: unsaid(&self.status, ended),
            ..task.clone()
        };
        if let Err(error) = self.ledger.put(written).await {
            // The next daemon goes by what it finds of the container.
            tracing::error!(task.id = %task.id, %error, "end of a task not recorded");
        }
        tracing::info!(task.id = %task.id, service = %task.service_name, delay = ?again.delay,
            error = %self.status.error, "no manager hears of its end: the task starts again here");
        let contact = self.reporter.contact().clone();
        tokio::select! {
            biased;
            () = contact.heard() => false,
            () = Self::unwanted(&mut self.assigned) => false,
            () = contact.silent(at) => true,
        }
    }

    fn begins_again(&mut self, task: &Task, ended: Ended, again: Again) {
        self.last = Some(unsaid(&self.status, ended));
        restart::begin(&mut self.status, again, now());
        tracing::info!(task.id = %task.id, service = %task.service_name,
            count = self.status.local.count, "task starts again");
    }

    /// A manager hears this node before the container could be made: it is told of the
    /// end, as it would have been.
    pub(super) async fn gives_way(&mut self, task: &Task) {
        self.discard(task).await;
        let ended = match self.last.take() {
            Some(last) => {
                self.status.error = last.error;
                self.status.exit_code = last.exit_code;
                self.status.oom_killed = last.oom_killed;
                (last.state, last.at)
            }
            // A daemon ago: it is nobody's fault.
            None => {
                let error = "task: its node was starting it again when it found a manager";
                error.clone_into(&mut self.status.error);
                (TaskState::Orphaned, now())
            }
        };
        let (state, at) = ended;
        self.ends(task, Ended { state, at }).await;
    }

    /// Takes away what there is of a container that has not run. A create that is still
    /// under way is waited for.
    pub(super) async fn discard(&self, task: &Task) {
        let mut pause = RETRY_MIN;
        while let Err(error) = self.executor.remove(task.id).await {
            tracing::warn!(task.id = %task.id, %error, "container not removed, trying again");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RETRY_MAX);
        }
    }

    /// In words that the container runs.
    pub(super) fn started(&self) -> String {
        let times = match self.status.local.count {
            0 => return "started".to_owned(),
            1 => "once".to_owned(),
            count => format!("{count} times"),
        };
        let mut text = format!("started again by its node, {times}");
        if let Some(last) = &self.last {
            let why = match (last.error.as_str(), last.exit_code) {
                ("", Some(code)) => format!("exit code {code}"),
                ("", None) => last.state.to_string(),
                (error, _) => error.to_owned(),
            };
            text.push_str("; before: ");
            text.push_str(&why);
        }
        text
    }
}

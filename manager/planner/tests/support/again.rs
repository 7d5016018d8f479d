//! Tasks that their nodes started again by themselves.

use super::World;
use skep_manager_store::{Action, TaskAction};
use skep_types::{LocalRestarts, Restarts, TaskStatus};

impl World {
    /// It runs anew since now, after so many failures in a row.
    pub(super) fn again(&mut self, name: &str, times: &str) {
        let times = times.parse().expect("a number");
        let mut tasks = self.store.state().tasks();
        let task = tasks.find(|task| task.is_live() && self.is_called(task, name));
        let task = task.expect(name).clone();
        drop(tasks);
        let local = LocalRestarts {
            count: times,
            counted: Restarts {
                in_row: times,
                attempts: times,
                window_from: self.now,
            },
            at: self.now,
        };
        let status = TaskStatus {
            local,
            at: self.now,
            ..task.status.clone()
        };
        let updates = vec![(task.id, status)];
        self.must(Action::Task(TaskAction::UpdateStatus { updates }));
    }
}

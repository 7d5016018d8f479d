//! Cutting a group of changes in two, where one entry cannot hold it.

use crate::action::{Action, TaskAction};

impl Action {
    /// How many objects it changes.
    pub fn items(&self) -> usize {
        let Action::Task(action) = self else {
            return 1;
        };
        match action {
            TaskAction::Create { tasks, .. } => tasks.len(),
            TaskAction::Place { tasks } => tasks.len(),
            TaskAction::Attach { tasks } => tasks.len(),
            TaskAction::Explain { tasks } => tasks.len(),
            TaskAction::SetDesired { tasks } => tasks.len(),
            TaskAction::UpdateStatus { updates } => updates.len(),
            TaskAction::Remove { tasks } => tasks.len(),
        }
    }

    /// Its first part, of at most `items` objects, and what is left. Applied
    /// in order the two mean what the whole does; what is not a group stays
    /// whole.
    pub fn cut(self, items: usize) -> (Action, Option<Action>) {
        if self.items() <= items {
            return (self, None);
        }
        let Action::Task(action) = self else {
            return (self, None);
        };
        let (now, later) = match action {
            TaskAction::Create {
                service,
                version,
                spec_version,
                mut tasks,
            } => {
                let later = tasks.split_off(items);
                let create = |tasks| TaskAction::Create {
                    service,
                    version,
                    spec_version,
                    tasks,
                };
                (create(tasks), create(later))
            }
            TaskAction::Place { mut tasks } => {
                let later = tasks.split_off(items);
                (
                    TaskAction::Place { tasks },
                    TaskAction::Place { tasks: later },
                )
            }
            TaskAction::Attach { mut tasks } => {
                let later = tasks.split_off(items);
                (
                    TaskAction::Attach { tasks },
                    TaskAction::Attach { tasks: later },
                )
            }
            TaskAction::Explain { mut tasks } => {
                let later = tasks.split_off(items);
                (
                    TaskAction::Explain { tasks },
                    TaskAction::Explain { tasks: later },
                )
            }
            TaskAction::SetDesired { mut tasks } => {
                let later = tasks.split_off(items);
                (
                    TaskAction::SetDesired { tasks },
                    TaskAction::SetDesired { tasks: later },
                )
            }
            TaskAction::UpdateStatus { mut updates } => {
                let later = updates.split_off(items);
                (
                    TaskAction::UpdateStatus { updates },
                    TaskAction::UpdateStatus { updates: later },
                )
            }
            TaskAction::Remove { mut tasks } => {
                let later = tasks.split_off(items);
                (
                    TaskAction::Remove { tasks },
                    TaskAction::Remove { tasks: later },
                )
            }
        };
        (Action::Task(now), Some(Action::Task(later)))
    }
}

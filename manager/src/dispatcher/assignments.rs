//! What one node alone is told: its tasks and what they need, derived from a
//! snapshot, sent as differences.
//!
//! Pure. What is the same for all nodes is in `views`.

use skep_manager_store::Snapshot;
use skep_types::assignment::AssignmentChange;
use skep_types::template::is_templated;
use skep_types::{
    Config, ConfigId, Labels, NodeId, Secret, SecretId, ServiceId, Task, TaskId, TaskState,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A node's own part of its assignments.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Own {
    tasks: BTreeMap<TaskId, Arc<Task>>,
    secrets: BTreeMap<SecretId, Arc<Secret>>,
    configs: BTreeMap<ConfigId, Arc<Config>>,
    /// Of the services of tasks with templates.
    labels: BTreeMap<ServiceId, Arc<Labels>>,
}

/// What this node should do.
pub(crate) fn own(snapshot: &Snapshot, node: NodeId) -> Own {
    let mut set = Own::default();
    for task in snapshot.tasks_on(node) {
        // Before ASSIGNED a task is the scheduler's; what has ended is only
        // told again until the agent has been told to forget it.
        if task.status.state < TaskState::Assigned {
            continue;
        }
        if task.desired <= TaskState::Running && !task.status.state.is_terminal() {
            let mut has_templates = is_templated(&task.spec.container);
            for secret in &task.spec.container.secrets {
                if let Some(found) = snapshot.secret(secret.id) {
                    has_templates |= found.spec.template;
                    set.secrets.insert(secret.id, found.clone());
                }
            }
            for config in &task.spec.container.configs {
                if let Some(found) = snapshot.config(config.id) {
                    has_templates |= found.spec.template;
                    set.configs.insert(config.id, found.clone());
                }
            }
            if has_templates
                && let Some(service) = snapshot.service(task.service)
                && !service.spec.labels.is_empty()
            {
                let labels = || Arc::new(service.spec.labels.clone());
                set.labels.entry(service.id).or_insert_with(labels);
            }
        }
        set.tasks.insert(task.id, task.clone());
    }
    set
}

/// The changes that lead from one set to another: what a task needs comes
/// before the task, what it needed goes after it.
pub(crate) fn changes(old: &Own, new: &Own) -> Vec<AssignmentChange> {
    let mut changes = Vec::new();
    put(
        &old.secrets,
        &new.secrets,
        AssignmentChange::Secret,
        &mut changes,
    );
    put(
        &old.configs,
        &new.configs,
        AssignmentChange::Config,
        &mut changes,
    );
    put(
        &old.labels,
        &new.labels,
        AssignmentChange::Labels,
        &mut changes,
    );
    for (id, task) in &new.tasks {
        // What the agent reported itself need not be told to it.
        let told = old.tasks.get(id).is_some_and(|old| {
            Arc::ptr_eq(old, task)
                || (old.desired == task.desired
                    && old.attachments == task.attachments
                    && Arc::ptr_eq(&old.spec, &task.spec))
        });
        if !told {
            changes.push(AssignmentChange::Task(*id, Some(task.clone())));
        }
    }
    gone(&old.tasks, &new.tasks, AssignmentChange::Task, &mut changes);
    gone(
        &old.labels,
        &new.labels,
        AssignmentChange::Labels,
        &mut changes,
    );
    gone(
        &old.configs,
        &new.configs,
        AssignmentChange::Config,
        &mut changes,
    );
    gone(
        &old.secrets,
        &new.secrets,
        AssignmentChange::Secret,
        &mut changes,
    );
    changes
}

type Change<I, T> = fn(I, Option<Arc<T>>) -> AssignmentChange;

fn put<I: Ord + Copy, T: PartialEq>(
    old: &BTreeMap<I, Arc<T>>,
    new: &BTreeMap<I, Arc<T>>,
    change: Change<I, T>,
    changes: &mut Vec<AssignmentChange>,
) {
    for (id, object) in new {
        let same = |old: &Arc<T>| Arc::ptr_eq(old, object) || **old == **object;
        if !old.get(id).is_some_and(same) {
            changes.push(change(*id, Some(object.clone())));
        }
    }
}

fn gone<I: Ord + Copy, T>(
    old: &BTreeMap<I, Arc<T>>,
    new: &BTreeMap<I, Arc<T>>,
    change: Change<I, T>,
    changes: &mut Vec<AssignmentChange>,
) {
    changes.extend(
        old.keys()
            .filter(|id| !new.contains_key(id))
            .map(|id| change(*id, None)),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use skep_manager_store::{Action, NodeAction, ServiceAction, Store, TaskAction};
    use skep_types::assignment::AssignmentChange as Change;
    use skep_types::assignment::AssignmentSet;
    use skep_types::{Meta, SecretSpec, ServiceSpec, Slot, TaskStatus, Timestamp, Version};

    fn task(bits: u128, desired: TaskState) -> (TaskId, Arc<Task>) {
        let id = TaskId::from_bits(bits);
        let task = Task {
            id,
            meta: Meta::default(),
            service: ServiceId::from_bits(1),
            service_name: "web".into(),
            slot: Slot(1),
            node: None,
            spec: Arc::default(),
            spec_version: Version(1),
            desired,
            status: TaskStatus {
                state: TaskState::Assigned,
                ..TaskStatus::default()
            },
            attachments: Vec::new(),
            cause: Default::default(),
            stop_cause: None,
            restarts: Default::default(),
            start_at: None,
            run: 0,
            generic: Default::default(),
        };
        (id, Arc::new(task))
    }

    fn secret(bits: u128) -> (SecretId, Arc<Secret>) {
        let id = SecretId::from_bits(bits);
        (
            id,
            Arc::new(Secret {
                id,
                meta: Meta::default(),
                spec: SecretSpec::default(),
                generation: 1,
                superseded_at: None,
            }),
        )
    }

    fn applied(old: &Own, new: &Own) -> Own {
        let mut set = AssignmentSet {
            tasks: old.tasks.clone(),
            secrets: old.secrets.clone(),
            configs: old.configs.clone(),
            labels: old.labels.clone(),
            ..AssignmentSet::default()
        };
        for change in changes(old, new) {
            set.apply(change);
        }
        Own {
            tasks: set.tasks,
            secrets: set.secrets,
            configs: set.configs,
            labels: set.labels,
        }
    }

    #[test]
    fn the_changes_lead_from_one_set_to_the_other() {
        let empty = Own::default();
        let mut one = Own::default();
        one.tasks
            .extend([task(1, TaskState::Running), task(2, TaskState::Running)]);
        one.secrets.extend([secret(1)]);
        one.labels
            .extend([(ServiceId::from_bits(1), Arc::default())]);
        let mut other = Own::default();
        other
            .tasks
            .extend([task(2, TaskState::Shutdown), task(3, TaskState::Running)]);
        other.secrets.extend([secret(2)]);
        for (from, to) in [
            (&empty, &one),
            (&one, &other),
            (&other, &one),
            (&one, &empty),
        ] {
            assert_eq!(&applied(from, to), to);
        }
        assert!(changes(&one, &one).is_empty());
    }

    #[test]
    fn what_a_task_needs_comes_before_it_and_goes_after_it() {
        let empty = Own::default();
        let mut full = Own::default();
        full.tasks.extend([task(1, TaskState::Running)]);
        full.secrets.extend([secret(1)]);
        let there = changes(&empty, &full);
        assert!(
            matches!(there[..], [Change::Secret(..), Change::Task(..)]),
            "{there:?}"
        );
        let back = changes(&full, &empty);
        assert!(
            matches!(back[..], [Change::Task(..), Change::Secret(..)]),
            "{back:?}"
        );
    }

    #[test]
    fn labels_of_a_service_are_told_where_a_template_may_ask_for_them() {
        let node = NodeId::from_bits(1);
        let told = |env: &str| {
            let mut store = Store::new();
            let mut spec = ServiceSpec {
                name: "web".to_owned(),
                labels: [("tier".to_owned(), "front".to_owned())].into(),
                ..ServiceSpec::default()
            };
            Arc::make_mut(&mut spec.task).container.env = vec![env.to_owned()];
            let (id, version) = (ServiceId::from_bits(1), Version(1));
            let create = Action::Service(ServiceAction::Create {
                id,
                spec: Box::new(spec),
            });
            let task = testing::new_task(TaskId::from_bits(1), node);
            let make = Action::Task(TaskAction::Create {
                service: id,
                version,
                spec_version: version,
                tasks: vec![task],
            });
            let host = Action::Node(NodeAction::Create(Box::new(testing::host(node))));
            let applied = store.apply(version, Timestamp(1), &[host, create, make]);
            assert_eq!(applied.into_result(), Ok(()));
            own(&store.snapshot(), node).labels
        };
        assert!(told("A=b").is_empty());
        assert_eq!(told("A={{.Task.Slot}}").len(), 1);
    }

    #[test]
    fn a_node_is_not_told_what_it_said_itself() {
        let mut old = Own::default();
        let (id, before) = task(1, TaskState::Running);
        old.tasks.insert(id, before.clone());
        let mut new = Own::default();
        let status = TaskStatus {
            state: TaskState::Running,
            ..TaskStatus::default()
        };
        new.tasks.insert(
            id,
            Arc::new(Task {
                status,
                ..before.as_ref().clone()
            }),
        );
        assert!(changes(&old, &new).is_empty());
    }
}

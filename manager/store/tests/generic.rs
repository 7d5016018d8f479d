//! What nodes have of kinds of their own.

mod support;

use skep_manager_store::{Action, Placement, TaskAction};
use skep_types::{GenericResource, Generics, TaskId, TaskState, TaskStatus};
use support::Fixture;

#[test]
fn what_has_a_name_is_given_to_one_task_at_a_time() {
    let mut swarm = Fixture::new();
    let id = swarm.service("ai");
    let place = |swarm: &mut Fixture, task: TaskId, kind: &str, name: &str| {
        let version = swarm.store.state().task(task).unwrap().meta.version;
        let names = GenericResource::Named([name.to_owned()].into());
        let placement = Placement {
            task,
            version,
            node: swarm.node,
            attachments: Vec::new(),
            generic: Generics::from([(kind.to_owned(), names)]),
        };
        let tasks = vec![placement];
        let place = Action::Task(TaskAction::Place { tasks });
        swarm.apply(&[place]).into_result()
    };
    let (one, two) = (swarm.waiting(id, 1), swarm.waiting(id, 2));
    let (three, four) = (swarm.waiting(id, 3), swarm.waiting(id, 4));
    place(&mut swarm, one, "gpu", "a").unwrap();
    let taken = place(&mut swarm, two, "gpu", "a").unwrap_err().to_string();
    assert!(
        taken.contains(&format!("gpu a is given to task {one}")),
        "{taken}"
    );
    place(&mut swarm, two, "gpu", "b").unwrap();
    place(&mut swarm, three, "fpga", "a").unwrap();
    // Free again once the task has ended.
    let status = TaskStatus {
        state: TaskState::Failed,
        ..TaskStatus::default()
    };
    swarm.must(Action::Task(TaskAction::UpdateStatus {
        updates: vec![(one, status)],
    }));
    place(&mut swarm, four, "gpu", "a").unwrap();
}

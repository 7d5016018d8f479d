//! What a node says it started again by itself.

mod support;

use skep_manager_store::*;
use skep_types::*;
use support::Fixture;

#[test]
fn local_restarts_are_kept_and_lie_in_the_past() {
    let mut swarm = Fixture::new();
    let id = swarm.service("web");
    let task = swarm.task(id, 1);
    let mut said = |local| {
        let status = TaskStatus {
            state: TaskState::Running,
            local,
            ..TaskStatus::default()
        };
        let updates = vec![(task, status)];
        swarm.must(Action::Task(TaskAction::UpdateStatus { updates }));
        Task::clone(swarm.store.state().task(task).unwrap())
    };
    assert_eq!(
        said(LocalRestarts::default()).counted(),
        Restarts::default()
    );
    // The node's clock is ahead: what it says would hold what follows back for ever.
    let ahead = LocalRestarts {
        count: 2,
        counted: Restarts {
            in_row: 2,
            attempts: 2,
            window_from: Timestamp(u64::MAX),
        },
        at: Timestamp(u64::MAX),
    };
    let known = said(ahead);
    let local = known.status.local;
    assert!(local.at <= known.meta.updated_at);
    assert!(local.counted.window_from <= known.meta.updated_at);
    assert_eq!((known.counted().in_row, known.counted().attempts), (2, 2));
    // A node that has forgotten them.
    assert_eq!(said(LocalRestarts::default()).status.local, local);
}

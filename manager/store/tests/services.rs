//! How a service changes: its template, its update, and the way back.

mod support;

use skep_manager_store::*;
use skep_types::*;
use support::Fixture;

#[test]
fn only_another_template_makes_tasks_outdated() {
    let mut swarm = Fixture::new();
    let id = swarm.service("web");
    let first = swarm.store.state().service(id).unwrap().spec_version;
    swarm.scale(id, 3);
    let service = swarm.store.state().service(id).unwrap();
    assert_eq!(service.spec_version, first);
    assert!(service.previous_spec.is_some());
    swarm.image(id, "other");
    let service = swarm.store.state().service(id).unwrap();
    assert_ne!(service.spec_version, first);
}

#[test]
fn a_template_is_kept_as_long_as_a_task_refers_to_it() {
    let mut swarm = Fixture::new();
    let id = swarm.service("web");
    let old = swarm.store.state().service(id).unwrap().spec_version;
    let task = swarm.task(id, 1);
    swarm.image(id, "other");
    assert!(swarm.store.state().template(id, old).is_some());
    let kept = swarm.store.state().task(task).unwrap();
    assert_eq!(kept.spec.container.image, "image");
    let remove = Action::Task(TaskAction::Remove { tasks: vec![task] });
    let refused = swarm.refused(remove.clone());
    assert!(refused.to_string().contains("may still be running"));
    let ended = TaskStatus {
        state: TaskState::Shutdown,
        ..TaskStatus::default()
    };
    let updates = vec![(task, ended)];
    swarm.must(Action::Task(TaskAction::UpdateStatus { updates }));
    swarm.must(remove);
    assert!(swarm.store.state().template(id, old).is_none());
}

#[test]
fn no_task_is_made_for_a_service_that_was_changed_since_it_was_planned() {
    let mut swarm = Fixture::new();
    let id = swarm.service("web");
    let old = swarm.store.state().service(id).unwrap().meta.version;
    swarm.task(id, 1);
    // Its template stays; but another order may be in force.
    swarm.scale(id, 2);
    let late = Action::Task(TaskAction::Create {
        service: id,
        version: old,
        spec_version: swarm.store.state().service(id).unwrap().spec_version,
        tasks: Vec::new(),
    });
    assert!(matches!(swarm.refused(late), Refused::Stale { .. }));
    swarm.task(id, 2);
}

#[test]
fn a_rollback_returns_to_the_previous_spec_once_there_is_one() {
    let mut swarm = Fixture::new();
    let id = swarm.service("web");
    let rollback = |swarm: &Fixture| {
        Action::Service(ServiceAction::Rollback {
            id,
            version: swarm.store.state().service(id).unwrap().meta.version,
            message: "manually requested rollback".into(),
            keep: true,
        })
    };
    let refused = swarm.refused(rollback(&swarm));
    assert_eq!(
        refused.to_string(),
        "service web does not have a previous spec"
    );
    swarm.image(id, "other");
    swarm.must(rollback(&swarm));
    let image = |swarm: &Fixture| {
        let service = swarm.store.state().service(id).unwrap();
        service.spec.task.container.image.clone()
    };
    assert_eq!(image(&swarm), "image");
    swarm.must(rollback(&swarm));
    assert_eq!(image(&swarm), "other");
}

#[test]
fn what_leaves_the_template_as_it_is_neither_resumes_an_update_nor_moves_its_way_back() {
    let mut swarm = Fixture::new();
    let id = swarm.service("web");
    swarm.task(id, 1);
    let service = |swarm: &Fixture| Service::clone(swarm.store.state().service(id).unwrap());
    let state = |swarm: &Fixture| service(swarm).update_status.map(|status| status.state);
    let way_back = |swarm: &Fixture| {
        let previous = service(swarm).previous_spec.unwrap();
        (previous.task.container.image.clone(), previous.mode)
    };
    let replicas = |replicas| ServiceMode::Replicated { replicas };
    let set = |swarm: &mut Fixture, state| {
        let version = service(swarm).meta.version;
        let status = UpdateStatus {
            state,
            started_at: Timestamp(1),
            completed_at: None,
            message: String::new(),
            resumed_at: None,
        };
        swarm.must(Action::Service(ServiceAction::SetUpdateStatus {
            id,
            version,
            status,
        }));
    };
    swarm.image(id, "other");
    // Before the update has begun it is the same already.
    swarm.scale(id, 2);
    assert_eq!(way_back(&swarm), ("image".to_owned(), replicas(2)));
    assert_eq!(state(&swarm), None);
    let going_on = [
        UpdateState::Updating,
        UpdateState::Paused,
        UpdateState::RollbackStarted,
        UpdateState::RollbackPaused,
    ];
    for (count, going_on) in (3..).zip(going_on) {
        set(&mut swarm, going_on);
        swarm.scale(id, count);
        swarm.update(id, |spec| {
            spec.labels.insert("a".to_owned(), count.to_string());
        });
        assert_eq!(state(&swarm), Some(going_on));
        assert_eq!(way_back(&swarm), ("image".to_owned(), replicas(count)));
    }
    // Who asks for the same again wants it to go on.
    for (paused, goes_on) in [
        (
            UpdateState::RollbackPaused,
            Some(UpdateState::RollbackStarted),
        ),
        (UpdateState::Updating, Some(UpdateState::Updating)),
        (UpdateState::Paused, None),
    ] {
        set(&mut swarm, paused);
        swarm.update(id, |_| {});
        assert_eq!(state(&swarm), goes_on);
        assert_eq!(way_back(&swarm), ("image".to_owned(), replicas(6)));
    }
    swarm.image(id, "third");
    assert_eq!(state(&swarm), None);
    assert_eq!(way_back(&swarm), ("other".to_owned(), replicas(6)));
}

#[test]
fn where_nothing_is_rolled_out_every_change_can_be_taken_back() {
    let mut swarm = Fixture::new();
    let id = swarm.service("web");
    let previous = |swarm: &Fixture| {
        let service = swarm.store.state().service(id).unwrap();
        service.previous_spec.as_ref().map(|spec| spec.mode)
    };
    let replicas = |replicas| Some(ServiceMode::Replicated { replicas });
    swarm.update(id, |_| {});
    assert_eq!(previous(&swarm), None, "nothing was changed");
    swarm.scale(id, 3);
    assert_eq!(previous(&swarm), replicas(1));
    swarm.update(id, |_| {});
    assert_eq!(previous(&swarm), replicas(1));
}

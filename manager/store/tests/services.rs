//! How a service changes: its template, its update, and the way back.

mod support;

use skep_manager_store::*;
use skep_types::*;
use std::sync::Arc;
use support::Fixture;

#[test]
fn only_another_template_makes_tasks_outdated() {
    let mut swarm = Fixture::new();
    let id = swarm.service("web");
    let first = swarm.store.state().service(id).unwrap().spec_version;
    swarm.scale(id, 3);
    let service = swarm.store.state().service(id).unwrap();
    assert_eq!(service.spec_version, first);
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

fn service(swarm: &Fixture, id: ServiceId) -> Service {
    Service::clone(swarm.store.state().service(id).unwrap())
}

/// As the managers do for who asks.
fn roll_back(swarm: &mut Fixture, id: ServiceId, to: Option<u64>) -> Result<(), String> {
    let present = service(swarm, id);
    let to = validate::roll_back(swarm.store.state(), &present, to).map_err(|e| e.to_string())?;
    swarm.must(Action::Service(ServiceAction::Rollback {
        id,
        version: present.meta.version,
        to,
        message: "manually requested rollback".into(),
        failed: false,
    }));
    Ok(())
}

/// As the planner does when an update ends.
fn set(swarm: &mut Fixture, id: ServiceId, state: UpdateState, outcome: Option<RevisionOutcome>) {
    let version = service(swarm, id).meta.version;
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
        outcome,
    }));
}

/// `1 image completed`, one a revision, the present one last.
fn history(swarm: &Fixture, id: ServiceId) -> Vec<String> {
    let service = service(swarm, id);
    let line = |revision: &Revision, spec: &ServiceSpec| {
        let Revision {
            number,
            returns_to,
            outcome,
            ..
        } = revision;
        let back = returns_to.map_or(String::new(), |to| format!(" as {to}"));
        let outcome = outcome.map_or(String::new(), |outcome| format!(" {outcome:?}"));
        let image = &spec.task.container.image;
        format!("{number} {image}{back}{outcome}").to_lowercase()
    };
    let past = service.past.iter();
    past.map(|past| line(&past.revision, &past.spec))
        .chain([line(&service.revision, &service.spec)])
        .collect()
}

#[test]
fn a_rollback_is_a_new_revision_like_an_earlier_one() {
    let mut swarm = Fixture::new();
    let id = swarm.service("web");
    let refused = roll_back(&mut swarm, id, None);
    let none = "service web: it has no earlier revision";
    assert_eq!(refused, Err(none.to_owned()));
    let stale = Action::Service(ServiceAction::Rollback {
        id,
        version: service(&swarm, id).meta.version,
        to: 1,
        message: String::new(),
        failed: false,
    });
    let refused = swarm.refused(stale).to_string();
    assert_eq!(refused, "service web has no revision 1 to go back to");
    swarm.image(id, "b");
    swarm.scale(id, 3);
    roll_back(&mut swarm, id, None).unwrap();
    assert_eq!(
        history(&swarm, id),
        ["1 image completed", "2 b completed", "3 image as 1"]
    );
    let three = ServiceMode::Replicated { replicas: 3 };
    assert_eq!(service(&swarm, id).spec.mode, three, "they stay");
    roll_back(&mut swarm, id, None).unwrap();
    assert_eq!(history(&swarm, id)[3], "4 b as 2");
    swarm.image(id, "c");
    roll_back(&mut swarm, id, Some(1)).unwrap();
    assert_eq!(history(&swarm, id)[5], "6 image as 1");
    let refused = |swarm: &mut Fixture, to| roll_back(swarm, id, Some(to)).unwrap_err();
    assert_eq!(
        refused(&mut swarm, 7),
        "service web: it has no revision 7 to go back to, but 1, 2, 3, 4, 5"
    );
    assert_eq!(
        refused(&mut swarm, 6),
        "service web: it is at revision 6 already"
    );
}

#[test]
fn the_last_good_revision_is_kept_however_many_fail_after_it() {
    let mut swarm = Fixture::new();
    let id = swarm.service("web");
    swarm.task(id, 1);
    swarm.image(id, "good");
    set(
        &mut swarm,
        id,
        UpdateState::Completed,
        Some(RevisionOutcome::Completed),
    );
    for number in 0..12 {
        swarm.image(id, &format!("bad-{number}"));
        set(
            &mut swarm,
            id,
            UpdateState::Paused,
            Some(RevisionOutcome::Failed),
        );
        swarm.scale(id, 10 + number);
    }
    swarm.image(id, "half");
    let kept = history(&swarm, id);
    assert_eq!(kept.len(), 1 + revision::PAST_MAX);
    assert_eq!(kept[0], "2 good completed");
    assert_eq!(kept[1], "6 bad-3 failed");
    assert_eq!(kept[9..], ["14 bad-11 failed", "15 half"]);
    swarm.image(id, "other");
    let kept = history(&swarm, id);
    assert_eq!(kept[9..], ["15 half superseded", "16 other"]);
    let service = service(&swarm, id);
    let image = |past: Option<&PastRevision>| past.unwrap().spec.task.container.image.clone();
    assert_eq!(image(service.last_good()), "good", "half was never whole");
    assert_eq!(image(service.before()), "half");
}

#[test]
fn where_all_that_differs_has_failed_somebody_has_to_choose() {
    let mut swarm = Fixture::new();
    let id = swarm.service("web");
    swarm.image(id, "bad");
    set(
        &mut swarm,
        id,
        UpdateState::Paused,
        Some(RevisionOutcome::Failed),
    );
    roll_back(&mut swarm, id, None).unwrap();
    assert_eq!(
        roll_back(&mut swarm, id, None).unwrap_err(),
        "service web: no earlier revision differs from the present one and did not fail; \
         name one to go back to: 1, 2"
    );
    roll_back(&mut swarm, id, Some(2)).unwrap();
    assert_eq!(history(&swarm, id)[3], "4 bad as 2");
}

#[test]
fn what_a_revision_needs_has_to_be_there_still() {
    let mut swarm = Fixture::new();
    let id = swarm.service("web");
    let network = swarm.network("front", "10.9.0.0/24");
    let set_networks = |swarm: &mut Fixture, networks: Vec<NetworkId>| {
        swarm.update(id, |spec| {
            let attach = |network| NetworkAttachmentSpec {
                network,
                aliases: Vec::new(),
            };
            Arc::make_mut(&mut spec.task).networks = networks.into_iter().map(attach).collect();
        });
    };
    set_networks(&mut swarm, vec![network]);
    set_networks(&mut swarm, Vec::new());
    swarm.must(Action::Network(NetworkAction::Remove { id: network }));
    let refused = roll_back(&mut swarm, id, Some(2)).unwrap_err();
    let says = "service web: revision 2 cannot be had back: network ";
    assert!(refused.starts_with(says), "{refused}");
    let version = service(&swarm, id).meta.version;
    let late = Action::Service(ServiceAction::Rollback {
        id,
        version,
        to: 2,
        message: String::new(),
        failed: false,
    });
    assert!(matches!(swarm.refused(late), Refused::NotFound(_)));
}

#[test]
fn what_leaves_the_template_as_it_is_neither_resumes_an_update_nor_moves_its_way_back() {
    let mut swarm = Fixture::new();
    let id = swarm.service("web");
    swarm.task(id, 1);
    let state = |swarm: &Fixture| service(swarm, id).update_status.map(|status| status.state);
    let way_back = |swarm: &Fixture| {
        let service = service(swarm, id);
        let past = service.last_good().unwrap();
        let spec = service.as_before(past);
        (spec.task.container.image.clone(), spec.mode, spec.labels)
    };
    let expected = |image: &str, replicas, label: Option<&str>| {
        let labels = label.map(|label| ("a".to_owned(), label.to_owned()));
        let mode = ServiceMode::Replicated { replicas };
        (
            image.to_owned(),
            mode,
            labels.into_iter().collect::<Labels>(),
        )
    };
    swarm.image(id, "other");
    // Before the update has begun it is the same already.
    swarm.scale(id, 2);
    assert_eq!(way_back(&swarm), expected("image", 2, None));
    assert_eq!(state(&swarm), None);
    let going_on = [
        UpdateState::Updating,
        UpdateState::Paused,
        UpdateState::RollbackStarted,
        UpdateState::RollbackPaused,
    ];
    for (count, going_on) in (3..).zip(going_on) {
        set(&mut swarm, id, going_on, None);
        swarm.scale(id, count);
        let label = count.to_string();
        swarm.update(id, |spec| {
            spec.labels.insert("a".to_owned(), label.clone());
            spec.update.parallelism = count;
        });
        assert_eq!(state(&swarm), Some(going_on));
        assert_eq!(way_back(&swarm), expected("image", count, Some(&label)));
    }
    assert_eq!(service(&swarm, id).revision.number, 2);
    // Who asks for the same again wants it to go on, and has seen what failed.
    for (paused, goes_on) in [
        (UpdateState::RollbackPaused, UpdateState::RollbackStarted),
        (UpdateState::Updating, UpdateState::Updating),
        (UpdateState::Paused, UpdateState::Updating),
    ] {
        set(&mut swarm, id, paused, Some(RevisionOutcome::Failed));
        swarm.update(id, |_| {});
        let service = service(&swarm, id);
        let status = service.update_status.unwrap();
        assert_eq!(status.state, goes_on);
        assert_eq!(status.started_at, Timestamp(1), "what it did counts");
        if paused != goes_on {
            assert_eq!(status.resumed_at, Some(swarm.now()));
            assert_eq!(service.revision.outcome, None);
        }
        assert_eq!(way_back(&swarm), expected("image", 6, Some("6")));
    }
    swarm.image(id, "third");
    assert_eq!(state(&swarm), None);
    assert_eq!(history(&swarm, id)[1..], ["2 other superseded", "3 third"]);
    assert_eq!(way_back(&swarm), expected("image", 6, Some("6")));
}

#[test]
fn replicas_and_labels_are_of_no_revision() {
    let mut swarm = Fixture::new();
    let id = swarm.service("web");
    let label = |swarm: &mut Fixture, key: &str, value: &str| {
        swarm.update(id, |spec| {
            spec.labels.insert(key.to_owned(), value.to_owned());
        });
    };
    label(&mut swarm, "image", "first");
    swarm.update(id, |spec| {
        spec.labels.insert("image".to_owned(), "second".to_owned());
        Arc::make_mut(&mut spec.task).container.image = "b".to_owned();
    });
    swarm.update(id, |_| {});
    swarm.scale(id, 3);
    label(&mut swarm, "team", "x");
    assert_eq!(history(&swarm, id), ["1 image completed", "2 b"]);
    roll_back(&mut swarm, id, None).unwrap();
    let labels: Vec<String> = service(&swarm, id).spec.labels.into_values().collect();
    assert_eq!(labels, ["first", "x"]);
    let (state, outcome) = (UpdateState::RollbackCompleted, RevisionOutcome::Completed);
    set(&mut swarm, id, state, Some(outcome));
    // All else can be taken back.
    swarm.update(id, |spec| spec.update.parallelism = 3);
    swarm.update(id, |spec| spec.endpoint.mode = EndpointMode::DnsRoundRobin);
    assert_eq!(service(&swarm, id).revision.number, 5);
}

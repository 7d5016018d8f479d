//! Generations of secrets and configs: what is newest, what is refused, what is told.

mod support;

use skep_manager_store::{
    Action, ConfigAction, EventAction, Refused, SecretAction, ServiceAction, Store, TaskAction,
    validate,
};
use skep_types::*;
use std::sync::Arc;
use support::Fixture;

const FIRST: SecretId = SecretId::from_bits(70);
// Its id sorts before that of the first: a dump has it first.
const SECOND: SecretId = SecretId::from_bits(60);

fn spec(content: &str) -> Box<SecretSpec> {
    Box::new(SecretSpec {
        name: "Key".to_owned(),
        data: content.as_bytes().into(),
        ..SecretSpec::default()
    })
}

fn rotate(swarm: &Fixture, id: SecretId, new_id: SecretId, content: &str) -> Action {
    let version = swarm.store.state().secret(id).unwrap().meta.version;
    Action::Secret(SecretAction::Rotate {
        id,
        version,
        new_id,
        spec: spec(content),
        rollout: true,
    })
}

/// A swarm with a secret, and a service that uses it.
fn swarm() -> (Fixture, ServiceId) {
    let mut swarm = Fixture::new();
    swarm.must(Action::Secret(SecretAction::Create {
        id: FIRST,
        spec: spec("hush-one"),
    }));
    let web = swarm.service("web");
    swarm.update(web, |spec| {
        let container = &mut Arc::make_mut(&mut spec.task).container;
        container.secrets = vec![FileReference {
            id: FIRST,
            name: "Key".to_owned(),
            target: FileTarget {
                path: "key".to_owned(),
                uid: 0,
                gid: 0,
                mode: 0o400,
            },
        }];
    });
    (swarm, web)
}

#[test]
fn the_newest_has_the_name_also_after_a_restart() {
    let (mut swarm, web) = swarm();
    let action = rotate(&swarm, FIRST, SECOND, "hush-two");
    swarm.must(action);
    let loaded = Store::load(swarm.store.state().dump());
    for state in [swarm.store.state(), loaded.state()] {
        let newest = state.secret_named("kEY").unwrap();
        assert_eq!((newest.id, newest.generation), (SECOND, 2));
        assert!(state.secret(FIRST).unwrap().superseded_at.is_some());
        let service = state.service(web).unwrap();
        assert_eq!(service.spec.task.container.secrets[0].id, SECOND);
        assert_eq!(service.revision.number, 3);
    }
    // It goes when it is the last, and not before.
    assert!(swarm.store.state().unused_secrets().is_empty());
    let collect = Action::Secret(SecretAction::Collect { id: FIRST });
    assert_eq!(
        swarm.refused(collect).to_string(),
        "generation 1 of secret 'Key' is still needed"
    );
    let newest = Action::Secret(SecretAction::Collect { id: SECOND });
    assert!(matches!(swarm.refused(newest), Refused::StillNeeded { .. }));
    swarm.must(Action::Service(ServiceAction::Remove { id: web }));
    assert_eq!(swarm.store.state().unused_secrets(), [FIRST]);
    swarm.must(Action::Secret(SecretAction::Collect { id: FIRST }));
    assert!(swarm.store.state().secret_named("key").is_some());
}

#[test]
fn only_the_newest_generation_is_given_out_anew() {
    let (mut swarm, web) = swarm();
    let mut left = rotate(&swarm, FIRST, SECOND, "hush-two");
    if let Action::Secret(SecretAction::Rotate { rollout, .. }) = &mut left {
        *rollout = false;
    }
    swarm.must(left);
    // What has it goes on with it.
    swarm.image(web, "image:2");
    let present = swarm.store.state().service(web).unwrap().spec.clone();
    let db = swarm.next_service();
    let create = |spec: &ServiceSpec| {
        let mut spec = Box::new(spec.clone());
        spec.name = "db".to_owned();
        Action::Service(ServiceAction::Create { id: db, spec })
    };
    let refused = format!(
        "generation 1 of secret 'Key' is for what has it already: refer to generation 2, {SECOND}"
    );
    assert_eq!(swarm.refused(create(&present)).to_string(), refused);
    let named = ServiceSpec {
        name: "db".to_owned(),
        ..present.clone()
    };
    let invalid = validate::validate_service(swarm.store.state(), &named);
    assert_eq!(invalid.unwrap_err().to_string(), refused);

    let second = |spec: &mut ServiceSpec| {
        Arc::make_mut(&mut spec.task).container.secrets[0].id = SECOND;
    };
    swarm.update(web, second);
    let service = swarm.store.state().service(web).unwrap().clone();
    let invalid = validate::validate_service_update(swarm.store.state(), &service, &present);
    assert_eq!(invalid.unwrap_err().to_string(), refused);
    let back = Action::Service(ServiceAction::Update {
        id: web,
        version: service.meta.version,
        spec: Box::new(present.clone()),
    });
    assert_eq!(swarm.refused(back).to_string(), refused);
    swarm.must(Action::Service(ServiceAction::Rollback {
        id: web,
        version: service.meta.version,
        to: service.past.last().unwrap().revision.number,
        message: String::new(),
        failed: false,
    }));
    let service = swarm.store.state().service(web).unwrap();
    assert_eq!(service.spec.task.container.secrets[0].id, FIRST);

    let mut only = named;
    second(&mut only);
    swarm.must(create(&only));
    for id in [web, db] {
        swarm.update(id, |spec| {
            Arc::make_mut(&mut spec.task).container.secrets.clear()
        });
    }
    swarm.must(Action::Secret(SecretAction::Remove { id: SECOND }));
    let refused = swarm.refused(Action::Service(ServiceAction::Create {
        id: ServiceId::from_bits(5),
        spec: Box::new(ServiceSpec {
            name: "late".to_owned(),
            ..only
        }),
    }));
    assert!(
        refused
            .to_string()
            .ends_with("the secret was removed; create it again")
    );
}

#[test]
fn a_generation_is_in_use_for_as_long_as_anything_refers_to_it() {
    let (mut swarm, web) = swarm();
    let task = swarm.task(web, 1);
    let action = rotate(&swarm, FIRST, SECOND, "hush-two");
    swarm.must(action);
    // The task has it, and so the update is not over: the way back is kept.
    for image in 0..=skep_types::revision::PAST_MAX {
        swarm.image(web, &format!("image:{image}"));
        let loaded = Store::load(swarm.store.state().dump());
        assert!(swarm.store.state().unused_secrets().is_empty());
        assert!(loaded.state().unused_secrets().is_empty());
    }
    swarm.must(Action::Task(TaskAction::UpdateStatus {
        updates: vec![(
            task,
            TaskStatus {
                state: TaskState::Shutdown,
                ..TaskStatus::default()
            },
        )],
    }));
    assert!(swarm.store.state().unused_secrets().is_empty());
    swarm.must(Action::Task(TaskAction::Remove { tasks: vec![task] }));
    assert!(swarm.store.state().unused_secrets().is_empty());
    for image in 0..=skep_types::revision::PAST_MAX {
        swarm.image(web, &format!("later:{image}"));
    }
    assert_eq!(swarm.store.state().unused_secrets(), [FIRST]);
    let loaded = Store::load(swarm.store.state().dump());
    assert_eq!(loaded.state().unused_secrets(), [FIRST]);
}

#[test]
fn what_is_told_names_generations_and_no_content() {
    let (mut swarm, _) = swarm();
    let action = rotate(&swarm, FIRST, SECOND, "hush-two");
    let applied = swarm.apply(std::slice::from_ref(&action));
    let told = format!("{:?}", applied.events);
    assert!(
        !told.contains("hush") && !format!("{action:?}").contains("hush"),
        "{told}"
    );
    let secret = &applied.events[0];
    assert_eq!(secret.action, EventAction::Update);
    let attributes: Vec<String> = secret
        .attributes
        .iter()
        .map(|(k, v)| format!("{k}={v}"))
        .collect();
    assert_eq!(attributes, ["generation.old=1", "generation.new=2"]);
    assert_eq!(applied.events[1].name, "web");
}

#[test]
fn only_the_newest_can_be_changed_and_only_as_it_was_read() {
    let (mut swarm, _) = swarm();
    let late = rotate(&swarm, FIRST, SecretId::from_bits(99), "other");
    let mut renamed = rotate(&swarm, FIRST, SECOND, "hush-two");
    if let Action::Secret(SecretAction::Rotate { spec, .. }) = &mut renamed {
        spec.name = "lock".to_owned();
    }
    assert!(matches!(swarm.refused(renamed), Refused::Renamed { .. }));
    let labels = Action::Secret(SecretAction::SetLabels {
        id: FIRST,
        version: swarm.store.state().secret(FIRST).unwrap().meta.version,
        labels: [("a".to_owned(), "b".to_owned())].into(),
    });
    swarm.must(labels.clone());
    assert!(swarm.refused(late.clone()).is_stale());
    let action = rotate(&swarm, FIRST, FIRST, "hush-two");
    assert!(matches!(swarm.refused(action), Refused::IdTaken(_)));
    let action = rotate(&swarm, FIRST, SECOND, "hush-two");
    swarm.must(action);
    for action in [
        late,
        labels,
        Action::Secret(SecretAction::Remove { id: FIRST }),
    ] {
        assert!(matches!(swarm.refused(action), Refused::NotFound(_)));
    }
    let again = Action::Secret(SecretAction::Create {
        id: SecretId::from_bits(98),
        spec: spec("other"),
    });
    assert!(matches!(swarm.refused(again), Refused::NameTaken { .. }));
    let remove = swarm.refused(Action::Secret(SecretAction::Remove { id: SECOND }));
    assert!(matches!(remove, Refused::InUse { .. }));
}

#[test]
fn another_template_driver_is_another_content_and_labels_are_not() {
    let mut swarm = Fixture::new();
    let id = ConfigId::from_bits(1);
    let spec = |template: bool, label: &str| {
        Box::new(ConfigSpec {
            name: "page".to_owned(),
            labels: [("a".to_owned(), label.to_owned())].into(),
            data: Arc::default(),
            template,
        })
    };
    swarm.must(Action::Config(ConfigAction::Create {
        id,
        spec: spec(false, "b"),
    }));
    let rotate = |swarm: &mut Fixture, new: u128, spec| {
        let present = swarm.store.state().config_named("page").unwrap();
        let (id, version) = (present.id, present.meta.version);
        let new_id = ConfigId::from_bits(new);
        let rollout = false;
        swarm.must(Action::Config(ConfigAction::Rotate {
            id,
            version,
            new_id,
            spec,
            rollout,
        }));
        let present = swarm.store.state().config_named("page").unwrap();
        (
            present.id.bits(),
            present.generation,
            present.spec.labels["a"].clone(),
        )
    };
    assert_eq!(
        rotate(&mut swarm, 2, spec(false, "c")),
        (1, 1, "c".to_owned())
    );
    assert_eq!(
        rotate(&mut swarm, 3, spec(true, "c")),
        (3, 2, "c".to_owned())
    );
}

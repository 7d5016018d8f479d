//! The store as its users see it: entries in, results, events and snapshots
//! out.

mod support;

use skep_manager_store::{Placement, *};
use skep_types::*;
use std::sync::Arc;
use support::Fixture;

#[test]
fn names_are_unique_whatever_their_case() {
    let mut swarm = Fixture::new();
    swarm.service("web");
    let id = ServiceId::from_bits(99);
    let spec = swarm.spec("WEB");
    let refused = swarm.refused(Action::Service(ServiceAction::Create { id, spec }));
    assert_eq!(
        refused.to_string(),
        "name conflicts with an existing object: service WEB already exists"
    );
    assert!(swarm.store.state().service_named("Web").is_some());
}

#[test]
fn a_change_planned_on_an_old_version_is_refused_and_changes_nothing() {
    let mut swarm = Fixture::new();
    let id = swarm.service("web");
    let old = swarm.store.state().service(id).unwrap().meta.version;
    swarm.scale(id, 3);
    let action = Action::Service(ServiceAction::Update {
        id,
        version: old,
        spec: swarm.spec("web"),
    });
    let before = swarm.store.state().dump().services;
    let refused = swarm.refused(action);
    assert!(refused.is_stale());
    assert!(refused.to_string().starts_with("update out of sequence"));
    assert_eq!(swarm.store.state().dump().services, before);
}

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
fn secrets_in_use_stay_and_say_who_uses_them() {
    let mut swarm = Fixture::new();
    let id = SecretId::from_bits(5);
    let spec = Box::new(SecretSpec {
        name: "pw".into(),
        data: Arc::from(*b"x"),
        ..SecretSpec::default()
    });
    swarm.must(Action::Secret(SecretAction::Create { id, spec }));
    for name in ["web", "db"] {
        let mut spec = swarm.spec(name);
        let mut task = TaskSpec::clone(&spec.task);
        task.container.secrets.push(FileReference {
            id,
            name: "pw".into(),
            target: FileTarget {
                path: "pw".into(),
                uid: 0,
                gid: 0,
                mode: 0o444,
            },
        });
        spec.task = Arc::new(task);
        let service = swarm.next_service();
        swarm.must(Action::Service(ServiceAction::Create { id: service, spec }));
    }
    let refused = swarm.refused(Action::Secret(SecretAction::Remove { id }));
    assert_eq!(
        refused.to_string(),
        "secret 'pw' is in use by the following services: web, db; update or remove them first"
    );
}

#[test]
fn observed_states_never_go_back() {
    let mut swarm = Fixture::new();
    let id = swarm.service("web");
    let task = swarm.task(id, 1);
    let status = |state| TaskStatus {
        state,
        ..TaskStatus::default()
    };
    let report = |state| {
        Action::Task(TaskAction::UpdateStatus {
            updates: vec![(task, status(state))],
        })
    };
    swarm.must(report(TaskState::Running));
    assert!(swarm.refused(report(TaskState::Preparing)).is_stale());
    swarm.must(report(TaskState::Failed));
    assert!(swarm.refused(report(TaskState::Rejected)).is_stale());
    let state = swarm.store.state().task(task).unwrap().status.state;
    assert_eq!(state, TaskState::Failed);
}

#[test]
fn a_report_that_says_nothing_new_changes_no_version() {
    let mut swarm = Fixture::new();
    let id = swarm.service("web");
    let task = swarm.task(id, 1);
    let known = Arc::clone(swarm.store.state().task(task).unwrap());
    let updates = vec![(task, known.status.clone())];
    let applied = swarm.apply(&[Action::Task(TaskAction::UpdateStatus { updates })]);
    assert!(applied.events.is_empty());
    assert_eq!(*swarm.store.state().task(task).unwrap(), known);
}

#[test]
fn items_of_a_group_are_refused_singly() {
    let mut swarm = Fixture::new();
    let id = swarm.service("web");
    let spec_version = swarm.store.state().service(id).unwrap().spec_version;
    let new = |bits, slot| NewTask {
        id: TaskId::from_bits(bits),
        slot: Slot(slot),
        desired: TaskState::Running,
        node: None,
        attachments: Vec::new(),
        error: "no suitable node".into(),
    };
    // Slot 1 twice: a plan that was proposed again must not fill it again.
    let tasks = vec![new(100, 1), new(101, 1), new(102, 2)];
    let refused = swarm.refused(Action::Task(TaskAction::Create {
        service: id,
        spec_version,
        tasks,
    }));
    assert!(matches!(
        refused,
        Refused::Items {
            refused: 1,
            of: 3,
            ..
        }
    ));
    assert_eq!(swarm.store.state().tasks_of(id).count(), 2);
}

#[test]
fn an_address_is_given_to_one_task_out_of_a_block_of_its_node() {
    let mut swarm = Fixture::new();
    let id = swarm.service("web");
    let network = swarm.network("front", "10.1.0.0/24");
    let version = swarm.store.state().network(network).unwrap().meta.version;
    swarm.must(Action::Network(NetworkAction::SetBlocks {
        id: network,
        version,
        add_subnets: Vec::new(),
        free: Vec::new(),
        take: vec![(
            "10.1.0.16/28".parse().unwrap(),
            BlockOwner::Node(swarm.node),
        )],
    }));
    let place = |swarm: &mut Fixture, task: TaskId, address: &str| {
        let version = swarm.store.state().task(task).unwrap().meta.version;
        swarm
            .apply(&[Action::Task(TaskAction::Place {
                tasks: vec![Placement {
                    task,
                    version,
                    node: swarm.node,
                    attachments: vec![Attachment {
                        network,
                        address: address.parse().unwrap(),
                    }],
                }],
            })])
            .into_result()
    };
    let (one, two) = (swarm.waiting(id, 1), swarm.waiting(id, 2));
    let outside = place(&mut swarm, one, "10.1.0.2").unwrap_err().to_string();
    assert!(
        outside.contains("it is in no block of the task's node"),
        "{outside}"
    );
    place(&mut swarm, one, "10.1.0.17").unwrap();
    let twice = place(&mut swarm, two, "10.1.0.17").unwrap_err().to_string();
    assert!(twice.contains("another task has it"), "{twice}");
    // Nor does a block go while an address of it is held.
    let version = swarm.store.state().network(network).unwrap().meta.version;
    let refused = swarm.refused(Action::Network(NetworkAction::SetBlocks {
        id: network,
        version,
        add_subnets: Vec::new(),
        free: vec!["10.1.0.16/28".parse().unwrap()],
        take: Vec::new(),
    }));
    assert!(refused.to_string().contains("an address of it is held"));
    let removal = swarm.refused(Action::Network(NetworkAction::Remove { id: network }));
    assert!(
        removal
            .to_string()
            .starts_with("network front is in use by task")
    );
}

#[test]
fn subnets_that_overlap_are_refused() {
    let mut swarm = Fixture::new();
    swarm.network("front", "10.1.0.0/16");
    let spec = Box::new(NetworkSpec {
        name: "back".into(),
        subnets: vec!["10.1.7.0/24".parse().unwrap()],
        ..NetworkSpec::default()
    });
    let id = NetworkId::from_bits(50);
    let refused = swarm.refused(Action::Network(NetworkAction::Create { id, spec }));
    assert_eq!(
        refused.to_string(),
        "subnet 10.1.7.0/24 of network back overlaps 10.1.0.0/16, which is in use by network \
         front; choose another subnet"
    );
}

#[test]
fn a_node_goes_only_when_it_is_down_and_no_manager_and_is_blocked_then() {
    let mut swarm = Fixture::new();
    let id = swarm.service("web");
    let task = swarm.task(id, 1);
    let node = swarm.node;
    let remove = |force| {
        Action::Node(NodeAction::Remove {
            id: node,
            force,
            blocked_until: Timestamp(9),
        })
    };
    assert_eq!(swarm.refused(remove(false)), Refused::NodeNotDown(node));
    swarm.must(remove(true));
    assert!(swarm.store.state().task(task).is_none());
    let cluster = swarm.store.state().cluster().unwrap();
    assert_eq!(cluster.blocked.get(&node), Some(&Timestamp(9)));
}

#[test]
fn raft_ids_are_never_given_again() {
    let mut swarm = Fixture::new();
    let set = |raft_id| {
        Action::Node(NodeAction::SetManager {
            id: NodeId::from_bits(1),
            manager: Some(ManagerStatus {
                raft_id,
                address: "10.0.0.1:2377".into(),
            }),
        })
    };
    swarm.must(set(1));
    swarm.must(set(2));
    assert!(matches!(
        swarm.refused(set(1)),
        Refused::RaftIdUsed { raft_id: 1, .. }
    ));
    assert_eq!(swarm.store.state().cluster().unwrap().last_raft_id, 2);
}

#[test]
fn events_tell_what_changed_in_swarms_words() {
    let mut swarm = Fixture::new();
    let id = swarm.service("web");
    let service = swarm.store.state().service(id).unwrap();
    let mut spec = service.spec.clone();
    spec.mode = ServiceMode::Replicated { replicas: 5 };
    let version = service.meta.version;
    let applied = swarm.apply(&[Action::Service(ServiceAction::Update {
        id,
        version,
        spec: Box::new(spec),
    })]);
    let event = &applied.events[0];
    assert_eq!(
        (event.object.kind(), event.action.name()),
        ("service", "update")
    );
    assert_eq!(event.name, "web");
    assert_eq!(
        event.attributes,
        [
            ("replicas.old", "1".to_owned()),
            ("replicas.new", "5".to_owned())
        ]
    );
}

#[test]
fn a_dump_loads_into_the_same_store_and_shares_templates() {
    let mut swarm = Fixture::new();
    let id = swarm.service("web");
    let task = swarm.task(id, 1);
    let mut dump = swarm.store.state().dump();
    // A decoder need not know the templates of services and tasks.
    for task in &mut dump.tasks {
        Arc::make_mut(task).spec = Arc::default();
    }
    for service in &mut dump.services {
        Arc::make_mut(service).spec.task = Arc::default();
    }
    let loaded = Store::load(dump);
    assert_eq!(loaded.state().dump(), swarm.store.state().dump());
    let (service, task) = (
        loaded.state().service(id).unwrap(),
        loaded.state().task(task).unwrap(),
    );
    assert!(Arc::ptr_eq(&service.spec.task, &task.spec));
    assert_eq!(loaded.state().tasks_on(swarm.node).count(), 1);
    assert!(loaded.state().service_named("web").is_some());
}

#[test]
fn a_snapshot_does_not_see_later_changes() {
    let mut swarm = Fixture::new();
    let before = swarm.store.snapshot();
    let id = swarm.service("web");
    assert!(before.service(id).is_none());
    assert!(swarm.store.state().service(id).is_some());
}

#[test]
fn objects_are_found_by_id_name_and_beginning_of_the_id() {
    let mut swarm = Fixture::new();
    let id = swarm.service("web");
    let state = swarm.store.state();
    let text = id.to_string();
    for query in [text.as_str(), "web", &text[..24]] {
        assert_eq!(state.find_service(query).unwrap().id, id, "{query}");
    }
    swarm.service("other");
    let error = swarm.store.state().find_service("0").unwrap_err();
    assert!(error.to_string().contains("is ambiguous (2 matches found)"));
    let error = swarm.store.state().find_service("we").unwrap_err();
    assert_eq!(error.to_string(), "service we not found");
}

//! The store as its users see it: entries in, results, events and snapshots
//! out.

mod support;

use skep_manager_store::{Placement, *};
use skep_types::*;
use std::sync::Arc;
use std::time::Duration;
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
fn labels_that_are_the_same_change_no_version() {
    let mut swarm = Fixture::new();
    let id = SecretId::from_bits(7);
    let spec = Box::new(SecretSpec {
        name: "pw".into(),
        data: Arc::from(*b"x"),
        ..SecretSpec::default()
    });
    swarm.must(Action::Secret(SecretAction::Create { id, spec }));
    let made = swarm.store.state().secret(id).unwrap().meta;
    let labels = |labels: Labels, version| {
        Action::Secret(SecretAction::SetLabels {
            id,
            version,
            labels,
        })
    };
    let same = swarm.apply(&[labels(Labels::new(), made.version)]);
    assert_eq!((same.results, same.events.len()), (vec![Ok(())], 0));
    assert_eq!(swarm.store.state().secret(id).unwrap().meta, made);
    let other = Labels::from([("a".to_owned(), "b".to_owned())]);
    let changed = swarm.apply(&[labels(other.clone(), made.version)]);
    assert_eq!((changed.results, changed.events.len()), (vec![Ok(())], 1));
    let present = swarm.store.state().secret(id).unwrap();
    assert!(present.meta.version > made.version);
    assert_eq!(present.spec.labels, other);
    assert!(swarm.refused(labels(other, made.version)).is_stale());
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
fn when_a_task_began_to_run_and_to_take_traffic_is_kept_whatever_agents_say() {
    let mut swarm = Fixture::new();
    let id = swarm.service("web");
    let task = swarm.task(id, 1);
    let mut seen = Vec::new();
    for (state, not_ready) in [
        (TaskState::Starting, false),
        (TaskState::Running, true),
        (TaskState::Running, false),
        (TaskState::Running, true),
        (TaskState::Failed, true),
    ] {
        let status = TaskStatus {
            state,
            not_ready,
            // The node's clock is ahead.
            at: Timestamp(u64::MAX),
            ran_at: Some(Timestamp(7)),
            ready_at: Some(Timestamp(7)),
            ..TaskStatus::default()
        };
        let updates = vec![(task, status)];
        swarm.must(Action::Task(TaskAction::UpdateStatus { updates }));
        let known = swarm.store.state().task(task).unwrap();
        let (ran_at, ready_at, meta) = (known.status.ran_at, known.status.ready_at, known.meta);
        seen.push((ran_at.is_some(), ready_at.is_some()));
        for at in [ran_at, ready_at].into_iter().flatten() {
            assert!((meta.created_at..=meta.updated_at).contains(&at));
        }
        assert!(ready_at.is_none() || ran_at <= ready_at);
    }
    // It took traffic once, and later did not: that it did is kept.
    let expected = [
        (false, false),
        (true, false),
        (true, true),
        (true, true),
        (true, true),
    ];
    assert_eq!(seen, expected);
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
    let service = swarm.store.state().service(id).unwrap();
    let (version, spec_version) = (service.meta.version, service.spec_version);
    let new = |bits, slot| NewTask {
        id: TaskId::from_bits(bits),
        slot: Slot(slot),
        desired: TaskState::Running,
        node: None,
        attachments: Vec::new(),
        error: "no suitable node".into(),
        cause: Cause::Created,
        restarts: Restarts::default(),
        start_at: None,
        run: 0,
        generic: Default::default(),
    };
    // Slot 1 twice: a plan that was proposed again must not fill it again.
    let tasks = vec![new(100, 1), new(101, 1), new(102, 2)];
    let refused = swarm.refused(Action::Task(TaskAction::Create {
        service: id,
        version,
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
                    generic: Default::default(),
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
fn a_removed_network_is_there_for_the_nodes_until_its_tasks_have_ended() {
    let mut swarm = Fixture::new();
    let service = swarm.service("web");
    let network = swarm.network("front", "10.1.0.0/24");
    let tasks = swarm.stopping_on(service, network, ["10.1.0.17", "10.1.0.18"]);
    let remove = Action::Network(NetworkAction::Remove { id: network });
    swarm.must(remove.clone());
    // For users it is gone, name and subnet included.
    let state = swarm.store.state();
    assert!(state.network(network).is_none() && state.network_named("front").is_none());
    assert_eq!(state.networks().count(), 0);
    let object = ObjectId::Network(network);
    assert_eq!(swarm.refused(remove), Refused::NotFound(object));
    let ended = TaskStatus {
        state: TaskState::Complete,
        ..TaskStatus::default()
    };
    for (task, left) in tasks.into_iter().zip([vec![network], vec![]]) {
        assert_eq!(swarm.leaving(), [network]);
        swarm.must(Action::Task(TaskAction::UpdateStatus {
            updates: vec![(task, ended.clone())],
        }));
        assert_eq!(swarm.leaving(), left);
    }
    let known = swarm.store.state().addresses_in(
        network,
        std::net::Ipv4Addr::UNSPECIFIED,
        std::net::Ipv4Addr::BROADCAST,
    );
    assert_eq!(known.count(), 0, "nothing of it stays");
}

#[test]
fn a_removed_network_makes_way_for_a_new_one_with_its_subnet() {
    let mut swarm = Fixture::new();
    let service = swarm.service("web");
    let network = swarm.network("front", "10.1.0.0/24");
    swarm.stopping_on(service, network, ["10.1.0.17"]);
    swarm.must(Action::Network(NetworkAction::Remove { id: network }));
    swarm.network("front", "10.2.0.0/24");
    assert_eq!(swarm.leaving(), [network]);
    swarm.network("back", "10.1.0.0/16");
    assert_eq!(swarm.leaving(), []);
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
fn a_removed_node_is_blocked_while_its_certificate_may_hold_and_no_longer() {
    let mut swarm = Fixture::new();
    let [first, second, third] = [swarm.node, swarm.worker("n2"), swarm.worker("n3")];
    let cluster = |swarm: &Fixture| Cluster::clone(swarm.store.state().cluster().unwrap());
    let Cluster { meta, spec, .. } = cluster(&swarm);
    let long_life = spec.cert_expiry;
    swarm.must(Action::Cluster(ClusterAction::Update {
        version: meta.version,
        spec: ClusterSpec {
            cert_expiry: Duration::from_secs(3600),
            ..spec
        },
    }));
    // What was issued under the old setting lives as long as that said.
    let end = cluster(&swarm).certificates_end(swarm.now());
    assert!(end >= swarm.now() + long_life);

    let remove = |id, blocked_until| {
        let force = true;
        Action::Node(NodeAction::Remove {
            id,
            force,
            blocked_until,
        })
    };
    let day = Duration::from_secs(24 * 3600);
    swarm.must(remove(first, end));
    swarm.must(remove(second, end + day));
    assert_eq!(cluster(&swarm).blocked.len(), 2);
    swarm.wait_until(end);
    swarm.must(remove(third, end + day));
    let blocked = cluster(&swarm).blocked;
    assert!(blocked.keys().eq([&second, &third]), "{blocked:?}");
}

#[test]
fn a_format_is_raised_when_every_manager_reads_it_and_never_falls() {
    let mut swarm = Fixture::new();
    let seats = [swarm.node, swarm.worker("n2")];
    let seat = |place: usize, raft_id, reads| {
        Action::Node(NodeAction::SetManager {
            id: seats[place],
            manager: Some(ManagerStatus {
                raft_id,
                address: String::new(),
                format: Format(reads),
            }),
        })
    };
    let raise = |format| {
        let format = Format(format);
        Action::Cluster(ClusterAction::RaiseFormat { format })
    };
    swarm.must(seat(0, 1, 3));
    swarm.must(seat(1, 2, 1));
    let unread = |reads, wanted| Refused::FormatUnread {
        node: seats[1],
        reads: Format(reads),
        wanted: Format(wanted),
    };
    assert_eq!(swarm.refused(raise(2)), unread(1, 2));
    swarm.must(seat(1, 2, 2));
    swarm.must(raise(2));
    swarm.must(raise(1));
    assert_eq!(swarm.store.state().format(), Format(2));
    // Nobody who does not read it gets or keeps a seat.
    assert_eq!(swarm.refused(seat(1, 2, 1)), unread(1, 2));
    assert_eq!(swarm.refused(seat(1, 3, 1)), unread(1, 2));
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
                format: Format::FIRST,
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
fn events_of_a_task_tell_where_it_is_why_it_stops_and_how_it_ended() {
    let mut swarm = Fixture::new();
    let id = swarm.service("web");
    let task = swarm.task(id, 1);
    let whereabouts = format!("service={id} node={}", swarm.node);
    let said = |applied: &Applied| -> Vec<String> {
        let told = applied.events.iter().map(|event| {
            let pairs = event.attributes.iter();
            let pairs: Vec<String> = pairs.map(|(key, value)| format!("{key}={value}")).collect();
            pairs.join(" ")
        });
        told.collect()
    };
    let stop = |swarm: &mut Fixture, desired, cause| {
        let version = swarm.store.state().task(task).unwrap().meta.version;
        let change = DesiredChange {
            task,
            version,
            desired,
            cause: Some(cause),
        };
        let tasks = vec![change];
        swarm.apply(&[Action::Task(TaskAction::SetDesired { tasks })])
    };
    let drained = stop(&mut swarm, TaskState::Shutdown, Cause::Drained);
    assert_eq!(
        said(&drained),
        [format!(
            "desiredstate.old=running desiredstate.new=shutdown cause=drained {whereabouts}"
        )]
    );
    // Why it was told to stop first stays.
    stop(&mut swarm, TaskState::Remove, Cause::Removed);
    let known = swarm.store.state().task(task).unwrap();
    assert_eq!(known.stop_cause, Some(Cause::Drained));
    let status = TaskStatus {
        state: TaskState::Failed,
        error: "task: non-zero exit (3)".into(),
        exit_code: Some(3),
        ..TaskStatus::default()
    };
    let updates = vec![(task, status)];
    let failed = swarm.apply(&[Action::Task(TaskAction::UpdateStatus { updates })]);
    assert_eq!(
        said(&failed),
        [format!(
            "state.old=assigned state.new=failed error=task: non-zero exit (3) exitcode=3 \
             {whereabouts}"
        )]
    );
    let tasks = vec![task];
    let gone = swarm.apply(&[Action::Task(TaskAction::Remove { tasks })]);
    assert_eq!(said(&gone), [whereabouts]);
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
fn heartbeats_are_rarer_in_large_swarms() {
    let mut swarm = Fixture::new();
    let own = swarm.store.state().heartbeat();
    for (nodes, times) in [(1, 1), (2500, 1), (2501, 2), (5000, 2), (5001, 4)] {
        while swarm.store.state().node_count() < nodes {
            swarm.worker("n");
        }
        assert_eq!(swarm.store.state().heartbeat(), own * times, "{nodes}");
    }
}

//! What goes onto the wire or the disk comes back as it was, with every field
//! set to something that is not its default; and what is damaged is refused.

mod samples;

use samples::*;
use skep_manager_store::format::{NEWEST, VERSION};
use skep_manager_store::{
    Action, Attached, ClusterAction, ConfigAction, DesiredChange, Explanation, NetworkAction,
    NewTask, NodeAction, Placement as Placed, SecretAction, ServiceAction, StackAction, StackPart,
    Store, TaskAction,
};
use skep_proto::{
    decode_entry, decode_snapshot, encode_entry, encode_snapshot, pb, stack_on_wire, task_on_wire,
    task_with_spec,
};
use skep_types::assignment::{AssignmentChange, EndpointView, Peer, ServiceOnNetwork, ServiceView};
use skep_types::*;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

#[test]
fn objects_come_back_as_they_were() {
    assert_eq!(
        Service::try_from(pb::Service::from(&service())),
        Ok(service())
    );
    assert_eq!(Node::try_from(pb::Node::from(&node())), Ok(node()));
    assert_eq!(
        Network::try_from(pb::Network::from(&network())),
        Ok(network())
    );
    assert_eq!(
        Secret::try_from(pb::DataObject::from(&secret())),
        Ok(secret())
    );
    assert_eq!(
        Config::try_from(pb::DataObject::from(&config())),
        Ok(config())
    );
    assert_eq!(Stack::try_from(pb::Stack::from(&stack())), Ok(stack()));
    let apart = Stack::try_from(stack_on_wire(&stack(), false));
    assert_eq!(
        apart,
        Ok(Stack {
            past: Vec::new(),
            ..stack()
        })
    );
    assert_eq!(
        Cluster::try_from(pb::Cluster::from(&cluster())),
        Ok(cluster())
    );
    assert_eq!(
        task_with_spec(task_on_wire(&task(), true), None),
        Ok(task())
    );
    let apart = task_with_spec(task_on_wire(&task(), false), Some(Arc::new(task_spec())));
    assert_eq!(apart, Ok(task()));
}

#[test]
fn every_test_of_health_comes_back() {
    let tests = [
        HealthTest::Inherit,
        HealthTest::Disabled,
        HealthTest::Command(vec!["true".to_owned()]),
        HealthTest::Shell("true".to_owned()),
        HealthTest::http("8080/healthz").unwrap(),
        HealthTest::tcp("65535").unwrap(),
    ];
    for test in tests {
        let check = HealthCheck {
            test,
            ..HealthCheck::default()
        };
        assert_eq!(
            HealthCheck::try_from(pb::HealthCheck::from(&check)),
            Ok(check)
        );
    }
    let far = pb::HealthCheck {
        test: Some(pb::health_check::Test::Tcp(pb::TcpTest { port: 65536 })),
        ..pb::HealthCheck::default()
    };
    assert!(HealthCheck::try_from(far).is_err());
}

#[test]
fn every_state_of_a_task_has_its_number() {
    for state in TaskState::ALL {
        let status = TaskStatus { state, ..status() };
        assert_eq!(
            TaskStatus::try_from(pb::TaskStatus::from(&status)),
            Ok(status)
        );
    }
}

#[test]
fn assignments_come_back_as_they_were() {
    let peer = Peer {
        id: NodeId::from_bits(3),
        hostname: "h1".to_owned(),
        public_key: [7; 32],
        endpoint: "10.1.1.1:51820".parse().unwrap(),
        mesh: Ipv4Addr::new(10, 255, 0, 4),
    };
    let view = ServiceView {
        name: "web".to_owned(),
        networks: BTreeMap::from([(
            NetworkId::from_bits(31),
            ServiceOnNetwork {
                vip: Some(Ipv4Addr::new(10, 0, 1, 2)),
                aliases: vec!["w".to_owned()],
            },
        )]),
        ports: vec![port()],
        endpoints: vec![EndpointView {
            task: TaskId::from_bits(2),
            slot: Slot(4),
            node: NodeId::from_bits(3),
            addresses: BTreeMap::from([(NetworkId::from_bits(31), Ipv4Addr::new(10, 0, 1, 20))]),
        }],
    };
    let changes = [
        AssignmentChange::Task(task().id, Some(Arc::new(task()))),
        AssignmentChange::Task(task().id, None),
        AssignmentChange::Secret(secret().id, Some(Arc::new(secret()))),
        AssignmentChange::Secret(secret().id, None),
        AssignmentChange::Labels(service().id, Some(Arc::new(labels()))),
        AssignmentChange::Labels(service().id, None),
        AssignmentChange::Config(config().id, Some(Arc::new(config()))),
        AssignmentChange::Config(config().id, None),
        AssignmentChange::Network(network().id, Some(Arc::new(network()))),
        AssignmentChange::Network(network().id, None),
        AssignmentChange::Blocks(
            network().id,
            [
                ("10.0.1.0/24", Some(BlockOwner::Node(peer.id))),
                ("10.0.2.0/24", Some(BlockOwner::Services)),
                ("10.0.3.0/24", None),
            ]
            .map(|(block, owner)| (block.parse().unwrap(), owner))
            .into(),
        ),
        AssignmentChange::Peer(peer.id, Some(Arc::new(peer.clone()))),
        AssignmentChange::Peer(peer.id, None),
        AssignmentChange::Service(service().id, Some(Arc::new(view))),
        AssignmentChange::Service(service().id, None),
    ];
    for change in changes {
        assert_eq!(
            AssignmentChange::try_from(pb::AssignmentChange::from(&change)),
            Ok(change)
        );
    }
}

/// One of every action.
fn actions() -> Vec<Action> {
    let (version, id) = (Version(6), NodeId::from_bits(3));
    let network = NetworkId::from_bits(31);
    vec![
        Action::Cluster(ClusterAction::Create(Box::new(cluster()))),
        Action::Cluster(ClusterAction::Update {
            version,
            spec: cluster_spec(),
        }),
        Action::Cluster(ClusterAction::SetJoinSecrets {
            version,
            secrets: cluster().join_secrets,
        }),
        Action::Cluster(ClusterAction::SetRootCa {
            version,
            root_ca: cluster().root_ca,
        }),
        Action::Cluster(ClusterAction::Prune),
        Action::Cluster(ClusterAction::RaiseFormat { format: NEWEST }),
        Action::Cluster(ClusterAction::SetUnlockKey {
            version,
            key: cluster().unlock_key,
        }),
        Action::Cluster(ClusterAction::SetUnlockKey { version, key: None }),
        Action::Cluster(ClusterAction::SetClients {
            version,
            clients: clients(),
        }),
        Action::Node(NodeAction::Create(Box::new(node()))),
        Action::Node(NodeAction::Update {
            id,
            version,
            spec: node().spec,
        }),
        Action::Node(NodeAction::Describe {
            id,
            description: Box::new(node().description),
            address: Some("10.1.1.1".parse().unwrap()),
        }),
        Action::Node(NodeAction::SetStatus {
            id,
            version,
            status: node().status,
        }),
        Action::Node(NodeAction::SetRole {
            id,
            role: Role::Manager,
        }),
        Action::Node(NodeAction::SetManager {
            id,
            manager: node().manager,
        }),
        Action::Node(NodeAction::SetManager { id, manager: None }),
        Action::Node(NodeAction::SetMesh {
            id,
            version,
            mesh: Ipv4Addr::new(10, 255, 0, 9),
        }),
        Action::Node(NodeAction::Remove {
            id,
            force: true,
            blocked_until: Timestamp(5),
        }),
        Action::Service(ServiceAction::Create {
            id: service().id,
            spec: Box::new(service_spec()),
        }),
        Action::Service(ServiceAction::Update {
            id: service().id,
            version,
            spec: Box::new(service_spec()),
        }),
        Action::Service(ServiceAction::Rollback {
            id: service().id,
            version,
            to: 4,
            message: "back".to_owned(),
            failed: true,
        }),
        Action::Service(ServiceAction::Remove { id: service().id }),
        Action::Service(ServiceAction::SetEndpoint {
            id: service().id,
            version,
            endpoint: service().endpoint,
        }),
        Action::Service(ServiceAction::SetUpdateStatus {
            id: service().id,
            version,
            status: service().update_status.unwrap(),
            outcome: Some(RevisionOutcome::Superseded),
        }),
        Action::Service(ServiceAction::SetJobStatus {
            id: service().id,
            version,
            status: job_status(),
        }),
        Action::Service(ServiceAction::Expire {
            id: service().id,
            version,
        }),
        Action::Service(ServiceAction::Rebalance {
            id: service().id,
            version,
            begins: true,
        }),
        Action::Service(ServiceAction::SetWait {
            id: service().id,
            version,
            waits_for: "waits for db to start".to_owned(),
        }),
        Action::Network(NetworkAction::Create {
            id: network,
            spec: Box::new(network_spec()),
        }),
        Action::Network(NetworkAction::Remove { id: network }),
        Action::Network(NetworkAction::SetBlocks {
            id: network,
            version,
            add_subnets: vec!["10.0.2.0/24".parse().unwrap()],
            free: vec!["10.0.1.16/28".parse().unwrap()],
            take: vec![
                ("10.0.2.0/28".parse().unwrap(), BlockOwner::Node(id)),
                ("10.0.2.16/28".parse().unwrap(), BlockOwner::Services),
            ],
        }),
        Action::Secret(SecretAction::Create {
            id: secret().id,
            spec: Box::new(secret_spec()),
        }),
        Action::Secret(SecretAction::SetLabels {
            id: secret().id,
            version,
            labels: labels(),
        }),
        Action::Secret(SecretAction::Remove { id: secret().id }),
        Action::Secret(SecretAction::Rotate {
            id: secret().id,
            version,
            new_id: SecretId::from_bits(99),
            spec: Box::new(secret_spec()),
            rollout: true,
        }),
        Action::Secret(SecretAction::RollOut { id: secret().id }),
        Action::Secret(SecretAction::Collect { id: secret().id }),
        Action::Config(ConfigAction::Create {
            id: config().id,
            spec: Box::new(config_spec()),
        }),
        Action::Config(ConfigAction::SetLabels {
            id: config().id,
            version,
            labels: labels(),
        }),
        Action::Config(ConfigAction::Remove { id: config().id }),
        Action::Config(ConfigAction::Rotate {
            id: config().id,
            version,
            new_id: ConfigId::from_bits(99),
            spec: Box::new(config_spec()),
            rollout: true,
        }),
        Action::Config(ConfigAction::RollOut { id: config().id }),
        Action::Config(ConfigAction::Collect { id: config().id }),
        Action::Task(TaskAction::Create {
            service: service().id,
            version,
            spec_version: version,
            tasks: vec![NewTask {
                id: task().id,
                slot: Slot(1),
                desired: TaskState::Ready,
                node: Some(id),
                attachments: vec![attachment()],
                error: "waits".to_owned(),
                cause: Cause::NodeLost,
                restarts: restarts(),
                start_at: Some(Timestamp(9)),
                run: 10,
                generic: generics(),
            }],
        }),
        Action::Task(TaskAction::Place {
            tasks: vec![Placed {
                task: task().id,
                version,
                node: id,
                attachments: vec![attachment()],
                generic: generics(),
            }],
        }),
        Action::Task(TaskAction::Attach {
            tasks: vec![Attached {
                task: task().id,
                version,
                attachments: vec![attachment()],
            }],
        }),
        Action::Task(TaskAction::Explain {
            tasks: vec![Explanation {
                task: task().id,
                version,
                error: "full".to_owned(),
            }],
        }),
        Action::Task(TaskAction::SetDesired {
            tasks: vec![DesiredChange {
                task: task().id,
                version,
                desired: TaskState::Shutdown,
                cause: Some(Cause::Drained),
            }],
        }),
        Action::Task(TaskAction::UpdateStatus {
            updates: vec![(task().id, status())],
        }),
        Action::Task(TaskAction::Remove {
            tasks: vec![task().id],
        }),
        Action::Stack(StackAction::Apply {
            id: stack().id,
            version: Some(version),
            spec: stack().spec,
            returns_to: Some(2),
            leaving: vec![network],
            parts: vec![
                StackPart::Service(ServiceAction::Remove { id: service().id }),
                StackPart::Network(NetworkAction::Remove { id: network }),
                StackPart::Secret(SecretAction::Remove { id: secret().id }),
                StackPart::Config(ConfigAction::Remove { id: config().id }),
            ],
        }),
        Action::Stack(StackAction::Remove {
            name: "shop".to_owned(),
            version: None,
            parts: vec![StackPart::Network(NetworkAction::Create {
                id: network,
                spec: Box::new(network_spec()),
            })],
        }),
    ]
}

#[test]
fn entries_come_back_as_they_were() {
    let bytes = encode_entry(NEWEST, Timestamp(12), &actions());
    assert_eq!(decode_entry(&bytes), Ok((Timestamp(12), actions())));
}

#[test]
fn a_snapshot_of_a_store_makes_the_same_store() {
    let mut store = Store::new();
    let first = [
        Action::Cluster(ClusterAction::Create(Box::new(cluster()))),
        Action::Node(NodeAction::Create(Box::new(Node {
            manager: None,
            ..node()
        }))),
        Action::Secret(SecretAction::Create {
            id: secret().id,
            spec: Box::new(secret_spec()),
        }),
        Action::Config(ConfigAction::Create {
            id: config().id,
            spec: Box::new(config_spec()),
        }),
        Action::Stack(StackAction::Apply {
            id: stack().id,
            version: None,
            spec: Arc::new(StackSpec {
                configs: Vec::new(),
                ..stack_spec()
            }),
            returns_to: None,
            leaving: Vec::new(),
            parts: Vec::new(),
        }),
    ];
    let applied = store.apply(Version(1), Timestamp(1), &first);
    assert!(applied.into_result().is_ok());
    let dump = store.snapshot().dump();
    let read = decode_snapshot(&encode_snapshot(&dump)).unwrap();
    assert_eq!(Store::load(read).snapshot().dump(), dump);
}

#[test]
fn what_is_cut_or_flipped_is_refused_or_read_but_never_panics() {
    let bytes = encode_entry(NEWEST, Timestamp(12), &actions());
    for length in (0..bytes.len()).step_by(7) {
        // A cut at a field boundary can be an entry with fewer actions.
        let _ = decode_entry(&bytes[..length]);
    }
    for at in (0..bytes.len()).step_by(3) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x55;
        let _ = decode_entry(&damaged);
        let _ = decode_snapshot(&damaged);
    }
}

#[test]
fn an_entry_of_a_newer_format_is_refused_by_name() {
    use prost::Message;
    let newer = pb::Entry {
        format: 99,
        ..pb::Entry::default()
    }
    .encode_to_vec();
    let error = decode_entry(&newer).unwrap_err().to_string();
    let expected = format!(
        "it is in format 99, and this is skep {VERSION}, which reads formats up to {NEWEST}: \
         install the version of skep that the leader runs"
    );
    assert_eq!(error, expected);

    // Where it begins, it says which version reads it.
    let raised = pb::action::RaiseFormat {
        format: 99,
        since: "9.8.7".to_owned(),
    };
    let raised = pb::Entry {
        format: 1,
        actions: vec![pb::Action {
            action: Some(pb::action::Action::RaiseFormat(raised)),
        }],
        ..pb::Entry::default()
    };
    let snapshot = pb::Snapshot {
        format: 99,
        since: "9.8.7".to_owned(),
        ..pb::Snapshot::default()
    };
    let errors = [
        decode_entry(&raised.encode_to_vec()).unwrap_err(),
        decode_snapshot(&snapshot.encode_to_vec()).unwrap_err(),
    ];
    for error in errors {
        let error = error.to_string();
        assert!(
            error.contains("format 99") && error.ends_with("install skep 9.8.7 or newer"),
            "{error}"
        );
    }
}

#[test]
fn a_missing_field_is_named() {
    let wire = pb::Service {
        spec: None,
        ..pb::Service::from(&service())
    };
    let error = Service::try_from(wire).unwrap_err().to_string();
    assert_eq!(error, "field service.spec is missing");
    let wire = pb::Node {
        id: bytes::Bytes::from_static(b"short"),
        ..pb::Node::from(&node())
    };
    let error = Node::try_from(wire).unwrap_err().to_string();
    assert_eq!(error, "field node.id is not an id of 16 bytes");
}

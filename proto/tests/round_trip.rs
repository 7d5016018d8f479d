//! What goes onto the wire or the disk comes back as it was, with every field
//! set to something that is not its default; and what is damaged is refused.

use skep_manager_store::{
    Action, ClusterAction, ConfigAction, DesiredChange, Explanation, NetworkAction, NewTask,
    NodeAction, Placement as Placed, SecretAction, ServiceAction, Store, TaskAction,
};
use skep_proto::{
    decode_entry, decode_snapshot, encode_entry, encode_snapshot, pb, task_on_wire, task_with_spec,
};
use skep_types::assignment::{AssignmentChange, EndpointView, Peer, ServiceOnNetwork, ServiceView};
use skep_types::*;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

fn labels() -> Labels {
    Labels::from([
        ("a".to_owned(), "1".to_owned()),
        ("b".to_owned(), String::new()),
    ])
}

fn meta() -> Meta {
    Meta {
        version: Version(7),
        created_at: Timestamp(100),
        updated_at: Timestamp(200),
    }
}

fn container() -> ContainerSpec {
    let target = |path: &str| FileTarget {
        path: path.to_owned(),
        uid: 1,
        gid: 2,
        mode: 0o440,
    };
    ContainerSpec {
        image: "redis:alpine".to_owned(),
        labels: labels(),
        command: vec!["sh".to_owned()],
        args: vec!["-c".to_owned(), "true".to_owned()],
        hostname: "box".to_owned(),
        env: vec!["A=1".to_owned(), "B".to_owned()],
        dir: "/srv".to_owned(),
        user: "app:app".to_owned(),
        groups: vec!["video".to_owned()],
        tty: true,
        open_stdin: true,
        read_only: true,
        stop_signal: "SIGINT".to_owned(),
        stop_grace_period: Some(Duration::from_secs(3)),
        health_check: Some(HealthCheck {
            test: HealthTest::Command(vec!["true".to_owned()]),
            interval: Some(Duration::from_secs(1)),
            timeout: Some(Duration::from_secs(2)),
            retries: Some(4),
            start_period: Some(Duration::from_secs(5)),
            start_interval: Some(Duration::from_millis(600)),
        }),
        mounts: vec![
            Mount {
                target: "/bind".to_owned(),
                read_only: true,
                kind: MountKind::Bind {
                    source: "/etc".to_owned(),
                    propagation: "rslave".to_owned(),
                },
            },
            Mount {
                target: "/data".to_owned(),
                read_only: false,
                kind: MountKind::Volume {
                    name: "data".to_owned(),
                    no_copy: true,
                    driver: "local".to_owned(),
                    options: labels(),
                    labels: labels(),
                },
            },
            Mount {
                target: "/tmp".to_owned(),
                read_only: false,
                kind: MountKind::Tmpfs {
                    size: Some(ByteCount(4096)),
                    mode: Some(0o700),
                },
            },
        ],
        hosts: vec!["10.0.0.1 other".to_owned()],
        dns_servers: vec!["10.0.0.53".to_owned()],
        dns_search: vec!["example".to_owned()],
        dns_options: vec!["ndots:2".to_owned()],
        secrets: vec![FileReference {
            id: SecretId::from_bits(21),
            name: "s".to_owned(),
            target: target("s"),
        }],
        configs: vec![FileReference {
            id: ConfigId::from_bits(22),
            name: "c".to_owned(),
            target: target("/c"),
        }],
        sysctls: labels(),
        cap_add: vec!["CAP_NET_ADMIN".to_owned()],
        cap_drop: vec!["CAP_KILL".to_owned()],
        ulimits: vec![Ulimit {
            name: "nofile".to_owned(),
            soft: 10,
            hard: -1,
        }],
        init: Some(false),
        oom_score_adj: -5,
        shm_size: Some(ByteCount(1 << 20)),
    }
}

fn task_spec() -> TaskSpec {
    TaskSpec {
        container: container(),
        resources: Resources {
            cpu_limit: NanoCpus(1),
            memory_limit: ByteCount(2),
            pids_limit: Some(3),
            cpu_reservation: NanoCpus(4),
            memory_reservation: ByteCount(5),
        },
        restart: RestartPolicy {
            condition: RestartCondition::OnFailure,
            delay: Some(Duration::from_secs(1)),
            max_attempts: 2,
            window: Duration::from_secs(3),
        },
        placement: Placement {
            constraints: vec!["node.role==worker".to_owned()],
            spread: vec!["node.labels.zone".to_owned()],
            max_replicas_per_node: 6,
        },
        networks: vec![NetworkAttachmentSpec {
            network: NetworkId::from_bits(31),
            aliases: vec!["db".to_owned()],
        }],
        log_driver: Some(LogDriver {
            name: "json-file".to_owned(),
            options: labels(),
        }),
        force_update: 9,
    }
}

fn port() -> PortConfig {
    PortConfig {
        protocol: Protocol::Udp,
        target: 53,
        published: 5353,
        mode: PublishMode::Host,
        masquerade: true,
    }
}

fn service_spec() -> ServiceSpec {
    let update = UpdateConfig {
        parallelism: 0,
        delay: Duration::from_secs(1),
        failure_action: FailureAction::Rollback,
        monitor: Some(Duration::from_secs(2)),
        max_failure_ratio: 0.25,
        order: UpdateOrder::StartFirst,
    };
    ServiceSpec {
        name: "web".to_owned(),
        labels: labels(),
        mode: ServiceMode::Replicated { replicas: 3 },
        task: Arc::new(task_spec()),
        rollback: UpdateConfig {
            failure_action: FailureAction::Continue,
            ..update.clone()
        },
        update,
        endpoint: EndpointSpec {
            mode: EndpointMode::DnsRoundRobin,
            ports: vec![port()],
        },
    }
}

fn service() -> Service {
    Service {
        id: ServiceId::from_bits(1),
        meta: meta(),
        spec: service_spec(),
        spec_version: Version(5),
        previous_spec: Some(Box::new(ServiceSpec {
            mode: ServiceMode::Global,
            ..service_spec()
        })),
        endpoint: Endpoint {
            mode: EndpointMode::Vip,
            ports: vec![port()],
            vips: vec![Vip {
                network: NetworkId::from_bits(31),
                address: IpAddr::V4(Ipv4Addr::new(10, 0, 1, 2)),
            }],
        },
        update_status: Some(UpdateStatus {
            state: UpdateState::RollbackPaused,
            started_at: Timestamp(1),
            completed_at: Some(Timestamp(2)),
            message: "paused".to_owned(),
        }),
    }
}

fn status() -> TaskStatus {
    TaskStatus {
        state: TaskState::Failed,
        at: Timestamp(3),
        message: "failed".to_owned(),
        error: "task: non-zero exit (1)".to_owned(),
        exit_code: Some(-1),
        oom_killed: true,
        container: "ab".repeat(32),
        pid: 42,
    }
}

fn attachment() -> Attachment {
    Attachment {
        network: NetworkId::from_bits(31),
        address: IpAddr::V4(Ipv4Addr::new(10, 0, 1, 20)),
    }
}

fn task() -> Task {
    Task {
        id: TaskId::from_bits(2),
        meta: meta(),
        service: ServiceId::from_bits(1),
        service_name: "web".into(),
        slot: Slot(4),
        node: Some(NodeId::from_bits(3)),
        spec: Arc::new(task_spec()),
        spec_version: Version(5),
        desired: TaskState::Remove,
        status: status(),
        attachments: vec![attachment()],
    }
}

fn node() -> Node {
    Node {
        id: NodeId::from_bits(3),
        meta: meta(),
        spec: NodeSpec {
            labels: labels(),
            role: Role::Manager,
            availability: Availability::Drain,
        },
        description: NodeDescription {
            hostname: "h1".to_owned(),
            platform: Platform {
                os: "linux".to_owned(),
                architecture: "arm64".to_owned(),
            },
            cpus: NanoCpus(2_000_000_000),
            memory: ByteCount(1 << 30),
            engine_version: "0.1.0".to_owned(),
            engine_labels: labels(),
            wireguard_key: [9; 32],
            data_path: Some("10.1.1.1:51820".parse().unwrap()),
        },
        status: NodeStatus {
            state: NodeState::Disconnected,
            message: "away".to_owned(),
            address: Some("fd00::1".parse().unwrap()),
        },
        role: Role::Manager,
        manager: Some(ManagerStatus {
            raft_id: 8,
            address: "10.1.1.1:2377".to_owned(),
        }),
        mesh: Some(Ipv4Addr::new(10, 255, 0, 4)),
    }
}

fn network() -> Network {
    Network {
        id: NetworkId::from_bits(31),
        meta: meta(),
        spec: network_spec(),
        subnets: vec!["10.0.1.0/24".parse().unwrap()],
        blocks: BTreeMap::from([
            ("10.0.1.0/28".parse().unwrap(), BlockOwner::Services),
            (
                "10.0.1.16/28".parse().unwrap(),
                BlockOwner::Node(NodeId::from_bits(3)),
            ),
        ]),
    }
}

fn network_spec() -> NetworkSpec {
    NetworkSpec {
        name: "front".to_owned(),
        labels: labels(),
        driver: "overlay".to_owned(),
        options: labels(),
        subnets: vec!["10.0.1.0/24".parse().unwrap()],
        internal: true,
        attachable: true,
        ingress: true,
        ipv6: true,
    }
}

fn secret() -> Secret {
    Secret {
        id: SecretId::from_bits(21),
        meta: meta(),
        spec: secret_spec(),
    }
}

fn secret_spec() -> SecretSpec {
    SecretSpec {
        name: "s".to_owned(),
        labels: labels(),
        data: b"hush".as_slice().into(),
    }
}

fn config() -> Config {
    Config {
        id: ConfigId::from_bits(22),
        meta: meta(),
        spec: config_spec(),
    }
}

fn config_spec() -> ConfigSpec {
    ConfigSpec {
        name: "c".to_owned(),
        labels: labels(),
        data: b"text".as_slice().into(),
    }
}

fn cluster_spec() -> ClusterSpec {
    ClusterSpec {
        heartbeat: Duration::from_millis(500),
        task_history: -1,
        cert_expiry: Duration::from_secs(3600),
        address_pools: vec!["10.0.0.0/8".parse().unwrap()],
        subnet_length: 24,
        mesh_subnet: "10.255.0.0/16".parse().unwrap(),
        data_path_port: 4000,
    }
}

fn cluster() -> Cluster {
    Cluster {
        id: ClusterId::from_bits(11),
        meta: meta(),
        spec: cluster_spec(),
        root_ca: RootCa {
            certificate: "CERT".to_owned(),
            key: "KEY".to_owned(),
        },
        join_secrets: JoinSecrets {
            worker: "w".to_owned(),
            manager: "m".to_owned(),
        },
        blocked: BTreeMap::from([(NodeId::from_bits(77), Timestamp(9))]),
        last_raft_id: 8,
    }
}

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
        ready: true,
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
        AssignmentChange::Config(config().id, Some(Arc::new(config()))),
        AssignmentChange::Config(config().id, None),
        AssignmentChange::Network(network().id, Some(Arc::new(network()))),
        AssignmentChange::Network(network().id, None),
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
            message: "back".to_owned(),
            keep: true,
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
        Action::Task(TaskAction::Create {
            service: service().id,
            spec_version: version,
            tasks: vec![NewTask {
                id: task().id,
                slot: Slot(1),
                desired: TaskState::Ready,
                node: Some(id),
                attachments: vec![attachment()],
                error: "waits".to_owned(),
            }],
        }),
        Action::Task(TaskAction::Place {
            tasks: vec![Placed {
                task: task().id,
                version,
                node: id,
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
            }],
        }),
        Action::Task(TaskAction::UpdateStatus {
            updates: vec![(task().id, status())],
        }),
        Action::Task(TaskAction::Remove {
            tasks: vec![task().id],
        }),
    ]
}

#[test]
fn entries_come_back_as_they_were() {
    let bytes = encode_entry(Timestamp(12), &actions());
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
    ];
    let applied = store.apply(Version(1), Timestamp(1), &first);
    assert!(applied.into_result().is_ok());
    let dump = store.snapshot().dump();
    let read = decode_snapshot(&encode_snapshot(&dump)).unwrap();
    assert_eq!(Store::load(read).snapshot().dump(), dump);
}

#[test]
fn what_is_cut_or_flipped_is_refused_or_read_but_never_panics() {
    let bytes = encode_entry(Timestamp(12), &actions());
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
    assert!(error.contains("format") && error.contains("99"), "{error}");
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

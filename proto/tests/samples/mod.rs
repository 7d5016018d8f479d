//! One object of each kind with every field set to something that is not its
//! default.

mod stack;

use skep_manager_store::format::NEWEST;
use skep_types::*;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

pub use stack::*;

pub fn labels() -> Labels {
    Labels::from([
        ("a".to_owned(), "1".to_owned()),
        ("b".to_owned(), String::new()),
    ])
}

pub fn meta() -> Meta {
    Meta {
        version: Version(7),
        created_at: Timestamp(100),
        updated_at: Timestamp(200),
    }
}

pub fn container() -> ContainerSpec {
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
        readiness: Some(HealthCheck {
            test: HealthTest::http("8080/ready").unwrap(),
            ..HealthCheck::default()
        }),
        shutdown_delay: Some(Duration::from_secs(7)),
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
        host_pid: true,
        ipc: Ipc::NoShm,
        host_uts: true,
        privileged: true,
        devices: vec!["/dev/fuse:/dev/other:rw".parse().unwrap()],
        device_rules: vec!["b 8:* r".parse().unwrap()],
        no_new_privileges: true,
        seccomp_unconfined: true,
        system_paths_unconfined: true,
    }
}

pub fn task_spec() -> TaskSpec {
    TaskSpec {
        container: container(),
        resources: Resources {
            cpu_limit: NanoCpus(1),
            memory_limit: ByteCount(2),
            pids_limit: Some(3),
            cpu_reservation: NanoCpus(4),
            memory_reservation: ByteCount(5),
            generic: BTreeMap::from([("gpu".to_owned(), 6)]),
        },
        restart: RestartPolicy {
            condition: RestartCondition::OnFailure,
            delay: Some(Duration::from_secs(1)),
            max_attempts: 2,
            window: Duration::from_secs(3),
            max_delay: Some(Duration::from_secs(4)),
        },
        placement: Placement {
            constraints: vec!["node.role==worker".to_owned()],
            spread: vec![Spread {
                by: "node.labels.zone".to_owned(),
                max_skew: Some(2),
            }],
            max_replicas_per_node: 6,
            platforms: vec![platform()],
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

pub fn port() -> PortConfig {
    PortConfig {
        protocol: Protocol::Udp,
        target: 53,
        published: 5353,
        mode: PublishMode::Host,
        masquerade: true,
    }
}

pub fn service_spec() -> ServiceSpec {
    let update = UpdateConfig {
        parallelism: 0,
        delay: Duration::from_secs(1),
        failure_action: FailureAction::Rollback,
        monitor: Some(Duration::from_secs(2)),
        max_failure_ratio: 0.25,
        order: UpdateOrder::StartFirst,
        progress_deadline: Some(Duration::from_secs(3)),
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
        job: Some(Box::new(JobSpec {
            deadline: Some(Duration::from_secs(4)),
            ttl: Some(Duration::from_secs(5)),
            schedule: Some(Schedule {
                cron: Cron::parse("*/5 3 * * mon-fri").unwrap(),
                time_zone: "Europe/Zurich".to_owned(),
                concurrency: Concurrency::Replace,
                starting_deadline: Some(Duration::from_secs(6)),
                suspend: true,
            }),
        })),
        rebalance: Rebalance::Auto,
        depends_on: vec![Dependency {
            service: "db".to_owned(),
            condition: DependencyCondition::Completed,
            optional: true,
        }],
    }
}

pub fn job_status() -> JobStatus {
    let run = JobRun {
        number: 1,
        cause: RunCause::Created,
        spec_version: Version(6),
        due_at: Some(Timestamp(6)),
        started_at: Timestamp(7),
        end: Some(RunEnd {
            outcome: Outcome::DeadlineExceeded,
            at: Timestamp(8),
            succeeded: 9,
            failed: 10,
            exit_code: Some(-11),
        }),
    };
    let open = JobRun {
        number: 2,
        cause: RunCause::Updated,
        end: None,
        ..run
    };
    JobStatus {
        runs: vec![run, open],
        due_until: Timestamp(12),
        skipped: 13,
    }
}

pub fn service() -> Service {
    Service {
        id: ServiceId::from_bits(1),
        meta: meta(),
        spec: service_spec(),
        spec_version: Version(5),
        revision: Revision {
            number: 8,
            made_at: Timestamp(4),
            returns_to: Some(7),
            outcome: Some(RevisionOutcome::Failed),
        },
        past: vec![PastRevision {
            revision: Revision {
                number: 7,
                made_at: Timestamp(3),
                returns_to: Some(1),
                outcome: Some(RevisionOutcome::Superseded),
            },
            spec: ServiceSpec {
                mode: ServiceMode::Global,
                ..service_spec()
            },
        }],
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
            resumed_at: Some(Timestamp(3)),
        }),
        job: job_status(),
        rebalance_since: Some(Timestamp(4)),
        waits_for: "waits for db to complete".to_owned(),
    }
}

pub fn status() -> TaskStatus {
    TaskStatus {
        state: TaskState::Failed,
        at: Timestamp(3),
        message: "failed".to_owned(),
        error: "task: non-zero exit (1)".to_owned(),
        exit_code: Some(-1),
        oom_killed: true,
        container: "ab".repeat(32),
        pid: 42,
        ran_at: Some(Timestamp(1_700_000_000_123)),
        ready_at: Some(Timestamp(1_700_000_030_456)),
        not_ready: true,
        local: LocalRestarts {
            count: 3,
            counted: Restarts {
                in_row: 2,
                attempts: 4,
                window_from: Timestamp(1_700_000_000_456),
            },
            at: Timestamp(1_700_000_020_456),
        },
    }
}

pub fn attachment() -> Attachment {
    Attachment {
        network: NetworkId::from_bits(31),
        address: IpAddr::V4(Ipv4Addr::new(10, 0, 1, 20)),
    }
}

pub fn task() -> Task {
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
        cause: Cause::Restarted,
        stop_cause: Some(Cause::Scaled),
        restarts: restarts(),
        start_at: Some(Timestamp(1_700_000_000_456)),
        run: 11,
        generic: generics(),
    }
}

pub fn restarts() -> Restarts {
    Restarts {
        in_row: 6,
        attempts: 7,
        window_from: Timestamp(8),
    }
}

pub fn platform() -> Platform {
    Platform {
        os: "linux".to_owned(),
        architecture: "arm64".to_owned(),
    }
}

pub fn generics() -> Generics {
    let names = ["id1".to_owned(), "id2".to_owned()];
    Generics::from([
        ("gpu".to_owned(), GenericResource::Named(names.into())),
        ("ssd".to_owned(), GenericResource::Count(7)),
    ])
}

pub fn node() -> Node {
    Node {
        id: NodeId::from_bits(3),
        meta: meta(),
        spec: NodeSpec {
            labels: labels(),
            role: Role::Manager,
            availability: Availability::Drain,
            drain_deadline: Some(Duration::from_secs(9)),
        },
        description: NodeDescription {
            hostname: "h1".to_owned(),
            platform: platform(),
            cpus: NanoCpus(2_000_000_000),
            memory: ByteCount(1 << 30),
            reserved_cpus: NanoCpus(3),
            reserved_memory: ByteCount(4),
            generic: generics(),
            engine_version: "0.1.0".to_owned(),
            engine_labels: labels(),
            wireguard_key: [9; 32],
            tls: NodeTls {
                issuer: [1; 32],
                certificate: [2; 32],
                trusted: [3; 32],
            },
            data_path: Some("10.1.1.1:51820".parse().unwrap()),
        },
        status: NodeStatus {
            state: NodeState::Disconnected,
            message: "away".to_owned(),
            address: Some("fd00::1".parse().unwrap()),
        },
        role: Role::Manager,
        role_since: Timestamp(5),
        drain_since: Some(Timestamp(6)),
        manager: Some(ManagerStatus {
            raft_id: 8,
            address: "10.1.1.1:2377".to_owned(),
            format: NEWEST,
        }),
        mesh: Some(Ipv4Addr::new(10, 255, 0, 4)),
    }
}

pub fn network() -> Network {
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

pub fn network_spec() -> NetworkSpec {
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

pub fn secret() -> Secret {
    Secret {
        id: SecretId::from_bits(21),
        meta: meta(),
        spec: secret_spec(),
        generation: 3,
        superseded_at: Some(Timestamp(8)),
    }
}

pub fn secret_spec() -> SecretSpec {
    SecretSpec {
        name: "s".to_owned(),
        labels: labels(),
        data: b"hush".as_slice().into(),
        template: true,
    }
}

pub fn config() -> Config {
    Config {
        id: ConfigId::from_bits(22),
        meta: meta(),
        spec: config_spec(),
        generation: 2,
        superseded_at: None,
    }
}

pub fn config_spec() -> ConfigSpec {
    ConfigSpec {
        name: "c".to_owned(),
        labels: labels(),
        data: b"text".as_slice().into(),
        template: true,
    }
}

pub fn cluster_spec() -> ClusterSpec {
    ClusterSpec {
        heartbeat: Duration::from_millis(500),
        task_history: -1,
        cert_expiry: Duration::from_secs(3600),
        address_pools: vec!["10.0.0.0/8".parse().unwrap()],
        subnet_length: 24,
        mesh_subnet: "10.255.0.0/16".parse().unwrap(),
        data_path_port: 4000,
        rebalance_per_minute: 7,
    }
}

pub fn clients() -> Clients {
    let client = |role| Client {
        role,
        certificate: [5; 32],
        created_at: Timestamp(13),
        until: Timestamp(14),
    };
    Clients::from([
        ("alice".to_owned(), client(ClientRole::Admin)),
        ("watcher".to_owned(), client(ClientRole::ReadOnly)),
    ])
}

pub fn cluster() -> Cluster {
    Cluster {
        id: ClusterId::from_bits(11),
        meta: meta(),
        spec: cluster_spec(),
        root_ca: RootCa {
            certificate: "CERT".to_owned(),
            key: "KEY".to_owned(),
            next: Some(NextRoot {
                certificate: "NEXT".to_owned(),
                key: "NEXT KEY".to_owned(),
                cross_signed: "NEXT BY CERT".to_owned(),
            }),
            former: vec![FormerRoot {
                certificate: "OLD".to_owned(),
                cross_signed: "CERT BY OLD".to_owned(),
                until: Timestamp(12),
            }],
        },
        join_secrets: JoinSecrets {
            worker: "w".to_owned(),
            manager: "m".to_owned(),
        },
        blocked: BTreeMap::from([(NodeId::from_bits(77), Timestamp(9))]),
        certificates_until: Timestamp(10),
        last_raft_id: 8,
        format: NEWEST,
        unlock_key: Some(UnlockKey([9; 32])),
        clients: clients(),
    }
}

//! A store with a cluster, a node, and short ways to change it.

// Each test binary uses a part of it.
#![allow(dead_code)]

use skep_manager_store::{Placement, *};
use skep_types::*;
use std::sync::Arc;
use std::time::Duration;

pub struct Fixture {
    pub store: Store,
    pub node: NodeId,
    index: u64,
    now: Timestamp,
    next: u128,
}

impl Fixture {
    pub fn new() -> Fixture {
        let node = NodeId::from_bits(1);
        let mut fixture = Fixture {
            store: Store::new(),
            node,
            index: 0,
            now: Timestamp(0),
            next: 1000,
        };
        fixture.must(Action::Cluster(ClusterAction::Create(Box::new(cluster()))));
        fixture.add_worker(node, "n1");
        fixture
    }

    pub fn apply(&mut self, actions: &[Action]) -> Applied {
        self.index += 1;
        self.now = self.now + Duration::from_secs(1);
        self.store.apply(Version(self.index), self.now, actions)
    }

    /// The time of the last entry.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Later entries come after this time.
    pub fn wait_until(&mut self, now: Timestamp) {
        self.now = now;
    }

    pub fn must(&mut self, action: Action) {
        let applied = self.apply(std::slice::from_ref(&action));
        applied
            .into_result()
            .unwrap_or_else(|refused| panic!("{refused}: {action:?}"));
    }

    pub fn refused(&mut self, action: Action) -> Refused {
        let applied = self.apply(std::slice::from_ref(&action));
        assert!(matches!(action, Action::Task(_)) || applied.events.is_empty());
        applied.into_result().expect_err("the action is refused")
    }

    fn add_worker(&mut self, id: NodeId, hostname: &str) {
        self.must(Action::Node(NodeAction::Create(Box::new(Node {
            id,
            meta: Meta::default(),
            spec: NodeSpec::default(),
            description: NodeDescription {
                hostname: hostname.into(),
                ..NodeDescription::default()
            },
            status: NodeStatus::default(),
            role: Role::Worker,
            role_since: Default::default(),
            drain_since: None,
            manager: None,
            mesh: None,
        }))));
    }

    /// Another node.
    pub fn worker(&mut self, hostname: &str) -> NodeId {
        self.next += 1;
        let id = NodeId::from_bits(self.next);
        self.add_worker(id, hostname);
        id
    }

    pub fn next_service(&mut self) -> ServiceId {
        self.next += 1;
        ServiceId::from_bits(self.next)
    }

    pub fn spec(&self, name: &str) -> Box<ServiceSpec> {
        let mut task = TaskSpec::default();
        task.container.image = "image".into();
        Box::new(ServiceSpec {
            name: name.into(),
            task: Arc::new(task),
            ..ServiceSpec::default()
        })
    }

    pub fn service(&mut self, name: &str) -> ServiceId {
        let id = self.next_service();
        let spec = self.spec(name);
        self.must(Action::Service(ServiceAction::Create { id, spec }));
        id
    }

    pub fn update(&mut self, id: ServiceId, edit: impl FnOnce(&mut ServiceSpec)) {
        let service = self.store.state().service(id).unwrap();
        let (version, mut spec) = (service.meta.version, service.spec.clone());
        edit(&mut spec);
        let spec = Box::new(spec);
        self.must(Action::Service(ServiceAction::Update { id, version, spec }));
    }

    pub fn scale(&mut self, id: ServiceId, replicas: u32) {
        self.update(id, |spec| spec.mode = ServiceMode::Replicated { replicas });
    }

    pub fn image(&mut self, id: ServiceId, image: &str) {
        self.update(id, |spec| {
            let mut task = TaskSpec::clone(&spec.task);
            task.container.image = image.into();
            spec.task = Arc::new(task);
        });
    }

    fn new_task(&mut self, service: ServiceId, slot: u32, node: Option<NodeId>) -> TaskId {
        self.next += 1;
        let id = TaskId::from_bits(self.next);
        let found = self.store.state().service(service).unwrap();
        let (version, spec_version) = (found.meta.version, found.spec_version);
        let tasks = vec![NewTask {
            id,
            slot: Slot(slot),
            desired: TaskState::Running,
            node,
            attachments: Vec::new(),
            error: String::new(),
            cause: Cause::Created,
            restarts: Restarts::default(),
            start_at: None,
            run: 0,
            generic: Default::default(),
        }];
        self.must(Action::Task(TaskAction::Create {
            service,
            version,
            spec_version,
            tasks,
        }));
        id
    }

    /// A task on the node.
    pub fn task(&mut self, service: ServiceId, slot: u32) -> TaskId {
        self.new_task(service, slot, Some(self.node))
    }

    /// A task that waits for a node.
    pub fn waiting(&mut self, service: ServiceId, slot: u32) -> TaskId {
        self.new_task(service, slot, None)
    }

    pub fn network(&mut self, name: &str, subnet: &str) -> NetworkId {
        self.next += 1;
        let id = NetworkId::from_bits(self.next);
        let spec = Box::new(NetworkSpec {
            name: name.into(),
            subnets: vec![subnet.parse().unwrap()],
            ..NetworkSpec::default()
        });
        self.must(Action::Network(NetworkAction::Create { id, spec }));
        id
    }

    /// Tasks on the node with these addresses of a network, told to go.
    pub fn stopping_on<const N: usize>(
        &mut self,
        service: ServiceId,
        network: NetworkId,
        addresses: [&str; N],
    ) -> [TaskId; N] {
        let tasks = self.on(service, network, addresses);
        tasks.into_iter().for_each(|task| self.stop(task));
        tasks
    }

    /// Tasks on the node with these addresses of a network.
    pub fn on<const N: usize>(
        &mut self,
        service: ServiceId,
        network: NetworkId,
        addresses: [&str; N],
    ) -> [TaskId; N] {
        let version = self.store.state().network(network).unwrap().meta.version;
        let block = format!("{}/28", addresses[0]).parse::<ipnet::Ipv4Net>();
        self.must(Action::Network(NetworkAction::SetBlocks {
            id: network,
            version,
            add_subnets: Vec::new(),
            free: Vec::new(),
            take: vec![(block.unwrap().trunc(), BlockOwner::Node(self.node))],
        }));
        let mut slot = 0;
        addresses.map(|address| {
            slot += 1;
            let task = self.waiting(service, slot);
            let version = self.store.state().task(task).unwrap().meta.version;
            let attachments = vec![Attachment {
                network,
                address: address.parse().unwrap(),
            }];
            let placement = Placement {
                task,
                version,
                node: self.node,
                attachments,
                generic: Default::default(),
            };
            let tasks = vec![placement];
            self.must(Action::Task(TaskAction::Place { tasks }));
            task
        })
    }

    /// Tells a task to go.
    pub fn stop(&mut self, task: TaskId) {
        let version = self.store.state().task(task).unwrap().meta.version;
        let change = DesiredChange {
            task,
            version,
            desired: TaskState::Remove,
            cause: None,
        };
        let tasks = vec![change];
        self.must(Action::Task(TaskAction::SetDesired { tasks }));
    }

    /// Networks that are there for nodes alone.
    pub fn leaving(&self) -> Vec<NetworkId> {
        let networks = self.store.state().leaving_networks();
        networks.map(|network| network.id).collect()
    }
}

pub fn cluster() -> Cluster {
    Cluster {
        id: ClusterId::from_bits(1),
        meta: Meta::default(),
        spec: ClusterSpec {
            heartbeat: Duration::from_secs(5),
            task_history: 5,
            cert_expiry: Duration::from_secs(7_776_000),
            address_pools: vec!["10.0.0.0/8".parse().unwrap()],
            subnet_length: 24,
            mesh_subnet: "10.255.0.0/16".parse().unwrap(),
            data_path_port: 51820,
            rebalance_per_minute: 6,
        },
        root_ca: RootCa::new(String::new(), String::new()),
        join_secrets: JoinSecrets {
            worker: String::new(),
            manager: String::new(),
        },
        blocked: Default::default(),
        certificates_until: Default::default(),
        last_raft_id: 0,
        format: Default::default(),
        unlock_key: None,
        clients: Default::default(),
    }
}

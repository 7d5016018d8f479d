//! A swarm in memory, and its agents, who do at once what they are told.

use skep_manager_planner::{IdSource, Liveness, Settled, reconcile_changed};
use skep_manager_store::{
    Action, ClusterAction, NetworkAction, NodeAction, ServiceAction, Store, TaskAction,
};
use skep_types::{
    ByteCount, Cluster, ClusterSpec, JoinSecrets, NanoCpus, NetworkAttachmentSpec, NetworkId,
    NetworkSpec, Node, NodeDescription, NodeSpec, NodeStatus, Role, RootCa, ServiceId, ServiceMode,
    ServiceSpec, TaskId, TaskSpec, TaskState, TaskStatus, Timestamp, Version,
};
use std::sync::Arc;
use std::time::Duration;

pub const NOW: Timestamp = Timestamp(1_000_000);

/// What the swarm consists of.
#[derive(Clone, Copy)]
pub struct Shape {
    pub nodes: u32,
    pub services: usize,
    /// Tasks of each service.
    pub replicas: u32,
    /// Each service is on a network of theirs.
    pub networked: bool,
    /// Each service has constraints, which hold on every node.
    pub constrained: bool,
}

impl Shape {
    pub fn plain(nodes: u32, services: usize, replicas: u32) -> Shape {
        Shape {
            nodes,
            services,
            replicas,
            networked: false,
            constrained: false,
        }
    }
}

pub struct Swarm {
    pub store: Store,
    pub liveness: Liveness,
    pub ids: IdSource,
    shape: Shape,
    version: u64,
}

impl Swarm {
    /// Nodes and services, and nothing done yet.
    pub fn new(shape: Shape) -> Swarm {
        let (store, liveness, ids) = make(shape);
        Swarm {
            store,
            liveness,
            ids,
            shape,
            version: 1,
        }
    }

    /// Applies what was planned, as one entry.
    pub fn apply(&mut self, actions: &[Action]) {
        self.version += 1;
        self.store.apply(Version(self.version), NOW, actions);
    }

    /// Plans and applies until nothing is left to do.
    pub fn settle(&mut self) {
        self.settle_changed(&mut Settled::default());
    }

    /// Likewise, with what earlier passes found settled.
    pub fn settle_changed(&mut self, settled: &mut Settled) {
        loop {
            let (snapshot, ids) = (self.store.snapshot(), &mut self.ids);
            let plan = reconcile_changed(&snapshot, &self.liveness, NOW, ids, settled);
            if plan.actions.is_empty() {
                return;
            }
            self.apply(&plan.actions);
        }
    }

    /// One more service.
    pub fn add_service(&mut self, replicas: u32) {
        let shape = Shape {
            replicas,
            ..self.shape
        };
        let networks = self.store.state().networks();
        let network = networks.map(|network| network.id).next();
        let number = self.store.state().services().count();
        let id = self.ids.service();
        self.apply(&[service(id, number, shape, network)]);
    }

    /// All that was placed runs.
    pub fn run(&mut self) {
        let tasks: Vec<_> = self.store.state().tasks().map(|task| task.id).collect();
        for tasks in tasks.chunks(1000) {
            let running = |task: &TaskId| (*task, status(TaskState::Running));
            let updates = tasks.iter().map(running).collect();
            self.apply(&[Action::Task(TaskAction::UpdateStatus { updates })]);
        }
    }

    /// The first task in the store that lives ends with an error.
    pub fn fail_one(&mut self) {
        let live = self.store.state().tasks().find(|task| task.is_live());
        let updates = live
            .map(|task| (task.id, status(TaskState::Failed)))
            .into_iter()
            .collect();
        self.apply(&[Action::Task(TaskAction::UpdateStatus { updates })]);
    }
}

fn status(state: TaskState) -> TaskStatus {
    TaskStatus {
        state,
        at: NOW,
        ..TaskStatus::default()
    }
}

fn make(shape: Shape) -> (Store, Liveness, IdSource) {
    let mut ids = IdSource::new(7);
    let mut actions = vec![Action::Cluster(ClusterAction::Create(Box::new(Cluster {
        id: ids.cluster(),
        meta: Default::default(),
        spec: ClusterSpec {
            heartbeat: Duration::from_secs(5),
            task_history: 5,
            cert_expiry: Duration::from_secs(7_776_000),
            address_pools: vec![ipnet(10, 8)],
            subnet_length: 16,
            mesh_subnet: ipnet(172, 12),
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
    })))];
    let mut liveness = Liveness::new(NOW);
    for number in 0..shape.nodes {
        let id = ids.node();
        liveness.hear(id, NOW, Duration::from_secs(5));
        actions.push(Action::Node(NodeAction::Create(Box::new(Node {
            id,
            meta: Default::default(),
            spec: NodeSpec::default(),
            description: NodeDescription {
                hostname: format!("n{number}"),
                cpus: NanoCpus(64_000_000_000),
                memory: ByteCount(256 << 30),
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
    let network = shape.networked.then(|| ids.network());
    actions.extend(network.map(|id| {
        Action::Network(NetworkAction::Create {
            id,
            spec: Box::new(NetworkSpec {
                name: "front".into(),
                ..NetworkSpec::default()
            }),
        })
    }));
    for number in 0..shape.services {
        actions.push(service(ids.service(), number, shape, network));
    }
    let mut store = Store::new();
    let applied = store.apply(Version(1), NOW, &actions);
    assert!(applied.results.iter().all(Result::is_ok));
    (store, liveness, ids)
}

fn service(id: ServiceId, number: usize, shape: Shape, network: Option<NetworkId>) -> Action {
    let mut task = TaskSpec::default();
    task.container.image = "web".into();
    task.resources.cpu_reservation = NanoCpus(100_000_000);
    task.resources.memory_reservation = ByteCount(64 << 20);
    if shape.constrained {
        let texts = ["node.role==worker", "node.hostname!=none"];
        task.placement.constraints = texts.map(str::to_owned).to_vec();
    }
    task.networks
        .extend(network.map(|network| NetworkAttachmentSpec {
            network,
            aliases: Vec::new(),
        }));
    Action::Service(ServiceAction::Create {
        id,
        spec: Box::new(ServiceSpec {
            name: format!("s{number}"),
            mode: ServiceMode::Replicated {
                replicas: shape.replicas,
            },
            task: Arc::new(task),
            ..ServiceSpec::default()
        }),
    })
}

fn ipnet(first: u8, length: u8) -> ipnet::Ipv4Net {
    let address = std::net::Ipv4Addr::new(first, if first == 172 { 16 } else { 0 }, 0, 0);
    ipnet::Ipv4Net::new_assert(address, length)
}

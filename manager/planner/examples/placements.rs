//! Placements a second of one planner pass: `cargo run --release -p
//! skep-manager-planner --example placements [NODES] [TASKS]`. With `memory
//! TASKS` instead: what a store that holds so many tasks takes.

use skep_manager_planner::{IdSource, Liveness, reconcile};
use skep_manager_store::{
    Action, ClusterAction, NetworkAction, NodeAction, ServiceAction, Store, TaskAction,
};
use skep_types::{
    ByteCount, Cluster, ClusterSpec, JoinSecrets, NanoCpus, NetworkAttachmentSpec, NetworkSpec,
    Node, NodeDescription, NodeSpec, NodeStatus, Role, RootCa, ServiceMode, ServiceSpec, TaskSpec,
    Timestamp, Version,
};
use std::sync::Arc;
use std::time::{Duration, Instant};

const NOW: Timestamp = Timestamp(1_000_000);
/// Passes measured; the median is printed.
const ROUNDS: usize = 5;

fn main() {
    let mut args = std::env::args().skip(1).peekable();
    if args.next_if(|arg| arg == "memory").is_some() {
        let tasks = args.next().and_then(|arg| arg.parse().ok());
        return memory(tasks.unwrap_or(100_000));
    }
    let given: Vec<usize> = args.by_ref().filter_map(|arg| arg.parse().ok()).collect();
    match given.as_slice() {
        [] => {
            for nodes in [1000, 5000] {
                for (services, replicas, networked) in [
                    (1, 50_000, false),
                    (100, 500, false),
                    (10_000, 5, false),
                    (100, 500, true),
                ] {
                    measure(nodes, services, replicas, networked);
                }
            }
        }
        [nodes, tasks, ..] => measure(*nodes, 1, *tasks as u32, false),
        [nodes] => measure(*nodes, 1, 50_000, false),
    }
}

fn measure(nodes: usize, services: usize, replicas: u32, networked: bool) {
    let (store, liveness, ids) = swarm(nodes, services, replicas, networked);
    let snapshot = store.snapshot();
    let mut times: Vec<Duration> = Vec::new();
    let mut placed = 0;
    for _ in 0..ROUNDS {
        let mut ids = ids.clone();
        let start = Instant::now();
        let plan = reconcile(&snapshot, &liveness, NOW, &mut ids);
        times.push(start.elapsed());
        placed = plan
            .actions
            .iter()
            .map(|action| match action {
                Action::Task(TaskAction::Create { tasks, .. }) => {
                    tasks.iter().filter(|t| t.error.is_empty()).count()
                }
                _ => 0,
            })
            .sum();
    }
    times.sort();
    let median = times[ROUNDS / 2];
    // Then the cost of a pass that finds nothing to do.
    let mut store = store;
    let mut ids = ids;
    let plan = reconcile(&snapshot, &liveness, NOW, &mut ids);
    let start = Instant::now();
    store.apply(Version(1_000_000), NOW, &plan.actions);
    let apply = start.elapsed();
    let settled = store.snapshot();
    reconcile(&settled, &liveness, NOW, &mut ids);
    let start = Instant::now();
    let idle = reconcile(&settled, &liveness, NOW, &mut ids);
    println!(
        "{nodes} nodes, {services} services x {replicas}{}: {placed} placements in {median:?} = \
         {:.0} a second; applied in {apply:?}; idle pass {:?} ({} actions)",
        if networked { ", on a network" } else { "" },
        placed as f64 / median.as_secs_f64(),
        start.elapsed(),
        idle.actions.len(),
    );
}

/// Memory of this process before and after tasks of ten services are placed on
/// 5,000 nodes, each on a network, and run.
fn memory(tasks: u32) {
    let before = resident();
    let (mut store, liveness, mut ids) = swarm(5000, 10, tasks / 10, true);
    let mut version = 1;
    loop {
        let plan = reconcile(&store.snapshot(), &liveness, NOW, &mut ids);
        if plan.actions.is_empty() {
            break;
        }
        for actions in plan.actions.chunks(100) {
            version += 1;
            store.apply(Version(version), NOW, actions);
        }
        assert!(version < 1_000_000, "the planner finds no end");
    }
    let held = store.snapshot().tasks().count();
    println!(
        "{held} tasks on 5000 nodes: {} MB before, {} MB after",
        before / 1000,
        resident() / 1000,
    );
}

/// Kilobytes of this process that are in memory.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    line.and_then(|l| l.split_whitespace().next()?.parse().ok())
        .unwrap_or_default()
}

fn swarm(
    nodes: usize,
    services: usize,
    replicas: u32,
    networked: bool,
) -> (Store, Liveness, IdSource) {
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
    })))];
    let mut liveness = Liveness::new(NOW);
    for number in 0..nodes {
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
    let network = ids.network();
    if networked {
        actions.push(Action::Network(NetworkAction::Create {
            id: network,
            spec: Box::new(NetworkSpec {
                name: "front".into(),
                ..NetworkSpec::default()
            }),
        }));
    }
    for number in 0..services {
        let mut task = TaskSpec::default();
        task.container.image = "web".into();
        task.resources.cpu_reservation = NanoCpus(100_000_000);
        task.resources.memory_reservation = ByteCount(64 << 20);
        if networked {
            task.networks.push(NetworkAttachmentSpec {
                network,
                aliases: Vec::new(),
            });
        }
        actions.push(Action::Service(ServiceAction::Create {
            id: ids.service(),
            spec: Box::new(ServiceSpec {
                name: format!("s{number}"),
                mode: ServiceMode::Replicated { replicas },
                task: Arc::new(task),
                ..ServiceSpec::default()
            }),
        }));
    }
    let mut store = Store::new();
    let applied = store.apply(Version(1), NOW, &actions);
    assert!(applied.results.iter().all(Result::is_ok));
    (store, liveness, ids)
}

fn ipnet(first: u8, length: u8) -> ipnet::Ipv4Net {
    let address = std::net::Ipv4Addr::new(first, if first == 172 { 16 } else { 0 }, 0, 0);
    ipnet::Ipv4Net::new_assert(address, length)
}

//! The swarm they are in: everything runs, and nothing is to be done.

use crate::{CLUSTER, Error, LIFE};
use ipnet::Ipv4Net;
use skep_manager::first_actions;
use skep_manager_ca::{Credentials, Request, Root, Subject};
use skep_manager_store::{
    Action, NetworkAction, NewTask, NodeAction, ServiceAction, Store, TaskAction,
};
use skep_proto::{id_bytes, pb};
use skep_types::*;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::SystemTime;

const NETWORK: NetworkId = NetworkId::from_bits(5);
const SUBNET: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(10, 0, 0, 0), 9);
/// Prefix length of a node's block.
const BLOCK: u8 = 24;
const TASKS_PER_SERVICE: usize = 100;

/// A swarm in which everything runs.
pub(crate) fn store(
    root: &Root,
    address: &str,
    nodes: usize,
    tasks: usize,
    network: bool,
) -> Result<Store, Error> {
    let mut store = Store::new();
    let mut apply = |actions: &[Action]| {
        let version = Version(store.snapshot().version().0 + 1);
        let applied = store.apply(version, Timestamp(now_ms()), actions);
        match applied.results.into_iter().find_map(Result::err) {
            Some(refused) => Err(Error::from(refused.to_string())),
            None => Ok(version),
        }
    };
    let mut spec = ClusterSpec::default();
    if network {
        // Nobody talks to this manager, and nobody is to be given up.
        spec.heartbeat = LIFE;
    }
    let cluster = pb::Cluster {
        id: id_bytes(CLUSTER),
        meta: Some(pb::Meta::default()),
        spec: Some((&spec).into()),
        root_ca_certificate: root.certificate().pem().to_owned(),
        root_ca_key: root.key_pem(),
        ..pb::Cluster::default()
    };
    let cluster = Cluster::try_from(cluster)?;
    let mut first = node(1);
    first.spec.role = Role::Manager;
    first.role = Role::Manager;
    first.manager = Some(ManagerStatus {
        raft_id: 1,
        address: address.to_owned(),
        format: Format::FIRST,
    });
    // Without the network of tasks that are on none.
    let actions = first_actions(cluster, first).into_iter();
    let actions = actions.filter(|action| !matches!(action, Action::Network(_)));
    apply(&actions.collect::<Vec<_>>())?;
    for bits in agents_of(nodes) {
        apply(&[Action::Node(NodeAction::Create(Box::new(node(bits))))])?;
    }
    let id = NETWORK;
    let create = NetworkAction::Create {
        id,
        spec: Box::default(),
    };
    let version = apply(&[Action::Network(create)])?;
    if network {
        let block = |place: usize| {
            let owner = BlockOwner::Node(NodeId::from_bits(2 + place as u128));
            Ok((Ipv4Net::new(first_address(place), BLOCK)?, owner))
        };
        let take = NetworkAction::SetBlocks {
            id,
            version,
            add_subnets: vec![SUBNET],
            free: Vec::new(),
            take: (0..nodes).map(block).collect::<Result<_, Error>>()?,
        };
        apply(&[Action::Network(take)])?;
    }
    let attachments = |index: usize| {
        let address = u32::from(first_address(index % nodes)) + 2 + (index / nodes) as u32;
        let attachment = || Attachment {
            network: NETWORK,
            address: Ipv4Addr::from(address).into(),
        };
        network.then(attachment).into_iter().collect()
    };
    for service in 0..(nodes * tasks).div_ceil(TASKS_PER_SERVICE) {
        let first = service * TASKS_PER_SERVICE;
        let slots = TASKS_PER_SERVICE.min(nodes * tasks - first);
        let id = ServiceId::from_bits(1 + service as u128);
        let mut spec = ServiceSpec {
            name: format!("s{service}"),
            ..ServiceSpec::default()
        };
        spec.mode = ServiceMode::Replicated {
            replicas: slots as u32,
        };
        if !network {
            // Else nobody could send them anything, and nobody would be told of them.
            spec.endpoint.mode = EndpointMode::DnsRoundRobin;
            Arc::make_mut(&mut spec.task).networks = vec![NetworkAttachmentSpec {
                network: NETWORK,
                aliases: Vec::new(),
            }];
        }
        let spec = Box::new(spec);
        let spec_version = apply(&[Action::Service(ServiceAction::Create { id, spec })])?;
        let task = |slot: usize| NewTask {
            id: task_id(first + slot),
            slot: Slot(1 + slot as u32),
            desired: TaskState::Running,
            node: Some(NodeId::from_bits(2 + ((first + slot) % nodes) as u128)),
            attachments: attachments(first + slot),
            error: String::new(),
            cause: Cause::Created,
            restarts: Restarts::default(),
            start_at: None,
            run: 0,
            generic: Default::default(),
        };
        let create = TaskAction::Create {
            service: id,
            version: spec_version,
            spec_version,
            tasks: (0..slots).map(task).collect(),
        };
        let running = TaskAction::UpdateStatus {
            updates: (0..slots)
                .map(|slot| (task_id(first + slot), status(TaskState::Running)))
                .collect(),
        };
        apply(&[Action::Task(create), Action::Task(running)])?;
    }
    Ok(store)
}

/// The first address of a node's block.
pub(crate) fn first_address(place: usize) -> Ipv4Addr {
    let size = 1_u32 << (32 - BLOCK);
    Ipv4Addr::from(u32::from(SUBNET.addr()) + place as u32 * size)
}

pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}

pub(crate) fn agents_of(nodes: usize) -> impl Iterator<Item = u128> {
    (0..nodes).map(|index| 2 + index as u128)
}

pub(crate) fn task_id(index: usize) -> TaskId {
    // Spread like those that are drawn.
    TaskId::from_bits((index as u128 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835))
}

pub(crate) fn status(state: TaskState) -> TaskStatus {
    TaskStatus {
        state,
        at: Timestamp(now_ms()),
        message: "started".to_owned(),
        ..TaskStatus::default()
    }
}

pub(crate) fn description(bits: u128) -> NodeDescription {
    let mut wireguard_key = [1; 32];
    wireguard_key[..16].copy_from_slice(&bits.to_be_bytes());
    NodeDescription {
        hostname: format!("host-{bits}"),
        cpus: NanoCpus(4_000_000_000),
        memory: ByteCount(8 << 30),
        wireguard_key,
        ..NodeDescription::default()
    }
}

pub(crate) fn node(bits: u128) -> Node {
    let low = u32::try_from(bits).unwrap_or(u32::MAX);
    Node {
        id: NodeId::from_bits(bits),
        meta: Meta::default(),
        spec: NodeSpec::default(),
        description: description(bits),
        status: NodeStatus {
            state: NodeState::Ready,
            address: Some(Ipv4Addr::LOCALHOST.into()),
            ..NodeStatus::default()
        },
        role: Role::Worker,
        role_since: Timestamp(0),
        drain_since: None,
        manager: None,
        mesh: Some(Ipv4Addr::from(
            u32::from(Ipv4Addr::new(10, 255, 0, 0)) + low,
        )),
    }
}

pub(crate) fn credentials(
    root: &Root,
    node: NodeId,
    role: Role,
) -> Result<Arc<Credentials>, Error> {
    let now = SystemTime::now();
    let key = Request::generate()?;
    let subject = Subject {
        node,
        role,
        cluster: CLUSTER,
    };
    let issued = root.issue(key.pem(), &subject, LIFE, now)?;
    Ok(Credentials::new(
        key.complete(&issued.pem, root.certificate().clone())?,
    )?)
}

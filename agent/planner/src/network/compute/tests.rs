//! What the managers say becomes the right network.

use std::sync::Arc;

use skep_types::assignment::{EndpointView, Peer as PeerView, ServiceOnNetwork};
use skep_types::{
    Attachment, BlockOwner, Meta, Network as NetworkObject, NetworkSpec, PortConfig, Protocol,
    ServiceId, Slot, TaskSpec, TaskState, TaskStatus,
};

use super::super::names;
use super::*;

const OPEN: NetworkId = NetworkId::from_bits(1);
const INTERNAL: NetworkId = NetworkId::from_bits(2);
const INGRESS: NetworkId = NetworkId::from_bits(3);
const HERE: NodeId = NodeId::from_bits(1);
const THERE: NodeId = NodeId::from_bits(2);

fn address(network: NetworkId, node: NodeId, number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, network.bits() as u8, node.bits() as u8, number)
}

fn told() -> AssignmentSet {
    let mut told = AssignmentSet::default();
    for node in [HERE, THERE] {
        let last = node.bits() as u8;
        let peer = PeerView {
            id: node,
            hostname: format!("n{last}"),
            public_key: [last; 32],
            endpoint: ([192, 0, 2, last], 51820).into(),
            mesh: Ipv4Addr::new(10, 200, 1, last),
        };
        told.peers.insert(node, Arc::new(peer));
    }
    for (id, name) in [(OPEN, "front"), (INTERNAL, "back"), (INGRESS, "ingress")] {
        let number = id.bits();
        let block = |node: NodeId| {
            let block = format!("10.{number}.{}.0/24", node.bits());
            (block.parse().expect("a block"), BlockOwner::Node(node))
        };
        let network = NetworkObject {
            id,
            meta: Meta::default(),
            spec: NetworkSpec {
                name: name.to_owned(),
                internal: id == INTERNAL,
                ingress: id == INGRESS,
                ..NetworkSpec::default()
            },
            subnets: vec![format!("10.{number}.0.0/16").parse().expect("a subnet")],
            blocks: [block(HERE), block(THERE)].into(),
        };
        told.networks.insert(id, Arc::new(network));
    }
    told
}

fn task(number: u8, networks: &[NetworkId]) -> Task {
    Task {
        id: TaskId::from_bits(u128::from(number)),
        meta: Meta::default(),
        service: ServiceId::default(),
        service_name: "web".into(),
        slot: Slot(u32::from(number)),
        node: Some(HERE),
        spec: Arc::new(TaskSpec::default()),
        spec_version: Default::default(),
        desired: TaskState::Running,
        status: TaskStatus::default(),
        attachments: networks
            .iter()
            .map(|id| Attachment {
                network: *id,
                address: IpAddr::V4(address(*id, HERE, number)),
            })
            .collect(),
        cause: Default::default(),
        stop_cause: None,
        restarts: Default::default(),
        start_at: None,
        run: 0,
        generic: Default::default(),
    }
}

fn view(number: u8, node: NodeId, networks: &[NetworkId]) -> EndpointView {
    EndpointView {
        task: TaskId::from_bits(u128::from(number)),
        slot: Slot(u32::from(number)),
        node,
        addresses: networks
            .iter()
            .map(|id| (*id, address(*id, node, number)))
            .collect(),
    }
}

fn serve(told: &mut AssignmentSet, vip: Option<Ipv4Addr>, mode: PublishMode) {
    let port = PortConfig {
        protocol: Protocol::Tcp,
        target: 80,
        published: 8080,
        mode,
        masquerade: false,
    };
    let view = ServiceView {
        name: "Web".to_owned(),
        networks: [(
            OPEN,
            ServiceOnNetwork {
                vip,
                aliases: vec!["www".to_owned()],
            },
        )]
        .into(),
        ports: vec![port],
        endpoints: vec![
            view(5, HERE, &[OPEN, INGRESS]),
            view(6, THERE, &[OPEN, INGRESS]),
        ],
    };
    told.services
        .insert(ServiceId::from_bits(1), Arc::new(view));
}

fn compute(told: &AssignmentSet, tasks: &[Task]) -> Desired {
    desired(HERE, "10.200.0.0/16".parse().expect("a net"), told, tasks).expect("a network")
}

#[test]
fn a_node_without_place_in_the_mesh_has_no_network_yet() {
    let mesh = "10.200.0.0/16".parse().expect("a net");
    let error = desired(HERE, mesh, &AssignmentSet::default(), &[]);
    assert_eq!(error, Err(ComputeError::NotInMesh(HERE)));
    let large = "10.0.0.0/8".parse().expect("a net");
    let error = desired(HERE, large, &told(), &[]);
    assert_eq!(error, Err(ComputeError::MeshTooLarge(large)));
}

#[test]
fn peers_are_the_others_with_their_blocks_and_numbers() {
    let desired = compute(&told(), &[]);
    assert_eq!(desired.peers.keys().copied().collect::<Vec<_>>(), [THERE]);
    let peer = &desired.peers[&THERE];
    assert_eq!(peer.index, 0x0102);
    assert_eq!(peer.blocks.len(), 3);
    assert_eq!(desired.networks[&OPEN].own_blocks.len(), 1);
}

#[test]
fn only_internal_networks_keep_a_container_inside() {
    let gone = NetworkId::from_bits(4);
    let cases: [(&[NetworkId], bool); 7] = [
        (&[], true),
        (&[OPEN, INTERNAL], true),
        (&[INTERNAL], false),
        (&[INTERNAL, INGRESS], false),
        (&[INGRESS], true),
        (&[gone, INGRESS], false),
        (&[gone, OPEN], true),
    ];
    for (networks, egress) in cases {
        let task = task(5, networks);
        let desired = compute(&told(), std::slice::from_ref(&task));
        assert_eq!(desired.endpoints[&task.id].egress, egress, "{networks:?}");
    }
}

#[test]
fn containers_without_network_get_different_addresses_that_stay() {
    let tasks: Vec<Task> = (1..=3).map(|number| task(number, &[])).collect();
    let mut same = task(1, &[]);
    same.id = TaskId::from_bits(1 | 1 << 64);
    let all: Vec<Task> = tasks.iter().cloned().chain([same]).collect();
    let desired = compute(&told(), &all);
    let addresses: BTreeSet<_> = desired
        .endpoints
        .values()
        .map(|endpoint| endpoint.local.expect("an address"))
        .collect();
    assert_eq!(addresses.len(), 4);
    let again = compute(&told(), &tasks);
    for task in &tasks {
        assert_eq!(
            again.endpoints[&task.id].local,
            desired.endpoints[&task.id].local
        );
    }
}

#[test]
fn a_container_keeps_its_address_when_one_with_a_smaller_id_comes() {
    let mut here = task(1, &[]);
    here.id = TaskId::from_bits(1 | 1 << 64);
    let comes = task(1, &[]);
    let before = compute(&told(), std::slice::from_ref(&here));
    let after = compute(&told(), &[here.clone(), comes.clone()]);
    let local = |desired: &Desired, task: &Task| desired.endpoints[&task.id].local;
    assert_eq!(local(&after, &here), local(&before, &here));
    assert_ne!(local(&after, &comes), local(&after, &here));
}

#[test]
fn published_ports_lead_to_the_address_that_answers() {
    let mut told = told();
    serve(&mut told, None, PublishMode::Ingress);
    let own = task(5, &[OPEN, INGRESS]);
    let desired = compute(&told, std::slice::from_ref(&own));
    let port = desired.ports.values().next().expect("a port");
    let addresses: Vec<_> = port.backends.iter().map(|b| b.address).collect();
    assert_eq!(
        addresses,
        [address(INGRESS, HERE, 5), address(INGRESS, THERE, 6)]
    );
    assert_eq!(
        desired.endpoints[&own.id].source,
        Some(address(INGRESS, HERE, 5))
    );
}

#[test]
fn a_host_port_leads_to_the_tasks_of_this_node_only() {
    let mut told = told();
    serve(&mut told, None, PublishMode::Host);
    let desired = compute(&told, &[]);
    let port = desired.ports.values().next().expect("a port");
    assert!(port.backends.iter().all(|backend| backend.node == HERE));
    assert_eq!(port.backends.len(), 1);
}

#[test]
fn names_lead_to_the_virtual_address_and_to_the_tasks() {
    let vip = Ipv4Addr::new(10, 1, 255, 1);
    let mut told = told();
    serve(&mut told, Some(vip), PublishMode::Ingress);
    let (inside, outside) = (task(5, &[OPEN]), task(7, &[INTERNAL]));
    let (here, there) = (address(OPEN, HERE, 5), address(OPEN, THERE, 6));
    let desired = compute(&told, &[inside.clone(), outside.clone()]);
    assert_eq!(desired.services[&vip].len(), 2);
    let ask = |name: &str| names::addresses(&desired, inside.id, name);
    for name in ["web", "WEB.", "www", "web.front", "www.front."] {
        assert_eq!(ask(name), Some(vec![vip]), "{name}");
    }
    for name in ["tasks.web", "tasks.www.front"] {
        assert_eq!(ask(name), Some(vec![here, there]), "{name}");
    }
    assert_eq!(ask("6.web"), Some(vec![there]));
    assert_eq!(ask("front"), None);
    assert_eq!(names::addresses(&desired, outside.id, "web"), None);
    assert_eq!(names::pointer(&desired, inside.id, vip), Some("Web.front"));
    assert_eq!(names::pointer(&desired, outside.id, vip), None);
}

#[test]
fn without_a_virtual_address_the_name_leads_to_the_tasks() {
    let mut told = told();
    serve(&mut told, None, PublishMode::Ingress);
    let inside = task(5, &[OPEN]);
    let desired = compute(&told, std::slice::from_ref(&inside));
    assert_eq!(
        names::addresses(&desired, inside.id, "web").map(|a| a.len()),
        Some(2)
    );
    assert!(desired.services.is_empty());
}

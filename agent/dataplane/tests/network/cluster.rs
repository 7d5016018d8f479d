//! What the managers of a small cluster would say: networks 10.1.0.0/16 onwards, of which node n holds
//! 10.x.n.0/24, services with addresses 10.x.255.y.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use skep_agent_planner::network::{Desired, desired};
use skep_types::assignment::{AssignmentSet, EndpointView, Peer, ServiceOnNetwork, ServiceView};
use skep_types::{
    Attachment, BlockOwner, Meta, Network, NetworkId, NetworkSpec, NodeId, PortConfig, ServiceId,
    Slot, Task, TaskId, TaskSpec, TaskState, TaskStatus,
};

use super::lan::Lan;

/// The ingress network's number.
pub const INGRESS: u8 = 9;

/// The managers' view.
#[derive(Default, Clone)]
pub struct Cluster {
    pub told: AssignmentSet,
    tasks: BTreeMap<TaskId, (u8, Arc<Task>)>,
}

fn node(number: u8) -> NodeId {
    NodeId::from_bits(u128::from(number))
}

fn network(number: u8) -> NetworkId {
    NetworkId::from_bits(u128::from(number))
}

impl Cluster {
    /// A cluster of the LAN's hosts, with the ingress network.
    pub fn new(lan: &Lan) -> Self {
        let mut cluster = Cluster::default();
        for host in &lan.hosts {
            let peer = Peer {
                id: node(host.number),
                hostname: format!("h{}", host.number),
                public_key: skep_agent_wireguard::public_key(&host.key()),
                endpoint: (IpAddr::V4(host.address()), 51820).into(),
                mesh: Ipv4Addr::new(10, 200, 0, host.number),
            };
            cluster.told.peers.insert(peer.id, Arc::new(peer));
        }
        cluster.network(INGRESS, "ingress", |spec| spec.ingress = true);
        cluster
    }

    /// Adds network 10.`number`.0.0/16.
    pub fn network(&mut self, number: u8, name: &str, change: impl FnOnce(&mut NetworkSpec)) {
        let subnet = format!("10.{number}.0.0/16").parse().expect("a subnet");
        let mut spec = NetworkSpec {
            name: name.to_owned(),
            driver: "overlay".to_owned(),
            ..NetworkSpec::default()
        };
        change(&mut spec);
        let nodes = self.told.peers.values().map(|peer| {
            let block = format!("10.{number}.{}.0/24", peer.mesh.octets()[3])
                .parse()
                .expect("a block");
            (block, BlockOwner::Node(peer.id))
        });
        let id = network(number);
        let blocks = nodes.collect();
        let added = Network {
            id,
            meta: Meta::default(),
            spec,
            subnets: vec![subnet],
            blocks,
        };
        self.told.networks.insert(id, Arc::new(added));
    }

    /// Adds a task of a service with address 10.x.`host`.`number` on each network.
    pub fn task(&mut self, host: u8, number: u8, networks: &[u8]) -> TaskId {
        let id = TaskId::from_bits(u128::from(host) << 64 | u128::from(number) << 40 | 0xabcdef);
        let attachment = |net: &u8| Attachment {
            network: network(*net),
            address: IpAddr::V4(Ipv4Addr::new(10, *net, host, number)),
        };
        let task = Task {
            id,
            meta: Meta::default(),
            service: ServiceId::default(),
            service_name: "service".into(),
            slot: Slot(u32::from(number)),
            node: Some(node(host)),
            spec: Arc::new(TaskSpec::default()),
            spec_version: Default::default(),
            desired: TaskState::Running,
            status: TaskStatus::default(),
            attachments: networks.iter().map(attachment).collect(),
            cause: Default::default(),
            stop_cause: None,
            restarts: Default::default(),
            start_at: None,
            run: 0,
            generic: Default::default(),
        };
        self.tasks.insert(id, (host, Arc::new(task)));
        id
    }

    /// A service of these tasks with address 10.x.255.`number` on network x.
    pub fn service(
        &mut self,
        name: &str,
        number: u8,
        net: u8,
        tasks: &[TaskId],
        ports: Vec<PortConfig>,
    ) {
        let endpoints = tasks.iter().zip(1..).map(|(task, slot)| {
            let (host, found) = &self.tasks[task];
            let addresses =
                found
                    .attachments
                    .iter()
                    .filter_map(|attachment| match attachment.address {
                        IpAddr::V4(address) => Some((attachment.network, address)),
                        IpAddr::V6(_) => None,
                    });
            EndpointView {
                task: *task,
                slot: Slot(slot),
                node: node(*host),
                addresses: addresses.collect(),
            }
        });
        let on = ServiceOnNetwork {
            vip: Some(Ipv4Addr::new(10, net, 255, number)),
            aliases: vec![format!("{name}-alias")],
        };
        let view = ServiceView {
            name: name.to_owned(),
            networks: BTreeMap::from([(network(net), on)]),
            ports,
            endpoints: endpoints.collect(),
        };
        self.told
            .services
            .insert(ServiceId::from_bits(u128::from(number)), Arc::new(view));
    }

    /// What the network of a host should be.
    pub fn desired(&self, host: u8) -> Desired {
        let own = self
            .tasks
            .values()
            .filter(|(at, _)| *at == host)
            .map(|(_, task)| task.as_ref());
        let subnet = "10.200.0.0/16".parse().expect("a subnet");
        desired(node(host), subnet, &self.told, own).expect("a desired state")
    }

    /// Brings every host there.
    pub fn apply(&self, lan: &Lan) {
        for host in &lan.hosts {
            let applied = host.apply(self.desired(host.number));
            assert!(applied.failed.is_empty(), "{:?}", applied.failed);
        }
    }
}

//! From what the managers said to what the network of this node should be.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ipnet::Ipv4Net;
use skep_types::assignment::{AssignmentSet, ServiceView};
use skep_types::{BlockOwner, NetworkId, NodeId, PublishMode, Task, TaskId};

use super::names::Zone;
use super::{Backend, Desired, Endpoint, Mesh, Network, Peer, PortKey, PublishedPort};

/// Addresses of containers without a network. They never leave their node.
const NODE_LOCAL: Ipv4Addr = Ipv4Addr::new(198, 19, 0, 0);

/// Why the network cannot be worked out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ComputeError {
    /// The managers have not yet given this node a place in the mesh.
    NotInMesh(NodeId),
    /// The mesh is too large for its nodes to be numbered in 16 bits.
    MeshTooLarge(Ipv4Net),
}

impl fmt::Display for ComputeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ComputeError::NotInMesh(node) => {
                write!(f, "node {node} has no address in the mesh yet")
            }
            ComputeError::MeshTooLarge(subnet) => {
                write!(
                    f,
                    "mesh subnet {subnet} is too large: it must be /16 or smaller"
                )
            }
        }
    }
}

impl std::error::Error for ComputeError {}

/// Works out the network of node `this`.
///
/// `tasks` are those of this node that have a container or are about to get one, whatever the managers now
/// want of them: a container that is being stopped keeps its network until it is gone, also when the managers
/// speak of that network no more. Where two would get the same address of this node, the first of them does: those
/// that have a container already come first.
pub fn desired<'t>(
    this: NodeId,
    mesh_subnet: Ipv4Net,
    told: &AssignmentSet,
    tasks: impl IntoIterator<Item = &'t Task>,
) -> Result<Desired, ComputeError> {
    if mesh_subnet.prefix_len() < 16 {
        return Err(ComputeError::MeshTooLarge(mesh_subnet));
    }
    let own = told.peers.get(&this).ok_or(ComputeError::NotInMesh(this))?;
    let mesh = Mesh {
        address: own.mesh,
        subnet: mesh_subnet,
        mtu: None,
    };
    let networks = networks(this, told);
    let mut desired = Desired {
        node: this,
        peers: peers(this, &mesh, told),
        mesh,
        endpoints: endpoints(&networks, tasks),
        networks,
        services: BTreeMap::new(),
        ports: BTreeMap::new(),
        zones: BTreeMap::new(),
    };
    for view in told.services.values() {
        add_service(&mut desired, view);
        add_ports(&mut desired, view);
    }
    Ok(desired)
}

fn peers(this: NodeId, mesh: &Mesh, told: &AssignmentSet) -> BTreeMap<NodeId, Peer> {
    // Once over all blocks, not once for each peer: a large swarm has thousands of both.
    let mut blocks: BTreeMap<NodeId, Vec<Ipv4Net>> = BTreeMap::new();
    for network in told.networks.values() {
        for (block, owner) in &network.blocks {
            if let BlockOwner::Node(node) = owner {
                blocks.entry(*node).or_default().push(*block);
            }
        }
    }
    let others = told.peers.iter().filter(|(id, _)| **id != this);
    others
        .map(|(id, peer)| {
            let peer = Peer {
                public_key: peer.public_key,
                endpoint: peer.endpoint,
                mesh: peer.mesh,
                blocks: blocks.remove(id).unwrap_or_default(),
                index: mesh.index(peer.mesh),
            };
            (*id, peer)
        })
        .collect()
}

fn networks(this: NodeId, told: &AssignmentSet) -> BTreeMap<NetworkId, Network> {
    let networks = told.networks.iter();
    networks
        .map(|(id, network)| {
            let network = Network {
                name: network.spec.name.clone(),
                subnets: network.subnets.clone(),
                own_blocks: AssignmentSet::blocks_of(network, this).collect(),
                internal: network.spec.internal,
                isolated: network.spec.ingress,
            };
            (*id, network)
        })
        .collect()
}

fn endpoints<'t>(
    networks: &BTreeMap<NetworkId, Network>,
    tasks: impl IntoIterator<Item = &'t Task>,
) -> BTreeMap<TaskId, Endpoint> {
    let mut taken = BTreeSet::new();
    let mut endpoints = BTreeMap::new();
    for task in tasks {
        let mut attachments: Vec<(NetworkId, Ipv4Addr)> = Vec::new();
        for attachment in &task.attachments {
            if let IpAddr::V4(address) = attachment.address {
                attachments.push((attachment.network, address));
            }
        }
        attachments.sort_by_key(|(network, _)| networks.get(network).is_some_and(|n| n.isolated));
        let local = attachments
            .is_empty()
            .then(|| node_local(task.id, &mut taken));
        let source = outside_address(networks, attachments.iter().copied());
        let endpoint = Endpoint {
            egress: egress(networks, &attachments),
            source: source.or(local),
            attachments,
            local,
            dns_servers: servers(&task.spec.container.dns_servers),
        };
        endpoints.insert(task.id, endpoint);
    }
    endpoints
}

/// A container may reach the outside unless all networks it was given are internal. The ingress network, which
/// it was not asked for, does not count; one that was removed may have been internal.
fn egress(networks: &BTreeMap<NetworkId, Network>, attachments: &[(NetworkId, Ipv4Addr)]) -> bool {
    let mut chosen = attachments
        .iter()
        .map(|(id, _)| networks.get(id))
        .filter(|network| network.is_none_or(|network| !network.isolated))
        .peekable();
    chosen.peek().is_none() || chosen.any(|network| network.is_some_and(|n| !n.internal))
}

/// The address at which the outside reaches a task, and from which the task answers: that on the ingress
/// network if it has one, else on an open network. All nodes must come to the same.
fn outside_address(
    networks: &BTreeMap<NetworkId, Network>,
    addresses: impl Iterator<Item = (NetworkId, Ipv4Addr)>,
) -> Option<Ipv4Addr> {
    let rank = |id: &NetworkId| match networks.get(id) {
        Some(network) if network.isolated => 0,
        Some(network) if !network.internal => 1,
        _ => 2,
    };
    addresses
        .min_by_key(|(id, _)| (rank(id), *id))
        .map(|(_, address)| address)
}

/// An address made from the task's id, so that it is the same after a restart; the next free one where two
/// ids meet.
fn node_local(task: TaskId, taken: &mut BTreeSet<u16>) -> Ipv4Addr {
    let mut number = (task.bits() & 0xffff) as u16;
    while number == 0 || number == u16::MAX || !taken.insert(number) {
        number = number.wrapping_add(1);
    }
    Ipv4Addr::from_bits(NODE_LOCAL.to_bits() | u32::from(number))
}

/// Name servers as addresses; what is none was refused when the service was made.
fn servers(texts: &[String]) -> Vec<SocketAddr> {
    texts
        .iter()
        .filter_map(|text| text.parse::<IpAddr>().ok())
        .map(|ip| SocketAddr::new(ip, 53))
        .collect()
}

fn add_service(desired: &mut Desired, view: &ServiceView) {
    for (network, on) in &view.networks {
        let backends: Vec<Backend> = view
            .endpoints
            .iter()
            .filter_map(|endpoint| {
                Some(Backend {
                    address: *endpoint.addresses.get(network)?,
                    node: endpoint.node,
                })
            })
            .collect();
        if let Some(vip) = on.vip {
            desired.services.insert(vip, backends);
        }
        let name = desired
            .networks
            .get(network)
            .map(|network| network.name.clone())
            .unwrap_or_default();
        let zone = desired
            .zones
            .entry(*network)
            .or_insert_with(|| Zone::new(&name));
        zone.add_service(&view.name, on, &view.endpoints, *network);
    }
}

fn add_ports(desired: &mut Desired, view: &ServiceView) {
    for port in &view.ports {
        let reached = view.endpoints.iter().filter(|endpoint| match port.mode {
            PublishMode::Ingress => true,
            PublishMode::Host => endpoint.node == desired.node,
        });
        let backends: Vec<Backend> = reached
            .filter_map(|endpoint| {
                let addresses = endpoint
                    .addresses
                    .iter()
                    .map(|(id, address)| (*id, *address));
                Some(Backend {
                    address: outside_address(&desired.networks, addresses)?,
                    node: endpoint.node,
                })
            })
            .collect();
        if backends.is_empty() && port.mode == PublishMode::Host {
            continue;
        }
        let key = PortKey {
            protocol: port.protocol,
            published: port.published,
        };
        let published = PublishedPort {
            target: port.target,
            backends,
            mode: port.mode,
            masquerade: port.masquerade,
        };
        desired.ports.insert(key, published);
    }
}

#[cfg(test)]
mod tests;

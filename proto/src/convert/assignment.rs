//! What a node is told.

use super::basic::{address_bytes, id, id_bytes, ipv4, prefixes, require};
use super::network::{block, block_on_wire};
use super::task::{task_on_wire, task_with_spec};
use crate::{Invalid, pb};
use ipnet::Ipv4Net;
use skep_types::assignment::{AssignmentChange, EndpointView, Peer, ServiceOnNetwork, ServiceView};
use skep_types::{BlockOwner, NetworkId, ServiceId, Slot};
use std::collections::BTreeMap;
use std::sync::Arc;

impl From<&AssignmentChange> for pb::AssignmentChange {
    fn from(change: &AssignmentChange) -> Self {
        use AssignmentChange as Domain;
        use pb::assignment_change::Change;
        let change = match change {
            Domain::Task(_, Some(task)) => Change::Task(task_on_wire(task, true)),
            Domain::Task(id, None) => Change::TaskGone(id_bytes(*id)),
            Domain::Secret(_, Some(secret)) => Change::Secret(secret.as_ref().into()),
            Domain::Secret(id, None) => Change::SecretGone(id_bytes(*id)),
            Domain::Config(_, Some(config)) => Change::Config(config.as_ref().into()),
            Domain::Config(id, None) => Change::ConfigGone(id_bytes(*id)),
            Domain::Labels(id, Some(labels)) => Change::ServiceLabels(pb::ServiceLabels {
                service: id_bytes(*id),
                labels: labels.as_ref().clone(),
            }),
            Domain::Labels(id, None) => Change::ServiceLabelsGone(id_bytes(*id)),
            Domain::Network(_, Some(network)) => Change::Network(network.as_ref().into()),
            Domain::Network(id, None) => Change::NetworkGone(id_bytes(*id)),
            Domain::Blocks(id, blocks) => Change::NetworkBlocks(blocks_on_wire(*id, blocks)),
            Domain::Peer(_, Some(peer)) => Change::Peer(peer.as_ref().into()),
            Domain::Peer(id, None) => Change::PeerGone(id_bytes(*id)),
            Domain::Service(id, Some(view)) => Change::Service(view_on_wire(*id, view)),
            Domain::Service(id, None) => Change::ServiceGone(id_bytes(*id)),
        };
        pb::AssignmentChange {
            change: Some(change),
        }
    }
}

impl TryFrom<pb::AssignmentChange> for AssignmentChange {
    type Error = Invalid;
    fn try_from(change: pb::AssignmentChange) -> Result<Self, Invalid> {
        use AssignmentChange as Domain;
        use pb::assignment_change::Change;
        Ok(match require(change.change, "assignment.change")? {
            Change::Task(task) => {
                let task = task_with_spec(task, None)?;
                Domain::Task(task.id, Some(Arc::new(task)))
            }
            Change::TaskGone(gone) => Domain::Task(id(&gone, "task_gone")?, None),
            Change::Secret(secret) => {
                let secret: skep_types::Secret = secret.try_into()?;
                Domain::Secret(secret.id, Some(Arc::new(secret)))
            }
            Change::SecretGone(gone) => Domain::Secret(id(&gone, "secret_gone")?, None),
            Change::Config(config) => {
                let config: skep_types::Config = config.try_into()?;
                Domain::Config(config.id, Some(Arc::new(config)))
            }
            Change::ConfigGone(gone) => Domain::Config(id(&gone, "config_gone")?, None),
            Change::ServiceLabels(pb::ServiceLabels { service, labels }) => {
                let service = id(&service, "service_labels.service")?;
                Domain::Labels(service, Some(Arc::new(labels)))
            }
            Change::ServiceLabelsGone(gone) => {
                Domain::Labels(id(&gone, "service_labels_gone")?, None)
            }
            Change::Network(network) => {
                let network: skep_types::Network = network.try_into()?;
                Domain::Network(network.id, Some(Arc::new(network)))
            }
            Change::NetworkGone(gone) => Domain::Network(id(&gone, "network_gone")?, None),
            Change::NetworkBlocks(blocks) => {
                let (network, blocks) = blocks_from_wire(blocks)?;
                Domain::Blocks(network, blocks)
            }
            Change::Peer(peer) => {
                let peer: Peer = peer.try_into()?;
                Domain::Peer(peer.id, Some(Arc::new(peer)))
            }
            Change::PeerGone(gone) => Domain::Peer(id(&gone, "peer_gone")?, None),
            Change::Service(view) => {
                let (service, view) = view_from_wire(view)?;
                Domain::Service(service, Some(Arc::new(view)))
            }
            Change::ServiceGone(gone) => Domain::Service(id(&gone, "service_gone")?, None),
        })
    }
}

fn blocks_on_wire(
    network: NetworkId,
    blocks: &BTreeMap<Ipv4Net, Option<BlockOwner>>,
) -> pb::NetworkBlocks {
    let mut told = pb::NetworkBlocks {
        network: id_bytes(network),
        ..pb::NetworkBlocks::default()
    };
    for (block, owner) in blocks {
        match owner {
            Some(owner) => told.taken.push(block_on_wire(block, owner)),
            None => told.free.push(block.to_string()),
        }
    }
    told
}

fn blocks_from_wire(
    told: pb::NetworkBlocks,
) -> Result<(NetworkId, BTreeMap<Ipv4Net, Option<BlockOwner>>), Invalid> {
    let network = id(&told.network, "network_blocks.network")?;
    let mut blocks = BTreeMap::new();
    for free in prefixes(&told.free, "network_blocks.free")? {
        blocks.insert(free, None);
    }
    for taken in told.taken {
        let (block, owner) = block(taken)?;
        blocks.insert(block, Some(owner));
    }
    Ok((network, blocks))
}

impl From<&Peer> for pb::Peer {
    fn from(peer: &Peer) -> Self {
        let Peer {
            id,
            hostname,
            public_key,
            endpoint,
            mesh,
        } = peer;
        pb::Peer {
            id: id_bytes(*id),
            hostname: hostname.clone(),
            public_key: bytes::Bytes::copy_from_slice(public_key),
            endpoint: endpoint.to_string(),
            mesh: address_bytes((*mesh).into()),
        }
    }
}

impl TryFrom<pb::Peer> for Peer {
    type Error = Invalid;
    fn try_from(peer: pb::Peer) -> Result<Self, Invalid> {
        let pb::Peer {
            id: id_field,
            hostname,
            public_key,
            endpoint,
            mesh,
        } = peer;
        Ok(Peer {
            id: id(&id_field, "peer.id")?,
            hostname,
            public_key: public_key
                .as_ref()
                .try_into()
                .map_err(|_| Invalid::Value("peer.public_key", "not 32 bytes".to_owned()))?,
            endpoint: endpoint
                .parse()
                .map_err(|_| Invalid::Value("peer.endpoint", format!("{endpoint:?}")))?,
            mesh: ipv4(&mesh, "peer.mesh")?,
        })
    }
}

fn view_on_wire(service: ServiceId, view: &ServiceView) -> pb::ServiceView {
    let ServiceView {
        name,
        networks,
        ports,
        endpoints,
    } = view;
    pb::ServiceView {
        id: id_bytes(service),
        name: name.clone(),
        networks: networks
            .iter()
            .map(
                |(network, ServiceOnNetwork { vip, aliases })| pb::ServiceOnNetwork {
                    network: id_bytes(*network),
                    vip: vip.map(|vip| address_bytes(vip.into())).unwrap_or_default(),
                    aliases: aliases.clone(),
                },
            )
            .collect(),
        ports: ports.iter().map(Into::into).collect(),
        endpoints: endpoints
            .iter()
            .map(
                |EndpointView {
                     task,
                     slot,
                     node,
                     addresses,
                 }| pb::EndpointView {
                    task: id_bytes(*task),
                    slot: slot.0,
                    node: id_bytes(*node),
                    addresses: addresses
                        .iter()
                        .map(|(network, address)| pb::Attachment {
                            network: id_bytes(*network),
                            address: address_bytes((*address).into()),
                        })
                        .collect(),
                },
            )
            .collect(),
    }
}

fn view_from_wire(view: pb::ServiceView) -> Result<(ServiceId, ServiceView), Invalid> {
    let pb::ServiceView {
        id: id_field,
        name,
        networks,
        ports,
        endpoints,
    } = view;
    let on_network = |pb::ServiceOnNetwork {
                          network,
                          vip,
                          aliases,
                      }| {
        let vip = if vip.is_empty() {
            None
        } else {
            Some(ipv4(&vip, "service.vip")?)
        };
        Ok((
            id(&network, "service.network")?,
            ServiceOnNetwork { vip, aliases },
        ))
    };
    let endpoint = |pb::EndpointView {
                        task,
                        slot,
                        node,
                        addresses,
                    }| {
        let address = |pb::Attachment { network, address }| {
            Ok((
                id(&network, "endpoint.network")?,
                ipv4(&address, "endpoint.address")?,
            ))
        };
        Ok(EndpointView {
            task: id(&task, "endpoint.task")?,
            slot: Slot(slot),
            node: id(&node, "endpoint.node")?,
            addresses: addresses
                .into_iter()
                .map(address)
                .collect::<Result<_, Invalid>>()?,
        })
    };
    let view = ServiceView {
        name,
        networks: networks
            .into_iter()
            .map(on_network)
            .collect::<Result<_, Invalid>>()?,
        ports: ports
            .into_iter()
            .map(TryInto::try_into)
            .collect::<Result<_, _>>()?,
        endpoints: endpoints
            .into_iter()
            .map(endpoint)
            .collect::<Result<_, Invalid>>()?,
    };
    Ok((id(&id_field, "service.id")?, view))
}

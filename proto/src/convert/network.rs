//! Networks.

use super::basic::{id, id_bytes, optional_id, prefix, prefixes, require};
use crate::{Invalid, pb};
use ipnet::Ipv4Net;
use skep_types::{BlockOwner, Network, NetworkSpec};

impl From<&NetworkSpec> for pb::NetworkSpec {
    fn from(spec: &NetworkSpec) -> Self {
        let NetworkSpec {
            name,
            labels,
            driver,
            options,
            subnets,
            internal,
            attachable,
            ingress,
            ipv6,
        } = spec;
        pb::NetworkSpec {
            name: name.clone(),
            labels: labels.clone(),
            driver: driver.clone(),
            options: options.clone(),
            subnets: subnets.iter().map(ToString::to_string).collect(),
            internal: *internal,
            attachable: *attachable,
            ingress: *ingress,
            ipv6: *ipv6,
        }
    }
}

impl TryFrom<pb::NetworkSpec> for NetworkSpec {
    type Error = Invalid;
    fn try_from(spec: pb::NetworkSpec) -> Result<Self, Invalid> {
        let pb::NetworkSpec {
            name,
            labels,
            driver,
            options,
            subnets,
            internal,
            attachable,
            ingress,
            ipv6,
        } = spec;
        Ok(NetworkSpec {
            name,
            labels,
            driver,
            options,
            subnets: prefixes(&subnets, "network.subnets")?,
            internal,
            attachable,
            ingress,
            ipv6,
        })
    }
}

impl From<&Network> for pb::Network {
    fn from(network: &Network) -> Self {
        let Network {
            id,
            meta,
            spec,
            subnets,
            blocks,
        } = network;
        pb::Network {
            id: id_bytes(*id),
            meta: Some(meta.into()),
            spec: Some(spec.into()),
            subnets: subnets.iter().map(ToString::to_string).collect(),
            blocks: blocks
                .iter()
                .map(|(prefix, owner)| block_on_wire(prefix, owner))
                .collect(),
        }
    }
}

impl TryFrom<pb::Network> for Network {
    type Error = Invalid;
    fn try_from(network: pb::Network) -> Result<Self, Invalid> {
        let pb::Network {
            id: id_field,
            meta,
            spec,
            subnets,
            blocks,
        } = network;
        Ok(Network {
            id: id(&id_field, "network.id")?,
            meta: require(meta, "network.meta")?.into(),
            spec: require(spec, "network.spec")?.try_into()?,
            subnets: prefixes(&subnets, "network.subnets")?,
            blocks: blocks
                .into_iter()
                .map(block)
                .collect::<Result<_, Invalid>>()?,
        })
    }
}

/// A block and who holds it, as in networks and in changes of them.
pub(super) fn block_on_wire(prefix: &Ipv4Net, owner: &BlockOwner) -> pb::Block {
    pb::Block {
        prefix: prefix.to_string(),
        node: match owner {
            BlockOwner::Node(node) => id_bytes(*node),
            BlockOwner::Services => bytes::Bytes::new(),
        },
    }
}

/// The same from the wire.
pub(super) fn block(
    pb::Block { prefix: text, node }: pb::Block,
) -> Result<(Ipv4Net, BlockOwner), Invalid> {
    let owner = match optional_id(&node, "block.node")? {
        Some(node) => BlockOwner::Node(node),
        None => BlockOwner::Services,
    };
    Ok((prefix(&text, "block.prefix")?, owner))
}

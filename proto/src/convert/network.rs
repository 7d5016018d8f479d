//! Networks, secrets and configs.

use super::basic::{id, id_bytes, optional_id, prefix, prefixes, require};
use crate::{Invalid, pb};
use skep_types::{BlockOwner, Config, ConfigSpec, Network, NetworkSpec, Secret, SecretSpec};

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
                .map(|(block, owner)| pb::Block {
                    prefix: block.to_string(),
                    node: match owner {
                        BlockOwner::Node(node) => id_bytes(*node),
                        BlockOwner::Services => bytes::Bytes::new(),
                    },
                })
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
        let block = |pb::Block { prefix: text, node }| {
            let owner = match optional_id(&node, "network.blocks.node")? {
                Some(node) => BlockOwner::Node(node),
                None => BlockOwner::Services,
            };
            Ok((prefix(&text, "network.blocks.prefix")?, owner))
        };
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

/// Secrets and configs share their form on the wire.
macro_rules! data_object {
    ($object:ident, $spec:ident, $field:literal) => {
        impl From<&$spec> for pb::DataSpec {
            fn from(spec: &$spec) -> Self {
                let $spec { name, labels, data } = spec;
                pb::DataSpec {
                    name: name.clone(),
                    labels: labels.clone(),
                    data: bytes::Bytes::copy_from_slice(data),
                }
            }
        }

        impl From<pb::DataSpec> for $spec {
            fn from(spec: pb::DataSpec) -> Self {
                let pb::DataSpec { name, labels, data } = spec;
                $spec {
                    name,
                    labels,
                    data: data.as_ref().into(),
                }
            }
        }

        impl From<&$object> for pb::DataObject {
            fn from(object: &$object) -> Self {
                let $object { id, meta, spec } = object;
                pb::DataObject {
                    id: id_bytes(*id),
                    meta: Some(meta.into()),
                    spec: Some(spec.into()),
                }
            }
        }

        impl TryFrom<pb::DataObject> for $object {
            type Error = Invalid;
            fn try_from(object: pb::DataObject) -> Result<Self, Invalid> {
                let pb::DataObject {
                    id: id_field,
                    meta,
                    spec,
                } = object;
                Ok($object {
                    id: id(&id_field, $field)?,
                    meta: require(meta, concat!($field, " meta"))?.into(),
                    spec: require(spec, concat!($field, " spec"))?.into(),
                })
            }
        }
    };
}
data_object!(Secret, SecretSpec, "secret.id");
data_object!(Config, ConfigSpec, "config.id");

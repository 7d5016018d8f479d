//! The cluster object.

use super::basic::{id, id_bytes, millis, port, prefix, prefixes, require};
use super::client::{clients, clients_on_wire};
use super::format::format;
use crate::{Invalid, pb};
use bytes::Bytes;
use skep_types::{
    Cluster, ClusterSpec, FormerRoot, JoinSecrets, NextRoot, RootCa, Timestamp, UnlockKey,
};
use std::time::Duration;

impl From<&ClusterSpec> for pb::ClusterSpec {
    fn from(spec: &ClusterSpec) -> Self {
        let ClusterSpec {
            heartbeat,
            task_history,
            cert_expiry,
            address_pools,
            subnet_length,
            mesh_subnet,
            data_path_port,
            rebalance_per_minute,
            #[cfg(feature = "next-format")]
            note,
        } = spec;
        pb::ClusterSpec {
            heartbeat_ms: millis(*heartbeat),
            task_history: *task_history,
            cert_expiry_ms: millis(*cert_expiry),
            address_pools: address_pools.iter().map(ToString::to_string).collect(),
            subnet_length: u32::from(*subnet_length),
            mesh_subnet: mesh_subnet.to_string(),
            data_path_port: u32::from(*data_path_port),
            rebalance_per_minute: *rebalance_per_minute,
            #[cfg(feature = "next-format")]
            note: note.clone(),
        }
    }
}

impl TryFrom<pb::ClusterSpec> for ClusterSpec {
    type Error = Invalid;
    fn try_from(spec: pb::ClusterSpec) -> Result<Self, Invalid> {
        let pb::ClusterSpec {
            heartbeat_ms,
            task_history,
            cert_expiry_ms,
            address_pools,
            subnet_length,
            mesh_subnet,
            data_path_port,
            rebalance_per_minute,
            #[cfg(feature = "next-format")]
            note,
        } = spec;
        Ok(ClusterSpec {
            heartbeat: Duration::from_millis(heartbeat_ms),
            task_history,
            cert_expiry: Duration::from_millis(cert_expiry_ms),
            address_pools: prefixes(&address_pools, "cluster.address_pools")?,
            subnet_length: u8::try_from(subnet_length)
                .ok()
                .filter(|length| (8..=29).contains(length))
                .ok_or_else(|| {
                    Invalid::Value(
                        "cluster.subnet_length",
                        format!("{subnet_length} is not within 8 and 29"),
                    )
                })?,
            mesh_subnet: prefix(&mesh_subnet, "cluster.mesh_subnet")?,
            data_path_port: port(data_path_port, "cluster.data_path_port")?,
            rebalance_per_minute,
            #[cfg(feature = "next-format")]
            note,
        })
    }
}

impl From<&Cluster> for pb::Cluster {
    fn from(cluster: &Cluster) -> Self {
        let Cluster {
            id,
            meta,
            spec,
            root_ca:
                RootCa {
                    certificate,
                    key,
                    next,
                    former,
                },
            join_secrets: JoinSecrets { worker, manager },
            blocked,
            certificates_until,
            last_raft_id,
            format,
            unlock_key,
            clients,
        } = cluster;
        pb::Cluster {
            id: id_bytes(*id),
            meta: Some(meta.into()),
            spec: Some(spec.into()),
            root_ca_certificate: certificate.clone(),
            root_ca_key: key.clone(),
            worker_secret: worker.clone(),
            manager_secret: manager.clone(),
            blocked: blocked
                .iter()
                .map(|(node, until)| pb::BlockedNode {
                    node: id_bytes(*node),
                    until_ms: until.0,
                })
                .collect(),
            last_raft_id: *last_raft_id,
            format: format.0,
            certificates_until_ms: certificates_until.0,
            next_root: next.as_ref().map(Into::into),
            former_roots: former.iter().map(Into::into).collect(),
            unlock_key: unlock_key_bytes(unlock_key.as_ref()),
            clients: clients_on_wire(clients),
        }
    }
}

/// The unlock key on the wire; empty where there is none.
pub fn unlock_key_bytes(key: Option<&UnlockKey>) -> Bytes {
    key.map_or_else(Bytes::new, |UnlockKey(key)| Bytes::copy_from_slice(key))
}

/// Reads what [`unlock_key_bytes`] wrote.
///
/// # Errors
/// If it has another length.
pub fn unlock_key(bytes: &[u8], field: &'static str) -> Result<Option<UnlockKey>, Invalid> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let key = bytes.try_into().map_err(|_| {
        let found = format!("{} bytes instead of 32", bytes.len());
        Invalid::Value(field, found)
    })?;
    Ok(Some(UnlockKey(key)))
}

impl TryFrom<pb::Cluster> for Cluster {
    type Error = Invalid;
    fn try_from(cluster: pb::Cluster) -> Result<Self, Invalid> {
        let pb::Cluster {
            id: id_field,
            meta,
            spec,
            root_ca_certificate,
            root_ca_key,
            worker_secret,
            manager_secret,
            blocked,
            last_raft_id,
            certificates_until_ms,
            next_root,
            former_roots,
            format: number,
            unlock_key: unlock_key_field,
            clients: clients_field,
        } = cluster;
        let blocked_node = |pb::BlockedNode { node, until_ms }| {
            Ok((id(&node, "cluster.blocked.node")?, Timestamp(until_ms)))
        };
        Ok(Cluster {
            id: id(&id_field, "cluster.id")?,
            meta: require(meta, "cluster.meta")?.into(),
            spec: require(spec, "cluster.spec")?.try_into()?,
            root_ca: RootCa {
                certificate: root_ca_certificate,
                key: root_ca_key,
                next: next_root.map(Into::into),
                former: former_roots.into_iter().map(Into::into).collect(),
            },
            join_secrets: JoinSecrets {
                worker: worker_secret,
                manager: manager_secret,
            },
            blocked: blocked
                .into_iter()
                .map(blocked_node)
                .collect::<Result<_, Invalid>>()?,
            certificates_until: Timestamp(certificates_until_ms),
            last_raft_id,
            format: format(number),
            unlock_key: unlock_key(&unlock_key_field, "cluster.unlock_key")?,
            clients: clients(clients_field)?,
        })
    }
}

impl From<&NextRoot> for pb::NextRoot {
    fn from(root: &NextRoot) -> Self {
        let NextRoot {
            certificate,
            key,
            cross_signed,
        } = root;
        pb::NextRoot {
            certificate: certificate.clone(),
            key: key.clone(),
            cross_signed: cross_signed.clone(),
        }
    }
}

impl From<pb::NextRoot> for NextRoot {
    fn from(root: pb::NextRoot) -> Self {
        let pb::NextRoot {
            certificate,
            key,
            cross_signed,
        } = root;
        NextRoot {
            certificate,
            key,
            cross_signed,
        }
    }
}

impl From<&FormerRoot> for pb::FormerRoot {
    fn from(root: &FormerRoot) -> Self {
        let FormerRoot {
            certificate,
            cross_signed,
            until,
        } = root;
        pb::FormerRoot {
            certificate: certificate.clone(),
            cross_signed: cross_signed.clone(),
            until_ms: until.0,
        }
    }
}

impl From<pb::FormerRoot> for FormerRoot {
    fn from(root: pb::FormerRoot) -> Self {
        let pb::FormerRoot {
            certificate,
            cross_signed,
            until_ms,
        } = root;
        FormerRoot {
            certificate,
            cross_signed,
            until: Timestamp(until_ms),
        }
    }
}

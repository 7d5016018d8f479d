//! The cluster object.

use super::basic::{id, id_bytes, millis, port, prefix, prefixes, require};
use crate::{Invalid, pb};
use skep_types::{Cluster, ClusterSpec, JoinSecrets, RootCa, Timestamp};
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
        } = spec;
        pb::ClusterSpec {
            heartbeat_ms: millis(*heartbeat),
            task_history: *task_history,
            cert_expiry_ms: millis(*cert_expiry),
            address_pools: address_pools.iter().map(ToString::to_string).collect(),
            subnet_length: u32::from(*subnet_length),
            mesh_subnet: mesh_subnet.to_string(),
            data_path_port: u32::from(*data_path_port),
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
        })
    }
}

impl From<&Cluster> for pb::Cluster {
    fn from(cluster: &Cluster) -> Self {
        let Cluster {
            id,
            meta,
            spec,
            root_ca: RootCa { certificate, key },
            join_secrets: JoinSecrets { worker, manager },
            blocked,
            last_raft_id,
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
        }
    }
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
            },
            join_secrets: JoinSecrets {
                worker: worker_secret,
                manager: manager_secret,
            },
            blocked: blocked
                .into_iter()
                .map(blocked_node)
                .collect::<Result<_, Invalid>>()?,
            last_raft_id,
        })
    }
}

//! Nodes.

use super::basic::{address, address_bytes, id, id_bytes, ipv4, millis, require, wire_enum};
use super::format::format;
use super::resources::{generics, generics_on_wire};
use crate::{Invalid, pb};
use skep_types::{
    Availability, ByteCount, ManagerStatus, NanoCpus, Node, NodeDescription, NodeSpec, NodeState,
    NodeStatus, NodeTls, Platform, Role, Timestamp,
};
use std::time::Duration;

wire_enum!(Role, Role, role, "node.role", { Worker = Worker, Manager = Manager });
wire_enum!(Availability, Availability, availability, "node.availability", {
    Active = Active, Pause = Pause, Drain = Drain,
});
wire_enum!(NodeState, NodeState, node_state, "node.state", {
    Unknown = Unknown, Down = Down, Ready = Ready, Disconnected = Disconnected,
});

/// Reads a role.
impl TryFrom<&pb::NodeSpec> for Role {
    type Error = Invalid;
    fn try_from(spec: &pb::NodeSpec) -> Result<Self, Invalid> {
        role(spec.role)
    }
}

impl From<&NodeSpec> for pb::NodeSpec {
    fn from(spec: &NodeSpec) -> Self {
        let NodeSpec {
            labels,
            role,
            availability,
            drain_deadline,
        } = spec;
        pb::NodeSpec {
            labels: labels.clone(),
            role: pb::Role::from(*role).into(),
            availability: pb::Availability::from(*availability).into(),
            drain_deadline_ms: drain_deadline.map(millis),
        }
    }
}

impl TryFrom<pb::NodeSpec> for NodeSpec {
    type Error = Invalid;
    fn try_from(spec: pb::NodeSpec) -> Result<Self, Invalid> {
        let pb::NodeSpec {
            labels,
            role: role_field,
            availability: availability_field,
            drain_deadline_ms,
        } = spec;
        Ok(NodeSpec {
            labels,
            role: role(role_field)?,
            availability: availability(availability_field)?,
            drain_deadline: drain_deadline_ms.map(Duration::from_millis),
        })
    }
}

impl From<&NodeDescription> for pb::NodeDescription {
    fn from(description: &NodeDescription) -> Self {
        let NodeDescription {
            hostname,
            platform: Platform { os, architecture },
            cpus,
            memory,
            reserved_cpus,
            reserved_memory,
            generic,
            engine_version,
            engine_labels,
            wireguard_key,
            data_path,
            tls,
        } = description;
        pb::NodeDescription {
            hostname: hostname.clone(),
            os: os.clone(),
            architecture: architecture.clone(),
            cpus_nano: cpus.0,
            memory_bytes: memory.0,
            reserved_cpus_nano: reserved_cpus.0,
            reserved_memory_bytes: reserved_memory.0,
            generic: generics_on_wire(generic),
            engine_version: engine_version.clone(),
            engine_labels: engine_labels.clone(),
            wireguard_key: bytes::Bytes::copy_from_slice(wireguard_key),
            data_path: data_path.map(|at| at.to_string()).unwrap_or_default(),
            tls: Some(tls.into()),
        }
    }
}

impl TryFrom<pb::NodeDescription> for NodeDescription {
    type Error = Invalid;
    fn try_from(description: pb::NodeDescription) -> Result<Self, Invalid> {
        let pb::NodeDescription {
            hostname,
            os,
            architecture,
            cpus_nano,
            memory_bytes,
            reserved_cpus_nano,
            reserved_memory_bytes,
            generic,
            engine_version,
            engine_labels,
            wireguard_key,
            data_path,
            tls,
        } = description;
        Ok(NodeDescription {
            hostname,
            platform: Platform { os, architecture },
            cpus: NanoCpus(cpus_nano),
            memory: ByteCount(memory_bytes),
            reserved_cpus: NanoCpus(reserved_cpus_nano),
            reserved_memory: ByteCount(reserved_memory_bytes),
            generic: generics(generic)?,
            engine_version,
            engine_labels,
            wireguard_key: wireguard_key.as_ref().try_into().map_err(|_| {
                Invalid::Value("description.wireguard_key", "not 32 bytes".to_owned())
            })?,
            data_path: if data_path.is_empty() {
                None
            } else {
                Some(data_path.parse().map_err(|_| {
                    Invalid::Value("description.data_path", format!("{data_path:?}"))
                })?)
            },
            tls: tls.map_or(Ok(NodeTls::default()), NodeTls::try_from)?,
        })
    }
}

impl From<&NodeTls> for pb::NodeTls {
    fn from(tls: &NodeTls) -> Self {
        let NodeTls {
            issuer,
            certificate,
            trusted,
        } = tls;
        pb::NodeTls {
            issuer: bytes::Bytes::copy_from_slice(issuer),
            certificate: bytes::Bytes::copy_from_slice(certificate),
            trusted: bytes::Bytes::copy_from_slice(trusted),
        }
    }
}

impl TryFrom<pb::NodeTls> for NodeTls {
    type Error = Invalid;
    fn try_from(tls: pb::NodeTls) -> Result<Self, Invalid> {
        let pb::NodeTls {
            issuer,
            certificate,
            trusted,
        } = tls;
        Ok(NodeTls {
            issuer: digest(&issuer, "tls.issuer")?,
            certificate: digest(&certificate, "tls.certificate")?,
            trusted: digest(&trusted, "tls.trusted")?,
        })
    }
}

/// 32 bytes; all zero where there are none.
fn digest(bytes: &[u8], field: &'static str) -> Result<[u8; 32], Invalid> {
    if bytes.is_empty() {
        return Ok([0; 32]);
    }
    bytes
        .try_into()
        .map_err(|_| Invalid::Value(field, "not 32 bytes".to_owned()))
}

impl From<&NodeStatus> for pb::NodeStatus {
    fn from(status: &NodeStatus) -> Self {
        let NodeStatus {
            state,
            message,
            address,
        } = status;
        pb::NodeStatus {
            state: pb::NodeState::from(*state).into(),
            message: message.clone(),
            address: address.map(address_bytes).unwrap_or_default(),
        }
    }
}

impl TryFrom<pb::NodeStatus> for NodeStatus {
    type Error = Invalid;
    fn try_from(status: pb::NodeStatus) -> Result<Self, Invalid> {
        let pb::NodeStatus {
            state,
            message,
            address: bytes,
        } = status;
        Ok(NodeStatus {
            state: node_state(state)?,
            message,
            address: if bytes.is_empty() {
                None
            } else {
                Some(address(&bytes, "node.status.address")?)
            },
        })
    }
}

impl From<&ManagerStatus> for pb::ManagerStatus {
    fn from(status: &ManagerStatus) -> Self {
        let ManagerStatus {
            raft_id,
            address,
            format,
        } = status;
        pb::ManagerStatus {
            raft_id: *raft_id,
            address: address.clone(),
            format: format.0,
        }
    }
}

impl From<pb::ManagerStatus> for ManagerStatus {
    fn from(status: pb::ManagerStatus) -> Self {
        let pb::ManagerStatus {
            raft_id,
            address,
            format: number,
        } = status;
        ManagerStatus {
            raft_id,
            address,
            format: format(number),
        }
    }
}

impl From<&Node> for pb::Node {
    fn from(node: &Node) -> Self {
        let Node {
            id,
            meta,
            spec,
            description,
            status,
            role,
            role_since,
            drain_since,
            manager,
            mesh,
        } = node;
        pb::Node {
            id: id_bytes(*id),
            meta: Some(meta.into()),
            spec: Some(spec.into()),
            description: Some(description.into()),
            status: Some(status.into()),
            role: pb::Role::from(*role).into(),
            role_since_ms: role_since.0,
            drain_since_ms: drain_since.map(|at| at.0),
            manager: manager.as_ref().map(Into::into),
            mesh: mesh
                .map(|mesh| address_bytes(mesh.into()))
                .unwrap_or_default(),
        }
    }
}

impl TryFrom<pb::Node> for Node {
    type Error = Invalid;
    fn try_from(node: pb::Node) -> Result<Self, Invalid> {
        let pb::Node {
            id: id_field,
            meta,
            spec,
            description,
            status,
            role: role_field,
            role_since_ms,
            drain_since_ms,
            manager,
            mesh,
        } = node;
        Ok(Node {
            id: id(&id_field, "node.id")?,
            meta: require(meta, "node.meta")?.into(),
            spec: require(spec, "node.spec")?.try_into()?,
            description: require(description, "node.description")?.try_into()?,
            status: require(status, "node.status")?.try_into()?,
            role: role(role_field)?,
            role_since: Timestamp(role_since_ms),
            drain_since: drain_since_ms.map(Timestamp),
            manager: manager.map(Into::into),
            mesh: if mesh.is_empty() {
                None
            } else {
                Some(ipv4(&mesh, "node.mesh")?)
            },
        })
    }
}

//! Objects as JSON in the shape of Docker's API, for `inspect`. What is empty
//! is left out, as Docker does.

mod resources;
mod service;

pub use service::{service, spec as service_spec, update_state};

use crate::human::timestamp;
use crate::view::NodeView;
use serde_json::{Map, Value, json};
use skep_proto::pb;
use skep_types::{
    Availability, BlockOwner, Config, Labels, Meta, Network, NodeState, PublishMode, Role, Secret,
    Timestamp,
};

/// An object without its empty members, at every depth but the first two.
fn lean(value: Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(
            map.into_iter()
                .map(|(key, value)| (key, lean(value)))
                .filter(|(_, value)| !is_empty(value))
                .collect::<Map<_, _>>(),
        ),
        Value::Array(items) => Value::Array(items.into_iter().map(lean).collect()),
        other => other,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(is) => !is,
        Value::Number(_) => false,
    }
}

/// `ID`, `Version`, `CreatedAt`, `UpdatedAt`.
fn head(id: &str, meta: &Meta) -> Value {
    json!({
        "ID": id,
        "Version": {"Index": meta.version.0},
        "CreatedAt": timestamp(meta.created_at.0),
        "UpdatedAt": timestamp(meta.updated_at.0),
    })
}

/// Labels; an empty object where there are none.
fn labels(labels: &Labels) -> Value {
    let pairs = labels
        .iter()
        .map(|(key, value)| (key.clone(), Value::from(value.clone())));
    Value::Object(pairs.collect())
}

/// A node.
pub fn node(entry: &NodeView) -> Value {
    let node = &entry.node;
    let about = &node.description;
    let mut out = head(&node.id.to_string(), &node.meta);
    out["Spec"] = json!({
        "Labels": labels(&node.spec.labels),
        "Role": role(node.spec.role),
        "Availability": availability(node.spec.availability),
    });
    // Docker knows none.
    if let Some(deadline) = node.spec.drain_deadline {
        let nanos = u64::try_from(deadline.as_nanos()).unwrap_or(u64::MAX);
        out["Spec"]["DrainDeadline"] = nanos.into();
    }
    out["Description"] = lean(json!({
        "Hostname": about.hostname,
        "Platform": {"Architecture": about.platform.architecture, "OS": about.platform.os},
        "Resources": resources::of_node(about),
        "Engine": {"EngineVersion": about.engine_version, "Labels": labels(&about.engine_labels)},
        "WireGuardEndpoint": about.data_path.map(|path| path.to_string()),
    }));
    out["Status"] = lean(json!({
        "State": node_state(node.status.state),
        "Message": node.status.message,
        "Addr": node.status.address.map(|address| address.to_string()),
        "MeshAddr": node.mesh.map(|mesh| mesh.to_string()),
        "DrainedBy": node.drained_by().map(|at| timestamp(at.0)),
    }));
    if let Some(manager) = &node.manager {
        out["ManagerStatus"] = lean(json!({
            "Leader": entry.leader,
            "Reachability": match entry.reachability {
                pb::Reachability::Reachable => "reachable",
                pb::Reachability::Unreachable => "unreachable",
                pb::Reachability::Unknown => "unknown",
            },
            "Addr": manager.address,
        }));
    }
    out
}

/// A network.
pub fn network(network: &Network) -> Value {
    let spec = &network.spec;
    let blocks = |owner: BlockOwner| {
        let mine = network.blocks.iter().filter(move |(_, of)| **of == owner);
        mine.map(|(block, _)| block.to_string()).collect::<Vec<_>>()
    };
    let mut nodes = Map::new();
    for owner in network.blocks.values() {
        if let BlockOwner::Node(id) = owner {
            nodes.insert(id.to_string(), blocks(*owner).into());
        }
    }
    json!({
        "Name": spec.name,
        "Id": network.id.to_string(),
        "Created": timestamp(network.meta.created_at.0),
        "Scope": "swarm",
        "Driver": driver(&spec.driver),
        "EnableIPv4": true,
        "EnableIPv6": spec.ipv6,
        "IPAM": {
            "Driver": "default",
            "Config": network.subnets.iter().map(|net| json!({"Subnet": net.to_string()})).collect::<Vec<_>>(),
        },
        "Internal": spec.internal,
        "Attachable": spec.attachable,
        "Ingress": spec.ingress,
        "Options": labels(&spec.options),
        "Labels": labels(&spec.labels),
        "Blocks": {"Services": blocks(BlockOwner::Services), "Nodes": nodes},
    })
}

/// A network's driver by name.
pub fn driver(driver: &str) -> &str {
    if driver.is_empty() { "overlay" } else { driver }
}

/// A secret and its generations, without their data.
pub fn secret(secret: &Secret, generations: &[&Secret]) -> Value {
    let mut out = head(&secret.id.to_string(), &secret.meta);
    out["Generation"] = secret.generation.into();
    let each = generations.iter().map(|one| {
        let of = (one.generation, one.superseded_at);
        generation(head(&one.id.to_string(), &one.meta), of)
    });
    out["Generations"] = each.collect();
    out["Spec"] = json!({"Name": secret.spec.name, "Labels": labels(&secret.spec.labels)});
    templating(&mut out["Spec"], secret.spec.template);
    out
}

/// A config with its data, and its generations without theirs.
pub fn config(config: &Config, generations: &[&Config]) -> Value {
    let mut out = head(&config.id.to_string(), &config.meta);
    out["Generation"] = config.generation.into();
    let each = generations.iter().map(|one| {
        let of = (one.generation, one.superseded_at);
        generation(head(&one.id.to_string(), &one.meta), of)
    });
    out["Generations"] = each.collect();
    out["Spec"] = json!({
        "Name": config.spec.name,
        "Labels": labels(&config.spec.labels),
        "Data": base64(&config.spec.data),
    });
    templating(&mut out["Spec"], config.spec.template);
    out
}

fn generation(mut head: Value, (number, superseded_at): (u32, Option<Timestamp>)) -> Value {
    head["Generation"] = number.into();
    if let Some(at) = superseded_at {
        head["SupersededAt"] = timestamp(at.0).into();
    }
    head
}

/// As Docker names it.
fn templating(spec: &mut Value, template: bool) {
    if template {
        spec["Templating"] = json!({"Name": "golang"});
    }
}

/// Settings of the cluster.
pub fn cluster_spec(spec: &pb::ClusterSpec, autolock: bool) -> Value {
    json!({
        "Name": "default",
        "Orchestration": {
            "TaskHistoryRetentionLimit": spec.task_history,
            "RebalancePerMinute": spec.rebalance_per_minute,
        },
        "Dispatcher": {"HeartbeatPeriod": spec.heartbeat_ms.saturating_mul(1_000_000)},
        "CAConfig": {"NodeCertExpiry": spec.cert_expiry_ms.saturating_mul(1_000_000)},
        "EncryptionConfig": {"AutoLockManagers": autolock},
        "MeshSubnet": spec.mesh_subnet,
    })
}

/// Bytes in base 64, as Go's JSON has them.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * at) & 63) as usize];
            out.push(if at <= chunk.len() {
                digit as char
            } else {
                '='
            });
        }
    }
    out
}

/// `worker` or `manager`.
pub fn role(role: Role) -> &'static str {
    match role {
        Role::Worker => "worker",
        Role::Manager => "manager",
    }
}

/// `active`, `pause` or `drain`.
pub fn availability(availability: Availability) -> &'static str {
    match availability {
        Availability::Active => "active",
        Availability::Pause => "pause",
        Availability::Drain => "drain",
    }
}

/// `unknown`, `down`, `ready` or `disconnected`.
pub fn node_state(state: NodeState) -> &'static str {
    match state {
        NodeState::Unknown => "unknown",
        NodeState::Down => "down",
        NodeState::Ready => "ready",
        NodeState::Disconnected => "disconnected",
    }
}

/// `ingress` or `host`.
pub fn publish_mode(mode: PublishMode) -> &'static str {
    match mode {
        PublishMode::Ingress => "ingress",
        PublishMode::Host => "host",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_become_base_64() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn a_drained_node_says_until_when() {
        let mut view = crate::testing::swarm(Vec::new());
        let Some(entry) = view.nodes.values_mut().next() else {
            panic!("a swarm without nodes");
        };
        assert_eq!(node(entry)["Status"].get("DrainedBy"), None);
        entry.node.spec.availability = Availability::Drain;
        entry.node.drain_since = Some(skep_types::Timestamp(1_000));
        let by_default = node(entry);
        assert_eq!(by_default["Status"]["DrainedBy"], timestamp(3_601_000));
        assert_eq!(by_default["Spec"].get("DrainDeadline"), None);
        entry.node.spec.drain_deadline = Some(std::time::Duration::from_secs(60));
        let given = node(entry);
        assert_eq!(given["Status"]["DrainedBy"], timestamp(61_000));
        assert_eq!(given["Spec"]["DrainDeadline"], 60_000_000_000_u64);
    }

    #[test]
    fn what_is_empty_is_left_out() {
        let value = lean(json!({"A": "", "B": {"C": []}, "D": 0, "E": [{"F": null}], "G": false}));
        assert_eq!(value, json!({"D": 0, "E": [{}]}));
    }
}

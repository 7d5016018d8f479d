//! What nodes have and services ask for, as JSON.

use super::lean;
use serde_json::{Value, json};
use skep_types::{GenericResource, NodeDescription};
use std::collections::BTreeMap;

/// What a node has, and what it keeps of that.
pub(super) fn of_node(about: &NodeDescription) -> Value {
    let mut generic = Vec::new();
    for (kind, has) in &about.generic {
        match has {
            GenericResource::Count(count) => generic.push(discrete(kind, *count)),
            GenericResource::Named(names) => generic.extend(
                names
                    .iter()
                    .map(|name| json!({"NamedResourceSpec": {"Kind": kind, "Value": name}})),
            ),
        }
    }
    let kept = |amount: u64| (amount > 0).then_some(amount);
    lean(json!({
        "NanoCPUs": about.cpus.0,
        "MemoryBytes": about.memory.0,
        "GenericResources": generic,
        "ReservedNanoCPUs": kept(about.reserved_cpus.0),
        "ReservedMemoryBytes": kept(about.reserved_memory.0),
    }))
}

/// What a service asks for.
pub(super) fn wanted(generic: &BTreeMap<String, u64>) -> Vec<Value> {
    let wanted = generic.iter();
    wanted.map(|(kind, count)| discrete(kind, *count)).collect()
}

fn discrete(kind: &str, count: u64) -> Value {
    json!({"DiscreteResourceSpec": {"Kind": kind, "Value": count}})
}

//! Why tasks are where they are, in the words of `service explain` and `node explain`.

use crate::human::binary_size;
use crate::view::{NodeView, View};
use anyhow::Result;
use skep_proto::{id, pb};
use skep_types::{ByteCount, NanoCpus, NodeDescription, NodeId};
use std::collections::BTreeMap;

/// Whether one more task would be taken.
pub fn verdict(of: &pb::Verdict) -> &'static str {
    match of.fit() {
        pb::Fit::Next => "next",
        pb::Fit::Fits => "fits",
        pb::Fit::Serves => "serves",
        pb::Fit::Unfit => "no",
    }
}

/// What a node has given away: `1.5 of 4 CPUs and 2GiB of 7.7GiB reserved, 1 of 2 gpu, 3
/// tasks; 0.5 CPUs and 512MiB kept for the system`.
fn in_use(node: &NodeView, given: &pb::NodeUse) -> String {
    let has = &node.node.description;
    let (NanoCpus(total_cpus), ByteCount(total_memory)) = has.for_tasks();
    let cpus = |nano: u64| nano as f64 / 1e9;
    let tasks = match given.tasks {
        1 => "1 task".to_owned(),
        n => format!("{n} tasks"),
    };
    let mut kinds = String::new();
    for (kind, has) in &has.generic {
        let given = given.generic.get(kind).copied().unwrap_or_default();
        kinds += &format!("{given} of {} {kind}, ", has.amount());
    }
    let mut text = format!(
        "{} of {} CPUs and {} of {} reserved, {kinds}{tasks}",
        cpus(given.cpu_reserved_nano),
        cpus(total_cpus),
        binary_size(given.memory_reserved_bytes),
        binary_size(total_memory),
    );
    if let Some(kept) = kept(has) {
        text += &format!("; {kept} kept for the system");
    }
    text
}

/// What a node keeps for itself: `0.5 CPUs and 512MiB`.
pub fn kept(node: &NodeDescription) -> Option<String> {
    let cpus = format!("{} CPUs", node.reserved_cpus.0 as f64 / 1e9);
    let memory = binary_size(node.reserved_memory.0);
    match (node.reserved_cpus.0, node.reserved_memory.0) {
        (0, 0) => None,
        (_, 0) => Some(cpus),
        (0, _) => Some(memory),
        _ => Some(format!("{cpus} and {memory}")),
    }
}

/// What the nodes in question have given away.
///
/// # Errors
/// When the manager answered with something that is no id.
pub fn uses(view: &View) -> Result<BTreeMap<NodeId, String>> {
    let mut uses = BTreeMap::new();
    for given in &view.explained.nodes {
        let of: NodeId = id(&given.node, "explained.nodes")?;
        if let Some(node) = view.nodes.get(&of) {
            uses.insert(of, in_use(node, given));
        }
    }
    Ok(uses)
}

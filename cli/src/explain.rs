//! Why tasks are where they are, in the words of `service explain` and `node explain`.

use crate::human::binary_size;
use crate::view::{NodeView, View};
use anyhow::Result;
use skep_proto::{id, pb};
use skep_types::NodeId;
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

/// What a node has given away: `1.5 of 4 CPUs and 2GiB of 7.7GiB reserved, 3 tasks`.
fn in_use(node: &NodeView, given: &pb::NodeUse) -> String {
    let has = &node.node.description;
    let cpus = |nano: u64| nano as f64 / 1e9;
    let tasks = match given.tasks {
        1 => "1 task".to_owned(),
        n => format!("{n} tasks"),
    };
    format!(
        "{} of {} CPUs and {} of {} reserved, {tasks}",
        cpus(given.cpu_reserved_nano),
        cpus(has.cpus.0),
        binary_size(given.memory_reserved_bytes),
        binary_size(has.memory.0),
    )
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

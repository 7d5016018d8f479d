//! What is against a node, in words and with the numbers.

use super::filter::{Filters, Refusal};
use super::fleet::{At, Fleet};
use super::skew::Broken;
use skep_types::{
    Availability, ByteCount, GenericResource, NanoCpus, Node, NodeState, Platform, SpreadLabel,
    TaskSpec,
};

/// Why a node does not take a task, with the numbers.
pub(super) fn describe(
    refusal: Refusal,
    filters: &Filters,
    spec: &TaskSpec,
    fleet: &Fleet,
    at: At,
) -> String {
    let node = fleet.node(at);
    match refusal {
        Refusal::NotReady => match (node.node.status.state, node.node.spec.availability) {
            (NodeState::Ready, Availability::Drain) => "it is drained".to_owned(),
            (NodeState::Ready, _) => "it is paused".to_owned(),
            (NodeState::Down, _) => "it is down".to_owned(),
            (_, _) => "it has not been heard yet".to_owned(),
        },
        Refusal::Resources => {
            let (cpu, memory) = node.free();
            let total = node.node.description.for_tasks();
            let kept = &node.node.description;
            let mut lacks = Vec::new();
            if spec.resources.cpu_reservation > cpu {
                let needs = cpus(spec.resources.cpu_reservation);
                let (free, total) = (cpus(cpu), cpus(total.0));
                let kept = kept_for_the_system(kept.reserved_cpus.0, cpus(kept.reserved_cpus));
                lacks.push(format!(
                    "needs {needs} CPUs, {free} of {total} are free{kept}"
                ));
            }
            if spec.resources.memory_reservation > memory {
                let needs = bytes(spec.resources.memory_reservation);
                let (free, total) = (bytes(memory), bytes(total.1));
                let kept = kept_for_the_system(kept.reserved_memory.0, bytes(kept.reserved_memory));
                lacks.push(format!(
                    "needs {needs} of memory, {free} of {total} are free{kept}"
                ));
            }
            for (kind, needs) in &spec.resources.generic {
                let left = node.left_of(kind);
                let total = node.node.description.generic.get(kind);
                match total.map_or(0, GenericResource::amount) {
                    _ if *needs <= left => {}
                    0 => lacks.push(format!("needs {needs} {kind}, it has none")),
                    total => {
                        lacks.push(format!("needs {needs} {kind}, {left} of {total} are free"));
                    }
                }
            }
            lacks.join("; ")
        }
        Refusal::Constraints => {
            let broken: Vec<String> = filters.broken_constraints(&node.node).collect();
            format!("does not satisfy {}", broken.join(" and "))
        }
        Refusal::Platform => {
            let wanted: Vec<String> = spec
                .placement
                .platforms
                .iter()
                .map(Platform::to_string)
                .collect();
            let is = &node.node.description.platform;
            let is = match is == &Platform::default() {
                true => "has not said what it is".to_owned(),
                false => format!("is {is}"),
            };
            format!("{is}, and the image is for {}", wanted.join(", "))
        }
        Refusal::VolumeDriver => format!("does not have {}", filters.foreign_volumes()),
        Refusal::HostPort => {
            let taken = filters.ports.iter().filter(|port| node.has_port(**port));
            let taken: Vec<String> = taken
                .map(|(protocol, port)| format!("{port}/{protocol}"))
                .collect();
            format!("host port {} is taken", taken.join(", "))
        }
        Refusal::MaxReplicas => format!(
            "has {} of at most {} tasks of the service",
            node.of_limit, spec.placement.max_replicas_per_node
        ),
        Refusal::Skew => match fleet.skew.broken(at) {
            Some(broken) => skewed(broken, filters, &node.node),
            None => String::new(),
        },
    }
}

fn skewed(broken: Broken, filters: &Filters, node: &Node) -> String {
    let level = match broken {
        Broken::Unlabelled(level) | Broken::Bound { level, .. } => level,
    };
    let Some((spread, label)) = filters.spread.iter().zip(filters.labels()).nth(level) else {
        return String::new();
    };
    let (name, value) = (name(label), label.on(node));
    let most = spread.max_skew.unwrap_or_default();
    match broken {
        Broken::Unlabelled(_) => {
            format!("has no label {name} to spread over, with a max skew of {most}")
        }
        Broken::Bound { has, least, .. } => {
            let more = has.saturating_add(1) - least;
            format!("{name}={value} would have {more} more than another, with a max skew of {most}")
        }
    }
}

/// The name of a label.
pub(super) fn name<'s>(label: SpreadLabel<'s>) -> &'s str {
    match label {
        SpreadLabel::Node(name) | SpreadLabel::Engine(name) => name,
    }
}

/// ` (0.5 kept for the system)`
fn kept_for_the_system(kept: u64, text: String) -> String {
    match kept {
        0 => String::new(),
        _ => format!(" ({text} kept for the system)"),
    }
}

/// `1.5`
fn cpus(NanoCpus(nano): NanoCpus) -> String {
    let text = format!("{:.3}", nano as f64 / 1e9);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// `1.5 GiB`
fn bytes(ByteCount(bytes): ByteCount) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut unit) = (bytes as f64, 0);
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let text = format!("{value:.1}");
    format!("{} {}", text.trim_end_matches(".0"), UNITS[unit])
}

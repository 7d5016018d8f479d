//! Whether a node may run a task, and why not, in Swarm's words.

use super::fleet::{Fleet, FleetNode};
use skep_manager_store::{HostPort, host_ports};
use skep_types::constraint::Constraint;
use skep_types::{
    Mount, MountKind, Node, Placement, Platform, Resources, Service, Spread, SpreadLabel, TaskSpec,
    UpdateOrder, UpdateState,
};
use std::collections::{BTreeMap, BTreeSet};

/// Why a node may not run a task: the first filter it fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Refusal {
    NotReady,
    Resources,
    Constraints,
    Platform,
    VolumeDriver,
    HostPort,
    MaxReplicas,
    /// Of the branches of a bounded spread (see [`super::skew`]), not of the node alone.
    Skew,
}

/// The filters of one task template, read once.
pub(super) struct Filters {
    pub(super) resources: Resources,
    pub(super) ports: Vec<HostPort>,
    /// The update under way, or the next one, starts the new task first.
    pub(super) surges: bool,
    /// The labels to spread over.
    pub(super) spread: Vec<Spread>,
    constraints: Vec<Constraint>,
    /// Constraints that cannot be read hold nowhere.
    unreadable: Vec<String>,
    max_replicas: u32,
    platforms: Vec<Platform>,
    /// Named volumes that no node can make: it would be another volume that it runs on.
    foreign_volumes: BTreeSet<String>,
}

impl Filters {
    pub(super) fn new(service: &Service, spec: &TaskSpec, placement: &Placement) -> Filters {
        let (mut constraints, mut unreadable) = (Vec::new(), Vec::new());
        for text in &placement.constraints {
            match Constraint::parse(text) {
                Ok(constraint) => constraints.push(constraint),
                Err(_) => unreadable.push(text.clone()),
            }
        }
        // What is no label is ignored, as Swarm does.
        let labels = placement.spread.iter().filter(|s| s.label().is_some());
        Filters {
            resources: spec.resources.clone(),
            ports: host_ports(service),
            surges: order(service) == UpdateOrder::StartFirst,
            spread: labels.cloned().collect(),
            constraints,
            unreadable,
            max_replicas: placement.max_replicas_per_node,
            platforms: placement.platforms.clone(),
            foreign_volumes: foreign_volumes(&spec.container.mounts),
        }
    }

    pub(super) fn check(&self, node: &FleetNode) -> Result<(), Refusal> {
        match self.refusals(node).next() {
            Some(refusal) => Err(refusal),
            None => Ok(()),
        }
    }

    /// The labels to spread over, outermost first.
    pub(super) fn labels(&self) -> impl Iterator<Item = SpreadLabel<'_>> {
        self.spread.iter().filter_map(Spread::label)
    }

    /// It could take a task if there was room for it.
    pub(super) fn suits(&self, node: &FleetNode) -> bool {
        let of_its_own = [Refusal::NotReady, Refusal::Constraints, Refusal::Platform];
        !of_its_own.iter().any(|it| self.refuses(*it, node))
    }

    /// The node may take no new task, and this one was there before.
    pub(super) fn check_again(&self, node: &FleetNode) -> Result<(), Refusal> {
        let counts = |refusal: &Refusal| *refusal != Refusal::NotReady || !node.keeps_tasks;
        match self.refusals(node).find(counts) {
            Some(refusal) => Err(refusal),
            None => Ok(()),
        }
    }

    /// All that is against a node itself, in the order of the filters.
    pub(super) fn refusals(&self, node: &FleetNode) -> impl Iterator<Item = Refusal> {
        let all = [
            Refusal::NotReady,
            Refusal::Resources,
            Refusal::Constraints,
            Refusal::Platform,
            Refusal::VolumeDriver,
            Refusal::HostPort,
            Refusal::MaxReplicas,
        ];
        all.into_iter()
            .filter(move |refusal| self.refuses(*refusal, node))
    }

    fn refuses(&self, refusal: Refusal, node: &FleetNode) -> bool {
        match refusal {
            Refusal::NotReady => !node.takes_tasks,
            Refusal::Resources => !node.has_room(&self.resources),
            Refusal::Constraints => {
                !self.unreadable.is_empty() || !self.constraints.iter().all(|c| c.holds(&node.node))
            }
            Refusal::Platform => {
                !Platform::any_accepts(&self.platforms, &node.node.description.platform)
            }
            Refusal::VolumeDriver => !self.foreign_volumes.is_empty(),
            Refusal::HostPort => self.ports.iter().any(|port| node.has_port(*port)),
            Refusal::MaxReplicas => self.max_replicas != 0 && node.of_limit >= self.max_replicas,
            Refusal::Skew => false,
        }
    }

    /// What its volumes need, in words.
    pub(super) fn foreign_volumes(&self) -> String {
        let all: Vec<&str> = self.foreign_volumes.iter().map(String::as_str).collect();
        all.join(", ")
    }

    /// The constraints that a node does not satisfy.
    pub(super) fn broken_constraints(&self, node: &Node) -> impl Iterator<Item = String> {
        let broken = self.constraints.iter().filter(|c| !c.holds(node));
        let broken = broken.map(Constraint::to_string);
        self.unreadable.iter().cloned().chain(broken)
    }
}

/// Of a driver other than `local`, or with options: nodes have neither yet.
fn foreign_volumes(mounts: &[Mount]) -> BTreeSet<String> {
    let named = mounts.iter().filter_map(|mount| match &mount.kind {
        MountKind::Volume {
            driver, options, ..
        } => match driver.as_str() {
            "" | "local" if options.is_empty() => None,
            "" | "local" => Some("options of volumes".to_owned()),
            driver => Some(format!("the volume driver {driver}")),
        },
        MountKind::Bind { .. } | MountKind::Tmpfs { .. } => None,
    });
    named.collect()
}

/// The order in force: a rollback has its own.
fn order(service: &Service) -> UpdateOrder {
    let rollback = service.update_status.as_ref().is_some_and(|status| {
        matches!(
            status.state,
            UpdateState::RollbackStarted | UpdateState::RollbackPaused
        )
    });
    match rollback {
        true => service.spec.rollback.order,
        false => service.spec.update.order,
    }
}

/// Why no node at all will do.
pub(super) fn explain_all(fleet: &Fleet, filters: &Filters) -> String {
    let mut counts: BTreeMap<Refusal, usize> = BTreeMap::new();
    for (at, _) in fleet.nodes() {
        if let Some(refusal) = fleet.refusals(at, filters).next() {
            *counts.entry(refusal).or_default() += 1;
        }
    }
    let mut counts: Vec<(Refusal, usize)> = counts.into_iter().collect();
    counts.sort_by_key(|(refusal, count)| (std::cmp::Reverse(*count), *refusal));
    if counts.is_empty() {
        return "no suitable node".to_owned();
    }
    explain(&counts)
}

/// The commonest reason first.
pub(super) fn explain(counts: &[(Refusal, usize)]) -> String {
    let reasons: Vec<String> = counts
        .iter()
        .map(|(refusal, count)| match (refusal, count) {
            (Refusal::NotReady, 1) => "1 node not available for new tasks".to_owned(),
            (Refusal::NotReady, n) => format!("{n} nodes not available for new tasks"),
            (Refusal::Resources, n) => format!("insufficient resources on {}", nodes(*n)),
            (Refusal::Constraints, n) => {
                format!("scheduling constraints not satisfied on {}", nodes(*n))
            }
            (Refusal::Platform, n) => format!("unsupported platform on {}", nodes(*n)),
            (Refusal::VolumeDriver, n) => format!("missing volume driver on {}", nodes(*n)),
            (Refusal::HostPort, n) => format!("host-mode port already in use on {}", nodes(*n)),
            (Refusal::MaxReplicas, _) => "max replicas per node limit exceed".to_owned(),
            (Refusal::Skew, n) => format!("max skew exceeded on {}", nodes(*n)),
        })
        .collect();
    format!("no suitable node ({})", reasons.join("; "))
}

fn nodes(count: usize) -> String {
    match count {
        1 => "1 node".to_owned(),
        n => format!("{n} nodes"),
    }
}

//! Which tasks have to be replaced so that all are as their service says now.
//!
//! Not every change of a template is one for its tasks: those that run what they
//! would run anyway, on a node where they may be, stay.

use crate::draft::{Nodes, Work};
use skep_types::constraint::Constraint;
use skep_types::{Node, Placement, Service, TaskId, TaskSpec, Version};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The tasks of a service beside its present template.
pub(crate) struct Current<'a> {
    service: &'a Arc<Service>,
    /// Versions of the template that run something else.
    other: BTreeSet<Version>,
    /// Tasks that run the same, on nodes that the constraints and platforms allowed before
    /// they were changed, and no longer do.
    outgrown: BTreeSet<TaskId>,
}

impl<'a> Current<'a> {
    pub(crate) fn new(
        nodes: &Nodes<'_>,
        service: &'a Arc<Service>,
        tasks: &[Work<'_>],
    ) -> Current<'a> {
        let present = &service.spec.task;
        let mut allowed = Allowed::default();
        let mut runs_other: BTreeMap<Version, bool> = BTreeMap::new();
        let mut outgrown = BTreeSet::new();
        for task in tasks {
            // Most tasks are of the present version.
            if task.spec_version == service.spec_version {
                continue;
            }
            // Another version may mean the same: a rollback brings an old one back.
            let other = *runs_other
                .entry(task.spec_version)
                .or_insert_with(|| !task.spec.runs_like(present));
            let (then, now) = (&task.spec.placement, &present.placement);
            let alike = then.constraints == now.constraints && then.platforms == now.platforms;
            if other || alike {
                continue;
            }
            let Some(node) = task.node.and_then(|node| nodes.get(node)) else {
                continue;
            };
            if !allowed.on(node.node, service.spec_version, present)
                && allowed.on(node.node, task.spec_version, task.spec)
            {
                outgrown.insert(task.id);
            }
        }
        let other = runs_other
            .into_iter()
            .filter_map(|(version, other)| other.then_some(version))
            .collect();
        Current {
            service,
            other,
            outgrown,
        }
    }

    /// Some task may have to be replaced.
    pub(crate) fn has_outdated(&self) -> bool {
        !self.other.is_empty() || !self.outgrown.is_empty()
    }

    /// A task made now would run something else, or elsewhere.
    pub(crate) fn is_outdated(&self, task: &Work<'_>) -> bool {
        self.runs_other(task) || self.outgrown.contains(&task.id)
    }

    /// A task made now would run something else.
    pub(crate) fn runs_other(&self, task: &Work<'_>) -> bool {
        task.spec_version != self.service.spec_version && self.other.contains(&task.spec_version)
    }

    /// The version under which the task counts: the present one for all that run the same.
    pub(crate) fn version_of(&self, task: &Work<'_>) -> Version {
        match self.runs_other(task) {
            true => task.spec_version,
            false => self.service.spec_version,
        }
    }

    /// Where a task may go that still has to: what was said of that last holds, unless
    /// the task is of another template than the service has now. Of a job it holds for all:
    /// the nodes that a run is for are chosen by it.
    pub(crate) fn placement_of<'t>(&'t self, task: &Work<'t>) -> &'t Placement {
        match self.runs_other(task) && task.run == 0 {
            true => &task.spec.placement,
            false => &self.service.spec.task.placement,
        }
    }
}

/// Which nodes the placements of the templates of one service allow, each read once.
#[derive(Default)]
pub(crate) struct Allowed {
    read: BTreeMap<Version, Vec<Constraint>>,
}

impl Allowed {
    /// A task of this template may stay on that node. What cannot be read moves nobody.
    pub(crate) fn on(&mut self, node: &Node, version: Version, template: &TaskSpec) -> bool {
        let placement = &template.placement;
        let texts = &placement.constraints;
        let runs = placement.runs_on(&node.description.platform);
        let allowed = texts.is_empty()
            || self
                .read
                .entry(version)
                .or_insert_with(|| texts.iter().flat_map(|t| Constraint::parse(t)).collect())
                .iter()
                .all(|constraint| constraint.holds(node));
        runs && allowed
    }
}

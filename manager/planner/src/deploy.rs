//! What a deploy of a stack changes, as one action: networks made, contents brought up to
//! date, services removed, updated and made, the rest removed, in this order. A port that a
//! removed service had can so be another's, and a service finds what it refers to.
//!
//! Owns what follows from the spec and from what is there. That the spec is one is
//! `validate::validate_stack`'s; that nothing or all is done, the store's.

mod data;
mod services;

use crate::ids::IdSource;
use skep_manager_store::validate::validate_network;
use skep_manager_store::{
    Action, NetworkAction, Refused, ServiceAction, Snapshot, StackAction, StackPart, Store,
};
use skep_types::stack::Ids;
use skep_types::{Labels, NetworkId, STACK_LABEL, StackSpec, Timestamp, Version};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// How a stack is deployed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DeployOptions {
    /// What is of the stack and not in its spec any more is removed.
    pub prune: bool,
    /// A service whose file does not say how many tasks it has gets one again, instead
    /// of keeping what it has.
    pub reset_scale: bool,
    /// Number of the revision that it goes back to.
    pub returns_to: Option<u64>,
}

/// What speaks against a deploy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Kind of the object.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// What is wrong with it, and what to do.
    pub why: String,
}

impl Fault {
    fn new(kind: &'static str, name: &str, why: impl ToString) -> Fault {
        Fault {
            kind,
            name: name.to_owned(),
            why: why.to_string(),
        }
    }
}

impl std::error::Error for Fault {}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.kind, self.name, self.why)
    }
}

/// What deploys the stack.
///
/// # Errors
/// All that speaks against it.
pub fn deploy(
    snapshot: &Snapshot,
    now: Timestamp,
    spec: &StackSpec,
    how: DeployOptions,
    ids: &mut IdSource,
) -> Result<StackAction, Vec<Fault>> {
    let present = snapshot.stack_named(&spec.name);
    let mut draft = Draft::new(snapshot, now, &spec.name, ids);
    if let Some(present) = present.filter(|present| present.spec.name != spec.name) {
        let why = format!("a stack is named '{}' already", present.spec.name);
        draft.fault("stack", &spec.name, why);
    }
    let mut kept = spec.clone();
    let known = Ids {
        networks: draft.networks(spec),
        secrets: data::secrets(&mut draft, &mut kept.secrets),
        configs: data::configs(&mut draft, &mut kept.configs),
    };
    if how.prune {
        draft.prune_services(spec);
    }
    draft.services(spec, &known, how);
    for (kind, name, part) in std::mem::take(&mut draft.last) {
        draft.part(kind, &name, part);
    }
    let mut leaving = Vec::new();
    if how.prune {
        data::prune_secrets(&mut draft, &kept.secrets);
        data::prune_configs(&mut draft, &kept.configs);
        leaving = draft.leaving(&known);
    }
    let Draft { parts, faults, .. } = draft;
    if !faults.is_empty() {
        return Err(faults);
    }
    Ok(StackAction::Apply {
        id: present.map_or_else(|| ids.stack(), |present| present.id),
        version: present.map(|present| present.meta.version),
        spec: Arc::new(kept),
        returns_to: how.returns_to,
        leaving,
        parts,
    })
}

/// What removes a stack with all that bears its label; `None` where there is nothing.
///
/// # Errors
/// What speaks against it: somebody else uses what is the stack's.
pub fn remove(
    snapshot: &Snapshot,
    now: Timestamp,
    name: &str,
) -> Result<Option<StackAction>, Refused> {
    let present = snapshot.stack_named(name).filter(|s| s.spec.name == name);
    let own = |labels: &Labels| labels.get(STACK_LABEL).is_some_and(|of| of == name);
    let services = snapshot.services().filter(|s| own(&s.spec.labels));
    let services = services.map(|s| StackPart::Service(ServiceAction::Remove { id: s.id }));
    let mut parts: Vec<StackPart> = services.collect();
    parts.extend(data::remove(snapshot, own));
    let networks = snapshot.networks().filter(|n| own(&n.spec.labels));
    parts.extend(networks.map(|n| StackPart::Network(NetworkAction::Remove { id: n.id })));
    if present.is_none() && parts.is_empty() {
        return Ok(None);
    }
    let remove = StackAction::Remove {
        name: name.to_owned(),
        version: present.map(|present| present.meta.version),
        parts,
    };
    let mut scratch = Store::over(snapshot.clone());
    let version = Version(snapshot.version().0 + 1);
    let tried = scratch.apply(version, now, &[Action::Stack(remove.clone())]);
    match tried.into_result() {
        Ok(()) => Ok(Some(remove)),
        Err(Refused::Part { because, .. }) => Err(*because),
        Err(refused) => Err(refused),
    }
}

/// A deploy being worked out.
struct Draft<'a> {
    snapshot: &'a Snapshot,
    now: Timestamp,
    stack: &'a str,
    ids: &'a mut IdSource,
    /// The state with the parts so far: what comes is checked against it.
    scratch: Store,
    parts: Vec<StackPart>,
    /// Those that come once the services are as the stack has them.
    last: Vec<(&'static str, String, StackPart)>,
    faults: Vec<Fault>,
}

impl<'a> Draft<'a> {
    fn new(
        snapshot: &'a Snapshot,
        now: Timestamp,
        stack: &'a str,
        ids: &'a mut IdSource,
    ) -> Draft<'a> {
        Draft {
            snapshot,
            now,
            stack,
            ids,
            scratch: Store::over(snapshot.clone()),
            parts: Vec::new(),
            last: Vec::new(),
            faults: Vec::new(),
        }
    }

    fn fault(&mut self, kind: &'static str, name: &str, why: impl ToString) {
        self.faults.push(Fault::new(kind, name, why));
    }

    fn owns(&self, labels: &Labels) -> bool {
        labels.get(STACK_LABEL).is_some_and(|of| of == self.stack)
    }

    /// One that is there already must be the stack's: a deploy changes what it finds.
    fn require_own(&mut self, kind: &'static str, name: &str, labels: &Labels) -> bool {
        let conflict = self.conflict(kind, name, labels);
        let is_own = conflict.is_none();
        self.faults.extend(conflict);
        is_own
    }

    /// What is wrong with one of that name, unless it is the stack's.
    fn conflict(&self, kind: &'static str, name: &str, labels: &Labels) -> Option<Fault> {
        if self.owns(labels) {
            return None;
        }
        let whose = match labels.get(STACK_LABEL) {
            Some(other) => format!("part of the stack {other}"),
            None => format!("not part of the stack {}", self.stack),
        };
        let help = match kind {
            "service" => format!("remove it (skep service rm {name}), or rename the file's"),
            _ => format!(
                "to use it as it is, write `name: {name}` and `external: true` in the file; else \
                 give the file's another name"
            ),
        };
        let why = format!(
            "name conflicts with an existing object: one of that name exists and is {whose}; {help}"
        );
        Some(Fault::new(kind, name, why))
    }

    /// Tries a part on what the ones before it lead to.
    fn try_out(&mut self, part: &StackPart) -> Result<(), Refused> {
        let action = match part.clone() {
            StackPart::Service(action) => Action::Service(action),
            StackPart::Network(action) => Action::Network(action),
            StackPart::Secret(action) => Action::Secret(action),
            StackPart::Config(action) => Action::Config(action),
        };
        let version = self.version();
        self.scratch
            .apply(version, self.now, &[action])
            .into_result()
    }

    /// That of the state in which all is done.
    fn version(&self) -> Version {
        Version(self.snapshot.version().0 + 1)
    }

    /// Takes a part in, if nothing speaks against it.
    fn part(&mut self, kind: &'static str, name: &str, part: StackPart) -> bool {
        match self.try_out(&part) {
            Ok(()) => self.parts.push(part),
            Err(refused) => {
                self.fault(kind, name, refused);
                return false;
            }
        }
        true
    }

    /// The networks that it has, by name; those that are not there are made.
    fn networks(&mut self, spec: &StackSpec) -> BTreeMap<String, NetworkId> {
        let mut known = BTreeMap::new();
        for network in &spec.networks {
            let name = &network.name;
            let present = self.snapshot.network_named(name);
            let present = present.map(|n| (n.id, n.spec.labels.clone()));
            match present {
                Some((id, labels)) => {
                    if network.external || self.require_own("network", name, &labels) {
                        known.insert(name.clone(), id);
                    }
                }
                None if network.external => {
                    let why = format!(
                        "it is declared as external, but could not be found; make it before the \
                         stack is deployed: skep network create {name}"
                    );
                    self.fault("network", name, why);
                }
                None => {
                    if let Err(invalid) = validate_network(self.scratch.state(), &network.spec) {
                        self.fault("network", name, invalid);
                        continue;
                    }
                    let id = self.ids.network();
                    let spec = Box::new(network.spec.clone());
                    let part = StackPart::Network(NetworkAction::Create { id, spec });
                    if self.part("network", name, part) {
                        known.insert(name.clone(), id);
                    }
                }
            }
        }
        known
    }

    fn prune_services(&mut self, spec: &StackSpec) {
        let named: BTreeSet<String> = (spec.services.iter())
            .map(|service| service.spec.name.to_lowercase())
            .collect();
        let gone: Vec<_> = (self.snapshot.services())
            .filter(|service| self.owns(&service.spec.labels))
            .filter(|service| !named.contains(&service.spec.name.to_lowercase()))
            .map(|service| (service.id, service.spec.name.clone()))
            .collect();
        for (id, name) in gone {
            let part = StackPart::Service(ServiceAction::Remove { id });
            self.part("service", &name, part);
        }
    }

    /// Networks that are the stack's and that it has no more.
    fn leaving(&self, known: &Ids) -> Vec<NetworkId> {
        let has: BTreeSet<NetworkId> = known.networks.values().copied().collect();
        let networks = self.snapshot.networks();
        let own = networks.filter(|n| self.owns(&n.spec.labels) && !has.contains(&n.id));
        own.map(|network| network.id).collect()
    }
}

//! Services of a deploy. What counts is what they are to be once all of it is done: what one
//! gives up, such as a published port, another may take in the same deploy.

use super::{DeployOptions, Draft, Fault};
use skep_manager_store::validate::{Invalid, validate_service, validate_service_update};
use skep_manager_store::{Action, ServiceAction, Snapshot, StackPart, Store};
use skep_types::stack::Ids;
use skep_types::{Service, ServiceMode, ServiceSpec, StackService, StackSpec};
use std::sync::Arc;

/// A service that is made or brought up to date.
struct Change {
    /// What it is; `None` where it is made.
    present: Option<Arc<Service>>,
    /// What it is to be.
    spec: ServiceSpec,
}

impl Draft<'_> {
    /// All services. What speaks against one may be what another is until this deploy, which
    /// turns round who waits for whom: it is tried again after the others, and where they are
    /// in the way of each other, together with them.
    pub(super) fn services(&mut self, spec: &StackSpec, known: &Ids, how: DeployOptions) {
        let mut left: Vec<&Arc<StackService>> = spec.services.iter().collect();
        loop {
            let (faults, tried) = (self.faults.len(), left.len());
            left.retain(|service| match self.service(service, known, how) {
                Ok(()) => false,
                Err(fault) => {
                    self.faults.push(fault);
                    true
                }
            });
            let stuck = left.len() == tried;
            if left.is_empty() || stuck && !self.together(&mut left, known, how) {
                return;
            }
            self.faults.truncate(faults);
        }
    }

    /// Makes a service, or brings it up to date.
    fn service(
        &mut self,
        service: &StackService,
        known: &Ids,
        how: DeployOptions,
    ) -> Result<(), Fault> {
        let Some(change) = self.change(service, known, how)? else {
            return Ok(());
        };
        check(self.scratch.state(), &change)?;
        let part = StackPart::Service(match change.present {
            Some(present) => update(&present, change.spec),
            None => ServiceAction::Create {
                id: self.ids.service(),
                spec: Box::new(change.spec),
            },
        });
        let name = &service.spec.name;
        let tried = self.try_out(&part);
        tried.map_err(|refused| Fault::new("service", name, refused))?;
        self.parts.push(part);
        Ok(())
    }

    /// Updates those that are in the way of each other only as they are now, and takes them
    /// off the list; whether there are any.
    fn together(
        &mut self,
        left: &mut Vec<&Arc<StackService>>,
        known: &Ids,
        how: DeployOptions,
    ) -> bool {
        // What is made has nothing to give up.
        let mut fit: Vec<(ServiceAction, Change)> = (left.iter())
            .filter_map(|service| self.change(service, known, how).ok()?)
            .filter_map(|change| {
                let present = change.present.as_ref()?;
                Some((update(present, change.spec.clone()), change))
            })
            .collect();
        loop {
            let mut scratch = Store::over(self.scratch.snapshot());
            let (version, now, tried) = (self.version(), self.now, fit.len());
            fit.retain(|(action, _)| {
                let action = Action::Service(action.clone());
                scratch.apply(version, now, &[action]).into_result().is_ok()
            });
            fit.retain(|(_, change)| check(scratch.state(), change).is_ok());
            if fit.is_empty() {
                return false;
            }
            if fit.len() == tried {
                self.scratch = scratch;
                break;
            }
        }
        left.retain(|service| {
            let name = &service.spec.name;
            !fit.iter().any(|(_, change)| change.spec.name == *name)
        });
        let actions = fit.into_iter().map(|(action, _)| action);
        self.parts.extend(actions.map(StackPart::Service));
        true
    }

    /// What a service is to be; `None` where it is so already.
    fn change(
        &self,
        service: &StackService,
        known: &Ids,
        how: DeployOptions,
    ) -> Result<Option<Change>, Fault> {
        let name = &service.spec.name;
        let spec = match service.resolve(known) {
            Ok(spec) => spec,
            // What it refers to is at fault, and that was said.
            Err(_) if !self.faults.is_empty() => return Ok(None),
            Err(missing) => return Err(Fault::new("service", name, missing)),
        };
        let Some(present) = self.snapshot.service_named(name) else {
            let present = None;
            return Ok(Some(Change { present, spec }));
        };
        if let Some(conflict) = self.conflict("service", name, &present.spec.labels) {
            return Err(conflict);
        }
        // A way back is one to another spec, not to another load.
        let count_given = service.replicas_given && how.returns_to.is_none();
        let spec = wanted(spec, &present.spec, count_given || how.reset_scale);
        Ok((spec != present.spec).then(|| Change {
            present: Some(Arc::clone(present)),
            spec,
        }))
    }
}

fn update(present: &Service, spec: ServiceSpec) -> ServiceAction {
    ServiceAction::Update {
        id: present.id,
        version: present.meta.version,
        spec: Box::new(spec),
    }
}

/// Whether a service can be that in this state.
fn check(state: &Snapshot, change: &Change) -> Result<(), Fault> {
    let (name, spec) = (&change.spec.name, &change.spec);
    let checked = match &change.present {
        None => validate_service(state, spec),
        Some(present) => validate_service_update(state, present, spec),
    };
    checked.map_err(|invalid| {
        let why = match invalid {
            Invalid::ModeChanged => {
                format!("its mode cannot be changed: remove it first (skep service rm {name})")
            }
            other => other.to_string(),
        };
        Fault::new("service", name, why)
    })
}

/// What the file says, with what it does not say kept as it is.
fn wanted(mut spec: ServiceSpec, present: &ServiceSpec, count_given: bool) -> ServiceSpec {
    // A forced update stays done: going back would be another one.
    if spec.task.force_update != present.task.force_update {
        Arc::make_mut(&mut spec.task).force_update = present.task.force_update;
    }
    if count_given {
        return spec;
    }
    match (&mut spec.mode, present.mode) {
        (ServiceMode::Replicated { replicas }, ServiceMode::Replicated { replicas: now }) => {
            *replicas = now;
        }
        (
            ServiceMode::ReplicatedJob { completions, .. },
            ServiceMode::ReplicatedJob {
                completions: now, ..
            },
        ) => *completions = now,
        _ => {}
    }
    spec
}

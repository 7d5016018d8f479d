//! What a stack is, its services are, for as long as nobody changed them since; what it
//! names is there; and in the end nothing is left of what it had.

use super::Verdict;
use skep_manager_store::Snapshot;

pub(super) fn check(state: &Snapshot) -> Verdict {
    for stack in state.stacks() {
        let spec = &stack.spec;
        for (id, number) in &stack.services {
            let service = state.service(*id).filter(|s| s.revision.number == *number);
            let Some(service) = service else { continue };
            let name = &service.spec.name;
            let of = spec.services.iter().find(|of| of.spec.name == *name);
            let Some(of) = of else {
                return Err(format!("{name} was deployed with a stack that has it not"));
            };
            let image = &service.spec.task.container.image;
            if *image != of.spec.task.container.image || *image != *spec.source {
                return Err(format!("{name} has {image} in a deploy of {}", spec.source));
            }
        }
        let mut named = stack.specs().flat_map(|spec| &spec.secrets);
        let is_gone = |id| state.secret(id).is_none();
        if let Some(gone) = named.find(|secret| secret.kept().is_some_and(is_gone)) {
            return Err(format!("the content of {} is gone", gone.name));
        }
    }
    Ok(())
}

/// Once nothing changes any more.
pub(super) fn nothing_is_left(state: &Snapshot) -> Verdict {
    match state.networks_left().len() {
        0 => Ok(()),
        left => Err(format!("{left} networks that no stack has are still there")),
    }
}

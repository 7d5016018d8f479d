//! What a service uses, or used in a revision that it can go back to, and what its
//! tasks use, is there in the generation that is named.

use super::Verdict;
use skep_manager_store::Snapshot;
use skep_types::ContainerSpec;

pub(super) fn check(state: &Snapshot) -> Verdict {
    let there = |name: &str, container: &ContainerSpec| {
        let mut secrets = container.secrets.iter();
        match secrets.find(|secret| state.secret(secret.id).is_none()) {
            Some(gone) => Err(format!("{name} uses secret {}, which is gone", gone.id)),
            None => Ok(()),
        }
    };
    for service in state.services() {
        there(&service.spec.name, &service.spec.task.container)?;
        for past in &service.past {
            let name = format!("revision {} of {}", past.revision.number, past.spec.name);
            there(&name, &past.spec.task.container)?;
        }
    }
    for task in state.tasks().filter(|task| task.is_live()) {
        there(&task.name(), &task.spec.container)?;
    }
    Ok(())
}

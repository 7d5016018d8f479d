//! A service never has more live tasks than its replicas and what a
//! start-first update adds; a slot has one live task of a template. A run of a job
//! has one of them a place.

use super::Verdict;
use skep_manager_store::Snapshot;
use skep_types::{Service, ServiceMode, Slot, UpdateOrder};
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn check(state: &Snapshot) -> Verdict {
    for service in state.services() {
        let live = || state.tasks_of(service.id).filter(|task| task.is_live());
        let wanted = match service.spec.mode {
            ServiceMode::Replicated { replicas } => replicas as usize,
            ServiceMode::Global => state.node_count(),
            ServiceMode::ReplicatedJob { .. } | ServiceMode::GlobalJob => {
                runs_are_not_doubled(state, service)?;
                continue;
            }
        };
        // Which of the two orders is in force changes with a rollback.
        let surge = [&service.spec.update, &service.spec.rollback]
            .into_iter()
            .filter(|config| config.order == UpdateOrder::StartFirst)
            .map(|config| match config.parallelism {
                0 => wanted,
                parallelism => parallelism as usize,
            })
            .max()
            .unwrap_or(0);
        // An update that was paused or overtaken keeps what it had begun.
        let surge = if surge == 0 { 0 } else { wanted.max(surge) };
        let count = live().count();
        if count > wanted + surge {
            return Err(format!(
                "{} has {count} live tasks, wants {wanted} and may surge by {surge}",
                service.spec.name
            ));
        }
        let mut seen = BTreeSet::new();
        for task in live() {
            let place = (task.slot, (task.slot.0 == 0).then_some(task.node));
            if !seen.insert((place, task.spec_version)) {
                return Err(format!("{} is there twice", task.name()));
            }
        }
    }
    for task in state.tasks() {
        if state.service(task.service).is_none() && task.is_live() {
            return Err(format!("{} outlives its service", task.name()));
        }
    }
    Ok(())
}

fn runs_are_not_doubled(state: &Snapshot, service: &Service) -> Verdict {
    let mut live: BTreeMap<u64, BTreeSet<_>> = BTreeMap::new();
    for task in state.tasks_of(service.id).filter(|task| task.is_live()) {
        let place = (task.slot, task.node.filter(|_| task.slot == Slot(0)));
        if !live.entry(task.run).or_default().insert(place) {
            return Err(format!(
                "{} is there twice in run {}",
                task.name(),
                task.run
            ));
        }
    }
    Ok(())
}

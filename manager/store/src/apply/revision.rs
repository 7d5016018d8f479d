//! How a service goes from one revision to the next, and what changes within one.

use skep_types::revision::PAST_MAX;
use skep_types::{
    Labels, PastRevision, Revision, RevisionOutcome, Service, ServiceSpec, Timestamp,
};
use std::sync::Arc;

/// A new revision, after its spec was set. `rolling`: the one before was not rolled
/// out whole.
pub(super) fn next(
    present: &Service,
    service: &mut Service,
    rolling: bool,
    returns_to: Option<u64>,
    now: Timestamp,
) {
    let outcome = match rolling {
        true => RevisionOutcome::Superseded,
        false => RevisionOutcome::Completed,
    };
    service.past.push(PastRevision {
        revision: Revision {
            // Of the service as this change found it, but for a failure that led to it.
            outcome: service.revision.outcome.or(Some(outcome)),
            ..present.revision
        },
        spec: present.spec.clone(),
    });
    service.revision = Revision {
        number: present.revision.number + 1,
        made_at: now,
        returns_to,
        outcome: None,
    };
    while service.past.len() > PAST_MAX {
        // The way back stays, however many have failed since.
        let good = service.last_good().map(|past| past.revision.number);
        let is_good = service.past.first().map(|past| past.revision.number) == good;
        service.past.remove(usize::from(is_good));
    }
}

/// What is changed within a revision is of none: it stays as it is now whichever one
/// the service goes back to.
pub(super) fn carry_over(service: &mut Service, old: &ServiceSpec) {
    let Service {
        spec: new, past, ..
    } = service;
    // Destructured, so that a new part has to be decided on here.
    let ServiceSpec {
        name: _,
        labels,
        mode: _,
        task,
        update,
        rollback,
        endpoint,
        job: _,
        rebalance: _,
        depends_on: _,
    } = new;
    for PastRevision { spec: past, .. } in past {
        carry_labels(&mut past.labels, &old.labels, labels);
        if task.placement != old.task.placement {
            Arc::make_mut(&mut past.task).placement = task.placement.clone();
        }
        if task.restart != old.task.restart {
            Arc::make_mut(&mut past.task).restart = task.restart.clone();
        }
        if *update != old.update {
            past.update = update.clone();
        }
        if *rollback != old.rollback {
            past.rollback = rollback.clone();
        }
        if *endpoint != old.endpoint {
            past.endpoint = endpoint.clone();
        }
    }
}

/// One by one: others may be of the revision.
fn carry_labels(past: &mut Labels, old: &Labels, new: &Labels) {
    for key in old.keys().filter(|key| !new.contains_key(*key)) {
        past.remove(key);
    }
    for (key, value) in new
        .iter()
        .filter(|(key, value)| old.get(*key) != Some(*value))
    {
        past.insert(key.clone(), value.clone());
    }
}

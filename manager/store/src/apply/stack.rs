//! Changes of stacks, all or nothing: their parts are applied to the state itself, and a
//! clone of what it was is put back where one is refused.

use super::{Write, changed, data, network, service};
use crate::action::{NetworkAction, StackAction, StackPart};
use crate::event::{EventAction, ObjectId};
use crate::refused::Refused;
use skep_types::revision::PAST_MAX;
use skep_types::{
    Config, NetworkId, PastStack, Revision, RevisionOutcome, Secret, ServiceId, Stack, StackId,
    StackSpec, Version,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub(super) fn apply(write: &mut Write<'_>, action: &StackAction) -> Result<(), Refused> {
    let (before, events) = (write.state.clone(), write.events.len());
    let done = match action {
        StackAction::Apply {
            id,
            version,
            spec,
            returns_to,
            leaving,
            parts,
        } => {
            let asked = Asked {
                id: *id,
                spec,
                returns_to: *returns_to,
                leaving,
            };
            deploy(write, *version, asked, parts)
        }
        StackAction::Remove {
            name,
            version,
            parts,
        } => remove(write, name, *version, parts),
    };
    if done.is_err() {
        *write.state = before;
        write.events.truncate(events);
    }
    done
}

/// What a deploy comes to.
struct Asked<'a> {
    id: StackId,
    spec: &'a Arc<StackSpec>,
    returns_to: Option<u64>,
    leaving: &'a [NetworkId],
}

fn deploy(
    write: &mut Write<'_>,
    version: Option<Version>,
    asked: Asked<'_>,
    parts: &[StackPart],
) -> Result<(), Refused> {
    let (object, name) = (ObjectId::Stack(asked.id), &asked.spec.name);
    let present = present(write, name, version)?;
    match &present {
        Some(present) if present.id != asked.id => {
            return Err(Refused::Stale {
                object,
                name: name.clone(),
            });
        }
        None if write.state.stack(asked.id).is_some() => return Err(Refused::IdTaken(object)),
        _ => {}
    }
    if asked.spec.brings_content() {
        return Err(Refused::BringsContent(name.clone()));
    }
    // Its services tell what has come of it before they are changed.
    let outcome = present.as_ref().map(|present| outcome(write, present));
    all(write, name, parts)?;
    require_kept(write, asked.spec)?;
    let deployed = deployed(write, asked.spec);
    let leaving = leaving(write, present.as_deref(), &asked);
    let mut attributes = Vec::new();
    let stack = match &present {
        None => Stack {
            id: asked.id,
            meta: write.created(),
            revision: Revision::first(write.now),
            spec: Arc::clone(asked.spec),
            past: Vec::new(),
            services: deployed,
            leaving,
        },
        Some(present) => {
            let mut stack = Stack::clone(present);
            if present.spec != *asked.spec {
                next(&mut stack, outcome, &asked, write.now);
            }
            stack.services = deployed;
            stack.leaving = leaving;
            if stack == **present {
                return Ok(());
            }
            stack.meta = write.touched(stack.meta);
            let keys = ("revision.old", "revision.new");
            let numbers = (&present.revision.number, &stack.revision.number);
            changed(&mut attributes, keys, numbers.0, numbers.1, u64::to_string);
            stack
        }
    };
    let event = match present {
        None => EventAction::Create,
        Some(_) => EventAction::Update,
    };
    write.state.put_stack(stack);
    write.event(object, event, name.clone(), attributes);
    Ok(())
}

fn remove(
    write: &mut Write<'_>,
    name: &str,
    version: Option<Version>,
    parts: &[StackPart],
) -> Result<(), Refused> {
    let Some(present) = present(write, name, version)? else {
        return all(write, name, parts);
    };
    // First: what only its revisions refer to goes with what is removed.
    write.state.drop_stack(present.id);
    all(write, name, parts)?;
    let left = present.leaving.iter().copied();
    let left: Vec<StackPart> = left
        .filter(|id| write.state.network(*id).is_some())
        .map(|id| StackPart::Network(NetworkAction::Remove { id }))
        .collect();
    all(write, name, &left)?;
    let object = ObjectId::Stack(present.id);
    write.event(object, EventAction::Remove, name.to_owned(), Vec::new());
    Ok(())
}

/// The stack of that name, if it is still what was read.
fn present(
    write: &Write<'_>,
    name: &str,
    version: Option<Version>,
) -> Result<Option<Arc<Stack>>, Refused> {
    let Some(present) = write.state.stack_named(name) else {
        return match version {
            None => Ok(None),
            Some(_) => Err(Refused::NoStack(name.to_owned())),
        };
    };
    if present.spec.name != name {
        return Err(Refused::NameTaken {
            kind: "stack",
            name: present.spec.name.clone(),
        });
    }
    let object = ObjectId::Stack(present.id);
    let version = version.ok_or_else(|| Refused::Stale {
        object,
        name: name.to_owned(),
    })?;
    write.require_fresh(present.meta, version, object, name)?;
    Ok(Some(Arc::clone(present)))
}

/// Applies the parts, up to the first that is refused.
fn all(write: &mut Write<'_>, stack: &str, parts: &[StackPart]) -> Result<(), Refused> {
    for part in parts {
        let done = match part {
            StackPart::Service(action) => service::apply(write, action),
            StackPart::Network(action) => network::apply(write, action),
            StackPart::Secret(action) => data::apply::<Secret>(write, action),
            StackPart::Config(action) => data::apply::<Config>(write, action),
        };
        done.map_err(|because| Refused::Part {
            stack: stack.to_owned(),
            because: Box::new(because),
        })?;
    }
    Ok(())
}

/// What a revision names must be there to go back to.
fn require_kept(write: &Write<'_>, spec: &StackSpec) -> Result<(), Refused> {
    // It was there when this was planned.
    let gone = |object| {
        Err(Refused::Part {
            stack: spec.name.clone(),
            because: Box::new(Refused::NotFound(object)),
        })
    };
    for id in spec.secrets.iter().filter_map(|data| data.kept()) {
        if write.state.secret(id).is_none() {
            return gone(ObjectId::Secret(id));
        }
    }
    for id in spec.configs.iter().filter_map(|data| data.kept()) {
        if write.state.config(id).is_none() {
            return gone(ObjectId::Config(id));
        }
    }
    Ok(())
}

/// The revision that each of its services has now.
fn deployed(write: &Write<'_>, spec: &StackSpec) -> BTreeMap<ServiceId, u64> {
    let services = spec.services.iter();
    let services = services.filter_map(|s| write.state.service_named(&s.spec.name));
    services.map(|s| (s.id, s.revision.number)).collect()
}

/// Networks that are still to go. One that is wanted again stays.
fn leaving(write: &Write<'_>, present: Option<&Stack>, asked: &Asked<'_>) -> Vec<NetworkId> {
    let wanted = asked.spec.networks.iter();
    let wanted = wanted.filter_map(|network| write.state.network_named(&network.name));
    let wanted: BTreeSet<NetworkId> = wanted.map(|network| network.id).collect();
    let before = present.map_or(&[][..], |present| &present.leaving);
    let leaving = before.iter().chain(asked.leaving).copied();
    let leaving: BTreeSet<NetworkId> = leaving
        .filter(|id| write.state.network(*id).is_some() && !wanted.contains(id))
        .collect();
    leaving.into_iter().collect()
}

/// What has come of the present revision, as its services have it; those that are gone
/// say nothing.
fn outcome(write: &Write<'_>, stack: &Stack) -> RevisionOutcome {
    let of = |(id, number): (&ServiceId, &u64)| {
        let service = write.state.service(*id)?;
        if service.revision.number != *number {
            return service.past_revision(*number)?.revision.outcome;
        }
        let unsaid = match service::is_rolling(write, service) {
            true => RevisionOutcome::Superseded,
            false => RevisionOutcome::Completed,
        };
        Some(service.revision.outcome.unwrap_or(unsaid))
    };
    let outcomes: Vec<RevisionOutcome> = stack.services.iter().filter_map(of).collect();
    let worst = [RevisionOutcome::Failed, RevisionOutcome::Superseded];
    let worst = worst.into_iter().find(|worst| outcomes.contains(worst));
    worst.unwrap_or(RevisionOutcome::Completed)
}

/// A new revision.
fn next(
    stack: &mut Stack,
    outcome: Option<RevisionOutcome>,
    asked: &Asked<'_>,
    now: skep_types::Timestamp,
) {
    stack.past.push(PastStack {
        revision: Revision {
            outcome,
            ..stack.revision
        },
        spec: Arc::clone(&stack.spec),
    });
    stack.spec = Arc::clone(asked.spec);
    stack.revision = Revision {
        number: stack.revision.number + 1,
        made_at: now,
        returns_to: asked.returns_to,
        outcome: None,
    };
    while stack.past.len() > PAST_MAX {
        // The way back stays, however many have failed since.
        let good = stack.last_good().map(|past| past.revision.number);
        let is_good = stack.past.first().map(|past| past.revision.number) == good;
        stack.past.remove(usize::from(is_good));
    }
}

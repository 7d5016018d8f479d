//! Changes of secrets and configs.

use super::{Write, changed, service};
use crate::action::DataAction;
use crate::data::Data;
use crate::event::EventAction;
use crate::refused::Refused;
use skep_types::{Labels, ServiceId};
use std::collections::BTreeSet;
use std::sync::Arc;

pub(super) fn apply<T: Data>(
    write: &mut Write<'_>,
    action: &DataAction<T::Id, T::Spec>,
) -> Result<(), Refused> {
    match action {
        DataAction::Create { id, spec } => create::<T>(write, *id, spec),
        DataAction::SetLabels {
            id,
            version,
            labels,
        } => {
            let mut object = T::clone(&*present::<T>(write, *id)?);
            require_fresh(write, &mut object, *version)?;
            set_labels(write, object, labels);
            Ok(())
        }
        DataAction::Rotate {
            id,
            version,
            new_id,
            spec,
            rollout,
        } => {
            let mut object = T::clone(&*present::<T>(write, *id)?);
            require_fresh(write, &mut object, *version)?;
            if T::name(object.spec()) != T::name(spec) {
                return Err(Refused::Renamed {
                    from: T::name(object.spec()).to_owned(),
                    to: T::name(spec).to_owned(),
                });
            }
            let newest = match T::same_content(object.spec(), spec) {
                true => {
                    let labels = T::labels(&mut T::Spec::clone(spec)).clone();
                    set_labels(write, object, &labels);
                    *id
                }
                false => {
                    follow(write, object, *new_id, spec)?;
                    *new_id
                }
            };
            if *rollout {
                roll_out::<T>(write, T::name(spec), newest);
            }
            Ok(())
        }
        DataAction::RollOut { id } => {
            let newest = present::<T>(write, *id)?;
            roll_out::<T>(write, T::name(newest.spec()), *id);
            Ok(())
        }
        DataAction::Remove { id } => remove::<T>(write, *id),
        DataAction::Collect { id } => collect::<T>(write, *id),
    }
}

fn create<T: Data>(write: &mut Write<'_>, id: T::Id, spec: &T::Spec) -> Result<(), Refused> {
    let object = T::object(id);
    let name = T::name(spec);
    if T::get(write.state, id).is_some() {
        return Err(Refused::IdTaken(object));
    }
    let bears = |other: &Arc<T>| other.superseded_at().is_none();
    if T::named(write.state, name).any(bears) {
        return Err(Refused::NameTaken {
            kind: object.kind(),
            name: name.to_owned(),
        });
    }
    let earlier = T::named(write.state, name).map(|other| other.generation());
    let generation = earlier.max().unwrap_or_default().saturating_add(1);
    let made = T::new(id, write.created(), spec.clone(), generation);
    write.event(object, EventAction::Create, name.to_owned(), Vec::new());
    T::put(write.state, made);
    Ok(())
}

/// The generation that bears the name.
fn present<T: Data>(write: &Write<'_>, id: T::Id) -> Result<Arc<T>, Refused> {
    let found = T::get(write.state, id).filter(|object| object.superseded_at().is_none());
    found.cloned().ok_or(Refused::NotFound(T::object(id)))
}

fn require_fresh<T: Data>(
    write: &Write<'_>,
    object: &mut T,
    version: skep_types::Version,
) -> Result<(), Refused> {
    let (meta, id) = (*object.meta(), T::object(object.id()));
    write.require_fresh(meta, version, id, T::name(object.spec()))
}

fn set_labels<T: Data>(write: &mut Write<'_>, mut object: T, labels: &Labels) {
    if T::labels(object.spec_mut()) == labels {
        // Every deploy of a stack sends them.
        return;
    }
    *T::labels(object.spec_mut()) = labels.clone();
    *object.meta() = write.touched(*object.meta());
    let (id, name) = (T::object(object.id()), T::name(object.spec()).to_owned());
    T::put(write.state, object);
    write.event(id, EventAction::Update, name, Vec::new());
}

/// Makes the next generation. It has an id, a version and times of its own.
fn follow<T: Data>(
    write: &mut Write<'_>,
    mut object: T,
    id: T::Id,
    spec: &T::Spec,
) -> Result<(), Refused> {
    if T::get(write.state, id).is_some() {
        return Err(Refused::IdTaken(T::object(id)));
    }
    let last = object.generation();
    // One that was removed may have counted on.
    let known = T::named(write.state, T::name(spec)).map(|other| other.generation());
    let generation = known.max().unwrap_or(last).saturating_add(1);
    object.supersede(write.now);
    *object.meta() = write.touched(*object.meta());
    T::put(write.state, object);
    let made = T::new(id, write.created(), spec.clone(), generation);
    T::put(write.state, made);
    let mut attributes = Vec::new();
    let keys = ("generation.old", "generation.new");
    changed(&mut attributes, keys, &last, &generation, u32::to_string);
    let name = T::name(spec).to_owned();
    write.event(T::object(id), EventAction::Update, name, attributes);
    Ok(())
}

/// Has every service that uses an earlier generation use the newest.
fn roll_out<T: Data>(write: &mut Write<'_>, name: &str, newest: T::Id) {
    let earlier = T::named(write.state, name).map(|object| object.id());
    let earlier: BTreeSet<T::Id> = earlier.filter(|id| *id != newest).collect();
    let users: Vec<ServiceId> = using::<T>(write, &earlier)
        .map(|service| service.id)
        .collect();
    for user in users {
        service::edit_task(write, user, |task| {
            for reference in T::references_mut(&mut task.container) {
                if earlier.contains(&reference.id) {
                    reference.id = newest;
                }
            }
        });
    }
}

/// Services whose present spec uses one of these.
fn using<'w, T: Data>(
    write: &'w Write<'_>,
    ids: &'w BTreeSet<T::Id>,
) -> impl Iterator<Item = &'w Arc<skep_types::Service>> {
    let services = write.state.services();
    services.filter(|service| T::is_used(&service.spec.task.container, ids))
}

/// Counted against the services' present specs, as Swarm does. Tasks keep what they
/// were given, and what earlier revisions need stays for a rollback.
fn remove<T: Data>(write: &mut Write<'_>, id: T::Id) -> Result<(), Refused> {
    let object = T::object(id);
    let newest = present::<T>(write, id)?;
    let name = T::name(newest.spec()).to_owned();
    let all: Vec<Arc<T>> = T::named(write.state, &name).cloned().collect();
    let ids: BTreeSet<T::Id> = all.iter().map(|object| object.id()).collect();
    let services = using::<T>(write, &ids).map(|service| service.spec.name.as_str());
    let services: Vec<&str> = services.collect();
    if !services.is_empty() {
        return Err(Refused::InUse {
            kind: object.kind(),
            name,
            services: services.join(", "),
        });
    }
    for generation in all {
        if !T::in_use(write.state, generation.id()) {
            T::drop(write.state, generation.id());
        } else if generation.superseded_at().is_none() {
            let mut generation = T::clone(&generation);
            generation.supersede(write.now);
            *generation.meta() = write.touched(*generation.meta());
            T::put(write.state, generation);
        }
    }
    write.event(object, EventAction::Remove, name, Vec::new());
    Ok(())
}

fn collect<T: Data>(write: &mut Write<'_>, id: T::Id) -> Result<(), Refused> {
    let object = T::object(id);
    let found = T::get(write.state, id).ok_or(Refused::NotFound(object))?;
    let (name, number) = (T::name(found.spec()).to_owned(), found.generation());
    if found.superseded_at().is_none() || T::in_use(write.state, id) {
        return Err(Refused::StillNeeded {
            kind: object.kind(),
            name,
            generation: number,
        });
    }
    T::drop(write.state, id);
    // What is removed was told of then.
    let bears = |object: &&Arc<T>| object.superseded_at().is_none();
    let newest = T::named(write.state, &name)
        .find(bears)
        .map(|object| object.id());
    if let Some(newest) = newest {
        let attributes = vec![("generation.collected", number.to_string())];
        write.event(T::object(newest), EventAction::Update, name, attributes);
    }
    Ok(())
}

//! What secrets and configs have in common: their generations, and what refers to them.

use crate::event::ObjectId;
use crate::snapshot::{Snapshot, fold};
use skep_types::{
    Config, ConfigId, ConfigSpec, ContainerSpec, FileReference, Labels, Meta, Secret, SecretId,
    SecretSpec, StackData, StackSpec, Timestamp,
};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

/// A spec refers to a generation that is not the newest, and did not do so before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Superseded {
    kind: &'static str,
    name: String,
    generation: u32,
    /// None once the name was removed.
    newest: Option<(u32, ObjectId)>,
}

impl std::error::Error for Superseded {}

impl fmt::Display for Superseded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Superseded {
            kind,
            name,
            generation,
            newest,
        } = self;
        write!(
            f,
            "generation {generation} of {kind} '{name}' is for what has it already: "
        )?;
        match newest {
            Some((newest, id)) => write!(f, "refer to generation {newest}, {id}"),
            None => write!(f, "the {kind} was removed; create it again"),
        }
    }
}

/// A secret or a config.
pub(crate) trait Data: Clone + 'static {
    type Id: Copy + Ord + 'static;
    type Spec: Clone;

    fn object(id: Self::Id) -> ObjectId;
    fn get(state: &Snapshot, id: Self::Id) -> Option<&Arc<Self>>;
    fn all(state: &Snapshot) -> impl Iterator<Item = &Arc<Self>>;
    fn put(state: &mut Snapshot, object: Self);
    fn drop(state: &mut Snapshot, id: Self::Id);
    fn references(container: &ContainerSpec) -> &[FileReference<Self::Id>];
    fn references_mut(container: &mut ContainerSpec) -> &mut [FileReference<Self::Id>];
    #[cfg_attr(not(debug_assertions), expect(dead_code))]
    fn of_stack(spec: &StackSpec) -> &[StackData<Self::Id>];

    fn new(id: Self::Id, meta: Meta, spec: Self::Spec, generation: u32) -> Self;
    fn id(&self) -> Self::Id;
    fn meta(&mut self) -> &mut Meta;
    fn name(spec: &Self::Spec) -> &str;
    fn labels(spec: &mut Self::Spec) -> &mut Labels;
    fn same_content(spec: &Self::Spec, other: &Self::Spec) -> bool;
    fn spec(&self) -> &Self::Spec;
    fn spec_mut(&mut self) -> &mut Self::Spec;
    fn generation(&self) -> u32;
    fn superseded_at(&self) -> Option<Timestamp>;
    fn supersede(&mut self, at: Timestamp);

    /// The generations that bear a name or once did.
    fn named<'a>(state: &'a Snapshot, name: &str) -> impl Iterator<Item = &'a Arc<Self>> {
        let name = fold(name);
        Self::all(state).filter(move |object| fold(Self::name(object.spec())) == name)
    }

    /// One of these is used by that container.
    fn is_used(container: &ContainerSpec, ids: &BTreeSet<Self::Id>) -> bool {
        let mut references = Self::references(container).iter();
        references.any(|reference| ids.contains(&reference.id))
    }

    /// What a new spec may not refer to: only the newest generation is given out anew, and
    /// what the present spec has goes on.
    fn require_newest(
        state: &Snapshot,
        container: &ContainerSpec,
        present: Option<&ContainerSpec>,
    ) -> Result<(), Superseded> {
        let kept = |id| {
            let mut kept = present.into_iter().flat_map(Self::references);
            kept.any(|reference| reference.id == id)
        };
        for reference in Self::references(container) {
            let found = Self::get(state, reference.id);
            let Some(found) = found.filter(|found| found.superseded_at().is_some()) else {
                continue;
            };
            if kept(reference.id) {
                continue;
            }
            let name = Self::name(found.spec());
            let newest = Self::named(state, name).find(|object| object.superseded_at().is_none());
            return Err(Superseded {
                kind: Self::object(reference.id).kind(),
                name: name.to_owned(),
                generation: found.generation(),
                newest: newest.map(|newest| (newest.generation(), Self::object(newest.id()))),
            });
        }
        Ok(())
    }

    /// A spec, an earlier revision, a task that is kept, or a stack refers to it.
    fn in_use(state: &Snapshot, id: Self::Id) -> bool;

    /// All that are in use, read from what refers to them.
    #[cfg(debug_assertions)]
    fn all_in_use(state: &Snapshot) -> BTreeSet<Self::Id> {
        // The templates are those of services and of all tasks.
        let templates = state.templates.values();
        let present = templates.map(|template| &template.spec.container);
        let past = state.services().flat_map(|service| &service.past);
        let past = past.map(|past| &past.spec.task.container);
        let used = present.chain(past).flat_map(Self::references);
        let stacks = state.stacks().flat_map(|stack| stack.specs());
        let kept = stacks
            .flat_map(|spec| Self::of_stack(spec))
            .filter_map(StackData::kept);
        used.map(|reference| reference.id).chain(kept).collect()
    }

    /// Superseded generations that nothing refers to.
    fn unused(state: &Snapshot) -> Vec<Self::Id> {
        let superseded = Self::all(state).filter(|object| object.superseded_at().is_some());
        let superseded = superseded.map(|object| object.id());
        let unused: Vec<_> = superseded.filter(|id| !Self::in_use(state, *id)).collect();
        #[cfg(debug_assertions)]
        {
            let in_use = Self::all_in_use(state);
            let is_used = |object: &Arc<Self>| in_use.contains(&object.id());
            let counted = |object: &Arc<Self>| Self::in_use(state, object.id());
            assert!(Self::all(state).all(|object| is_used(object) == counted(object)));
        }
        unused
    }
}

impl Snapshot {
    /// Superseded generations of secrets that nothing refers to any more.
    pub fn unused_secrets(&self) -> Vec<SecretId> {
        Secret::unused(self)
    }

    /// Superseded generations of configs that nothing refers to any more.
    pub fn unused_configs(&self) -> Vec<ConfigId> {
        Config::unused(self)
    }
}

macro_rules! data {
    ($object:ident, $id:ident, $spec:ident, $one:ident, $all:ident, $put:ident, $drop:ident) => {
        impl Data for $object {
            type Id = $id;
            type Spec = $spec;

            fn object(id: $id) -> ObjectId {
                ObjectId::$object(id)
            }
            fn get(state: &Snapshot, id: $id) -> Option<&Arc<Self>> {
                state.$one(id)
            }
            fn all(state: &Snapshot) -> impl Iterator<Item = &Arc<Self>> {
                state.$all()
            }
            fn put(state: &mut Snapshot, object: Self) {
                state.$put(object);
            }
            fn drop(state: &mut Snapshot, id: $id) {
                state.$drop(id);
            }
            fn in_use(state: &Snapshot, id: $id) -> bool {
                state.uses.$all.contains_key(&id)
            }
            fn references(container: &ContainerSpec) -> &[FileReference<$id>] {
                &container.$all
            }
            fn references_mut(container: &mut ContainerSpec) -> &mut [FileReference<$id>] {
                &mut container.$all
            }
            fn of_stack(spec: &StackSpec) -> &[StackData<$id>] {
                &spec.$all
            }
            fn new(id: $id, meta: Meta, spec: $spec, generation: u32) -> Self {
                $object {
                    id,
                    meta,
                    spec,
                    generation,
                    superseded_at: None,
                }
            }
            fn id(&self) -> $id {
                self.id
            }
            fn meta(&mut self) -> &mut Meta {
                &mut self.meta
            }
            fn name(spec: &$spec) -> &str {
                &spec.name
            }
            fn labels(spec: &mut $spec) -> &mut Labels {
                &mut spec.labels
            }
            fn same_content(spec: &$spec, other: &$spec) -> bool {
                // Destructured, so that a new part has to be decided on here.
                let $spec {
                    name: _,
                    labels: _,
                    data,
                    template,
                } = spec;
                *data == other.data && *template == other.template
            }
            fn spec(&self) -> &$spec {
                &self.spec
            }
            fn spec_mut(&mut self) -> &mut $spec {
                &mut self.spec
            }
            fn generation(&self) -> u32 {
                self.generation
            }
            fn superseded_at(&self) -> Option<Timestamp> {
                self.superseded_at
            }
            fn supersede(&mut self, at: Timestamp) {
                self.superseded_at = Some(at);
            }
        }
    };
}
data!(
    Secret,
    SecretId,
    SecretSpec,
    secret,
    secrets,
    put_secret,
    drop_secret
);
data!(
    Config,
    ConfigId,
    ConfigSpec,
    config,
    configs,
    put_config,
    drop_config
);

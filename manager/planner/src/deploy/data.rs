//! Secrets and configs of a deploy. Other content is another generation; services of the
//! stack are given it by their own updates, and others follow when these are planned.

use super::Draft;
use skep_manager_store::validate::{
    validate_config, validate_config_content, validate_secret, validate_secret_content,
};
use skep_manager_store::{ConfigAction, Refused, SecretAction, Snapshot, StackPart};
use skep_types::{ConfigId, ConfigSpec, Content, Labels, SecretId, SecretSpec, StackData};
use std::collections::{BTreeMap, BTreeSet};

macro_rules! data {
    ($kind:literal, $id:ident, $spec:ident, $action:ident, $part:ident,
     $all:ident, $get:ident, $named:ident, $validate:ident, $validate_content:ident,
     $prune:ident, $remove:ident) => {
        /// Their ids by name; those that are not there are made, others brought up to
        /// date. What is kept of the stack names the generation that comes of it.
        pub(super) fn $all(
            draft: &mut Draft<'_>,
            all: &mut [StackData<$id>],
        ) -> BTreeMap<String, $id> {
            let mut known = BTreeMap::new();
            for data in all {
                let name = data.name.clone();
                let present = draft.snapshot.$named(&name).cloned();
                let content = match &data.content {
                    Content::Given(content) => content.clone(),
                    Content::External => {
                        match present {
                            Some(present) => drop(known.insert(name, present.id)),
                            None => {
                                let why = "it is declared as external, but does not exist";
                                draft.fault($kind, &name, why);
                            }
                        }
                        continue;
                    }
                    Content::Kept(id) => match draft.snapshot.$get(*id) {
                        Some(object) => object.spec.data.clone(),
                        None => {
                            draft.fault($kind, &name, "its content of then is not kept");
                            continue;
                        }
                    },
                };
                let spec = $spec {
                    name: name.clone(),
                    labels: data.labels.clone(),
                    data: content,
                    template: data.template,
                };
                let checked = match &present {
                    None => $validate(draft.scratch.state(), &spec),
                    Some(_) => $validate_content(&spec),
                };
                if let Err(invalid) = checked {
                    draft.fault($kind, &name, invalid);
                    continue;
                }
                let Some(present) = present else {
                    let id = draft.ids.$get();
                    let spec = Box::new(spec);
                    let create = StackPart::$part($action::Create { id, spec });
                    if draft.part($kind, &name, create) {
                        data.content = Content::Kept(id);
                        known.insert(name, id);
                    }
                    continue;
                };
                if !draft.require_own($kind, &name, &present.spec.labels) {
                    continue;
                }
                let (id, version) = (present.id, present.meta.version);
                let same = present.spec.data == spec.data && present.spec.template == spec.template;
                let newest = if same { id } else { draft.ids.$get() };
                if !same {
                    let rotate = $action::Rotate {
                        id,
                        version,
                        new_id: newest,
                        spec: Box::new(spec),
                        rollout: false,
                    };
                    if !draft.part($kind, &name, StackPart::$part(rotate)) {
                        continue;
                    }
                    let rest = StackPart::$part($action::RollOut { id: newest });
                    draft.last.push(($kind, name.clone(), rest));
                } else if present.spec.labels != spec.labels {
                    let labels = spec.labels;
                    let set = $action::SetLabels {
                        id,
                        version,
                        labels,
                    };
                    draft.part($kind, &name, StackPart::$part(set));
                }
                data.content = Content::Kept(newest);
                known.insert(name, newest);
            }
            known
        }

        /// Removes what is the stack's and not in it any more, but for what others use.
        pub(super) fn $prune(draft: &mut Draft<'_>, all: &[StackData<$id>]) {
            let named = all.iter().map(|data| data.name.to_lowercase());
            let named: BTreeSet<String> = named.collect();
            let gone: Vec<_> = (draft.snapshot.$all())
                .filter(|object| object.superseded_at.is_none())
                .filter(|object| draft.owns(&object.spec.labels))
                .filter(|object| !named.contains(&object.spec.name.to_lowercase()))
                .map(|object| (object.id, object.spec.name.clone()))
                .collect();
            for (id, name) in gone {
                let part = StackPart::$part($action::Remove { id });
                match draft.try_out(&part) {
                    Ok(()) => draft.parts.push(part),
                    Err(Refused::InUse { .. }) => {}
                    Err(refused) => draft.fault($kind, &name, refused),
                }
            }
        }

        fn $remove(snapshot: &Snapshot, own: impl Fn(&Labels) -> bool) -> Vec<StackPart> {
            let all = snapshot
                .$all()
                .filter(|object| object.superseded_at.is_none());
            all.filter(|object| own(&object.spec.labels))
                .map(|object| StackPart::$part($action::Remove { id: object.id }))
                .collect()
        }
    };
}
data!(
    "secret",
    SecretId,
    SecretSpec,
    SecretAction,
    Secret,
    secrets,
    secret,
    secret_named,
    validate_secret,
    validate_secret_content,
    prune_secrets,
    remove_secrets
);
data!(
    "config",
    ConfigId,
    ConfigSpec,
    ConfigAction,
    Config,
    configs,
    config,
    config_named,
    validate_config,
    validate_config_content,
    prune_configs,
    remove_configs
);

/// What removes all of them that are the stack's.
pub(super) fn remove(snapshot: &Snapshot, own: impl Fn(&Labels) -> bool) -> Vec<StackPart> {
    let mut parts = remove_secrets(snapshot, &own);
    parts.extend(remove_configs(snapshot, &own));
    parts
}

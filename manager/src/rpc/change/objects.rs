//! What a change of a stack does to single objects, for people to read.

use bytes::Bytes;
use skep_manager_store::{
    Action, ConfigAction, NetworkAction, SecretAction, ServiceAction, Snapshot, StackAction,
    StackPart,
};
use skep_proto::pb::ChangedObject;
use skep_proto::pb::changed_object::What;
use skep_proto::{id_bytes, pb};
use skep_types::{Config, Labels, NetworkId, Secret, ServiceSpec};

/// What the action does to each, in its order; nothing of an action that is no stack's.
/// `whole`: with what services are to be.
pub(in crate::rpc) fn of(snapshot: &Snapshot, action: &Action, whole: bool) -> Vec<ChangedObject> {
    let (parts, leaving) = match action {
        Action::Stack(StackAction::Apply {
            spec,
            parts,
            leaving,
            ..
        }) => {
            let known = snapshot.stack_named(&spec.name);
            // Those that leave already were told of.
            let told = known.map(|stack| &stack.leaving[..]).unwrap_or_default();
            let leaving = leaving.iter().filter(|id| !told.contains(id));
            (parts, leaving.copied().collect())
        }
        Action::Stack(StackAction::Remove { parts, .. }) => (parts, Vec::new()),
        _ => return Vec::new(),
    };
    let parts = parts.iter().filter_map(|part| match part {
        StackPart::Service(action) => service(snapshot, action, whole),
        StackPart::Network(action) => network(snapshot, action),
        StackPart::Secret(action) => secret(snapshot, action),
        StackPart::Config(action) => config(snapshot, action),
    });
    let left = leaving.into_iter().filter_map(|id| gone(snapshot, id));
    parts.chain(left).collect()
}

fn object(kind: &str, name: &str, id: Bytes, what: What) -> ChangedObject {
    ChangedObject {
        kind: kind.to_owned(),
        name: name.to_owned(),
        id,
        what: what.into(),
        keys: Vec::new(),
        service: None,
    }
}

fn service(snapshot: &Snapshot, action: &ServiceAction, whole: bool) -> Option<ChangedObject> {
    let is_to_be = |id, spec: &ServiceSpec, what| ChangedObject {
        service: whole.then(|| pb::ServiceSpec::from(spec)),
        ..object("service", &spec.name, id_bytes(id), what)
    };
    match action {
        ServiceAction::Create { id, spec } => Some(is_to_be(*id, spec, What::Created)),
        ServiceAction::Update { id, spec, .. } => Some(is_to_be(*id, spec, What::Updated)),
        ServiceAction::Remove { id } => {
            let name = &snapshot.service(*id)?.spec.name;
            Some(object("service", name, id_bytes(*id), What::Removed))
        }
        _ => None,
    }
}

fn network(snapshot: &Snapshot, action: &NetworkAction) -> Option<ChangedObject> {
    match action {
        NetworkAction::Create { id, spec } => {
            Some(object("network", &spec.name, id_bytes(*id), What::Created))
        }
        NetworkAction::Remove { id } => gone(snapshot, *id),
        NetworkAction::SetBlocks { .. } => None,
    }
}

fn gone(snapshot: &Snapshot, id: NetworkId) -> Option<ChangedObject> {
    let name = &snapshot.network(id)?.spec.name;
    Some(object("network", name, id_bytes(id), What::Removed))
}

/// What of a secret or a config differs.
fn keys(content: bool, template: bool, before: &Labels, after: &Labels) -> Vec<String> {
    let keys = [
        (content, "content"),
        (template, "template"),
        (before != after, "labels"),
    ];
    let differ = keys.into_iter().filter(|(differs, _)| *differs);
    differ.map(|(_, key)| key.to_owned()).collect()
}

macro_rules! data {
    ($of:ident, $kind:literal, $noun:ident, $action:ident) => {
        fn $of(snapshot: &Snapshot, action: &$action) -> Option<ChangedObject> {
            let updated = |present: &$noun, id, keys| ChangedObject {
                keys,
                ..object($kind, &present.spec.name, id_bytes(id), What::Updated)
            };
            match action {
                $action::Create { id, spec } => {
                    Some(object($kind, &spec.name, id_bytes(*id), What::Created))
                }
                $action::Rotate {
                    id, new_id, spec, ..
                } => {
                    let present = snapshot.$of(*id)?;
                    let $noun { spec: before, .. } = present.as_ref();
                    let content = before.data != spec.data;
                    let template = before.template != spec.template;
                    let keys = keys(content, template, &before.labels, &spec.labels);
                    Some(updated(present, *new_id, keys))
                }
                $action::SetLabels { id, labels, .. } => {
                    let present = snapshot.$of(*id)?;
                    let keys = keys(false, false, &present.spec.labels, labels);
                    Some(updated(present, *id, keys))
                }
                $action::Remove { id } => {
                    let name = &snapshot.$of(*id)?.spec.name;
                    Some(object($kind, name, id_bytes(*id), What::Removed))
                }
                // It makes services follow, which is told by what their tasks do.
                _ => None,
            }
        }
    };
}
data!(secret, "secret", Secret, SecretAction);
data!(config, "config", Config, ConfigAction);

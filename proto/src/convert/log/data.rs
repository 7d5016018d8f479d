//! Actions on secrets and configs, which share their form.

use crate::Invalid;
use crate::convert::basic::{WireId, id, id_bytes, require};
use crate::pb::{self, action as wire};
use skep_manager_store::{ConfigAction, DataAction, SecretAction};
use skep_types::Version;

pub(super) fn secret(action: &SecretAction) -> wire::Action {
    use wire::Action as Wire;
    match action {
        DataAction::Create { id, spec } => {
            Wire::CreateSecret(create_on_wire(*id, spec.as_ref().into()))
        }
        DataAction::SetLabels {
            id,
            version,
            labels,
        } => Wire::SetSecretLabels(labels_on_wire(*id, *version, labels)),
        DataAction::Rotate {
            id,
            version,
            new_id,
            spec,
            rollout,
        } => {
            let spec = spec.as_ref().into();
            Wire::RotateSecret(rotate_on_wire(*id, *version, *new_id, spec, *rollout))
        }
        DataAction::RollOut { id } => Wire::RollOutSecret(id_bytes(*id)),
        DataAction::Remove { id } => Wire::RemoveSecret(id_bytes(*id)),
        DataAction::Collect { id } => Wire::CollectSecret(id_bytes(*id)),
    }
}

pub(super) fn config(action: &ConfigAction) -> wire::Action {
    use wire::Action as Wire;
    match action {
        DataAction::Create { id, spec } => {
            Wire::CreateConfig(create_on_wire(*id, spec.as_ref().into()))
        }
        DataAction::SetLabels {
            id,
            version,
            labels,
        } => Wire::SetConfigLabels(labels_on_wire(*id, *version, labels)),
        DataAction::Rotate {
            id,
            version,
            new_id,
            spec,
            rollout,
        } => {
            let spec = spec.as_ref().into();
            Wire::RotateConfig(rotate_on_wire(*id, *version, *new_id, spec, *rollout))
        }
        DataAction::RollOut { id } => Wire::RollOutConfig(id_bytes(*id)),
        DataAction::Remove { id } => Wire::RemoveConfig(id_bytes(*id)),
        DataAction::Collect { id } => Wire::CollectConfig(id_bytes(*id)),
    }
}

fn create_on_wire<Id: WireId>(id: Id, spec: pb::DataSpec) -> wire::CreateData {
    wire::CreateData {
        id: id_bytes(id),
        spec: Some(spec),
    }
}

fn rotate_on_wire<Id: WireId>(
    id: Id,
    version: Version,
    new_id: Id,
    spec: pb::DataSpec,
    rollout: bool,
) -> wire::RotateData {
    wire::RotateData {
        id: id_bytes(id),
        version: version.0,
        new_id: id_bytes(new_id),
        spec: Some(spec),
        rollout,
    }
}

fn labels_on_wire<Id: WireId>(
    id: Id,
    version: Version,
    labels: &skep_types::Labels,
) -> wire::SetLabels {
    wire::SetLabels {
        id: id_bytes(id),
        version: version.0,
        labels: labels.clone(),
    }
}

pub(super) fn created<Id: WireId, Spec: From<pb::DataSpec>>(
    wire::CreateData { id: of, spec }: wire::CreateData,
) -> Result<DataAction<Id, Spec>, Invalid> {
    Ok(DataAction::Create {
        id: id(&of, "create_data.id")?,
        spec: Box::new(require(spec, "create_data.spec")?.into()),
    })
}

pub(super) fn labelled<Id: WireId, Spec>(
    wire::SetLabels {
        id: of,
        version,
        labels,
    }: wire::SetLabels,
) -> Result<DataAction<Id, Spec>, Invalid> {
    Ok(DataAction::SetLabels {
        id: id(&of, "set_labels.id")?,
        version: Version(version),
        labels,
    })
}

pub(super) fn rotated<Id: WireId, Spec: From<pb::DataSpec>>(
    wire::RotateData {
        id: of,
        version,
        new_id,
        spec,
        rollout,
    }: wire::RotateData,
) -> Result<DataAction<Id, Spec>, Invalid> {
    Ok(DataAction::Rotate {
        id: id(&of, "rotate_data.id")?,
        version: Version(version),
        new_id: id(&new_id, "rotate_data.new_id")?,
        spec: Box::new(require(spec, "rotate_data.spec")?.into()),
        rollout,
    })
}

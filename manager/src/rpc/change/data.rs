//! Changes of secrets and configs that users ask for.

use super::{fresh, known, required};
use crate::rpc::status;
use bytes::Bytes;
use skep_manager_store::{Action, ConfigAction, SecretAction, Snapshot, validate};
use skep_proto::{id, id_bytes, pb};
use skep_types::{ConfigId, ConfigSpec, SecretId, SecretSpec, Version};
use tonic::Status;

type Asked = Result<(Bytes, Action), Status>;

fn refuse(error: validate::Invalid) -> Status {
    Status::invalid_argument(error.to_string())
}

pub(super) fn create_secret(snapshot: &Snapshot, spec: pb::DataSpec) -> Asked {
    let spec: SecretSpec = spec.into();
    validate::validate_secret(snapshot, &spec).map_err(refuse)?;
    let id = SecretId::from_bits(fresh());
    let action = SecretAction::Create {
        id,
        spec: Box::new(spec),
    };
    Ok((id_bytes(id), Action::Secret(action)))
}

pub(super) fn update_secret(snapshot: &Snapshot, update: pb::UpdateData) -> Asked {
    let pb::UpdateData {
        id: secret,
        version,
        spec,
        rollout,
    } = update;
    let secret_id: SecretId = id(&secret, "update_secret.id").map_err(status::invalid)?;
    let spec = required(spec, "update_secret.spec")?;
    let newest = snapshot
        .secret(secret_id)
        .filter(|secret| secret.superseded_at.is_none());
    let found = known(newest, "secret", secret_id)?;
    let version = match version {
        0 => found.meta.version,
        version => Version(version),
    };
    let Some(rollout) = rollout else {
        only_labels(&spec.data, &found.spec.data)?;
        let action = SecretAction::SetLabels {
            id: secret_id,
            version,
            labels: spec.labels,
        };
        return Ok((secret, Action::Secret(action)));
    };
    let spec = SecretSpec {
        name: found.spec.name.clone(),
        ..SecretSpec::from(spec)
    };
    validate::validate_secret_content(&spec).map_err(refuse)?;
    let new_id = SecretId::from_bits(fresh());
    let same = (&spec.data, spec.template) == (&found.spec.data, found.spec.template);
    let action = SecretAction::Rotate {
        id: secret_id,
        version,
        new_id,
        spec: Box::new(spec),
        rollout,
    };
    let newest = if same { secret_id } else { new_id };
    Ok((id_bytes(newest), Action::Secret(action)))
}

pub(super) fn create_config(snapshot: &Snapshot, spec: pb::DataSpec) -> Asked {
    let spec: ConfigSpec = spec.into();
    validate::validate_config(snapshot, &spec).map_err(refuse)?;
    let id = ConfigId::from_bits(fresh());
    let action = ConfigAction::Create {
        id,
        spec: Box::new(spec),
    };
    Ok((id_bytes(id), Action::Config(action)))
}

pub(super) fn update_config(snapshot: &Snapshot, update: pb::UpdateData) -> Asked {
    let pb::UpdateData {
        id: config,
        version,
        spec,
        rollout,
    } = update;
    let config_id: ConfigId = id(&config, "update_config.id").map_err(status::invalid)?;
    let spec = required(spec, "update_config.spec")?;
    let newest = snapshot
        .config(config_id)
        .filter(|config| config.superseded_at.is_none());
    let found = known(newest, "config", config_id)?;
    let version = match version {
        0 => found.meta.version,
        version => Version(version),
    };
    let Some(rollout) = rollout else {
        only_labels(&spec.data, &found.spec.data)?;
        let action = ConfigAction::SetLabels {
            id: config_id,
            version,
            labels: spec.labels,
        };
        return Ok((config, Action::Config(action)));
    };
    let spec = ConfigSpec {
        name: found.spec.name.clone(),
        ..ConfigSpec::from(spec)
    };
    validate::validate_config_content(&spec).map_err(refuse)?;
    let new_id = ConfigId::from_bits(fresh());
    let same = (&spec.data, spec.template) == (&found.spec.data, found.spec.template);
    let action = ConfigAction::Rotate {
        id: config_id,
        version,
        new_id,
        spec: Box::new(spec),
        rollout,
    };
    let newest = if same { config_id } else { new_id };
    Ok((id_bytes(newest), Action::Config(action)))
}

/// Clients that update labels may send the content along, or leave it out.
fn only_labels(given: &[u8], present: &[u8]) -> Result<(), Status> {
    if given.is_empty() || given == present {
        return Ok(());
    }
    Err(Status::invalid_argument(
        "only updates to Labels are allowed",
    ))
}

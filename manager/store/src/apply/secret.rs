//! Changes of secrets and configs.

use super::Write;
use crate::action::{ConfigAction, SecretAction};
use crate::event::{EventAction, ObjectId};
use crate::refused::Refused;
use skep_types::{Config, ConfigSpec, ContainerSpec, Secret, SecretSpec};

pub(super) fn apply_secret(write: &mut Write<'_>, action: &SecretAction) -> Result<(), Refused> {
    match action {
        SecretAction::Create { id, spec } => {
            let object = ObjectId::Secret(*id);
            if write.state.secret(*id).is_some() {
                return Err(Refused::IdTaken(object));
            }
            if write.state.secret_named(&spec.name).is_some() {
                return Err(Refused::NameTaken {
                    kind: object.kind(),
                    name: spec.name.clone(),
                });
            }
            let meta = write.created();
            write.state.put_secret(Secret {
                id: *id,
                meta,
                spec: SecretSpec::clone(spec),
            });
            write.event(object, EventAction::Create, spec.name.clone(), Vec::new());
        }
        SecretAction::SetLabels {
            id,
            version,
            labels,
        } => {
            let object = ObjectId::Secret(*id);
            let present = write.state.secret(*id).ok_or(Refused::NotFound(object))?;
            let mut secret = Secret::clone(present);
            write.require_fresh(secret.meta, *version, object, &secret.spec.name)?;
            if secret.spec.labels == *labels {
                // Every deploy of a stack sends them.
                return Ok(());
            }
            secret.spec.labels = labels.clone();
            secret.meta = write.touched(secret.meta);
            let name = secret.spec.name.clone();
            write.state.put_secret(secret);
            write.event(object, EventAction::Update, name, Vec::new());
        }
        SecretAction::Remove { id } => {
            let object = ObjectId::Secret(*id);
            let present = write.state.secret(*id).ok_or(Refused::NotFound(object))?;
            let name = present.spec.name.clone();
            require_unused(write, object.kind(), &name, |container| {
                container.secrets.iter().any(|secret| secret.id == *id)
            })?;
            write.state.drop_secret(*id);
            write.event(object, EventAction::Remove, name, Vec::new());
        }
    }
    Ok(())
}

pub(super) fn apply_config(write: &mut Write<'_>, action: &ConfigAction) -> Result<(), Refused> {
    match action {
        ConfigAction::Create { id, spec } => {
            let object = ObjectId::Config(*id);
            if write.state.config(*id).is_some() {
                return Err(Refused::IdTaken(object));
            }
            if write.state.config_named(&spec.name).is_some() {
                return Err(Refused::NameTaken {
                    kind: object.kind(),
                    name: spec.name.clone(),
                });
            }
            let meta = write.created();
            write.state.put_config(Config {
                id: *id,
                meta,
                spec: ConfigSpec::clone(spec),
            });
            write.event(object, EventAction::Create, spec.name.clone(), Vec::new());
        }
        ConfigAction::SetLabels {
            id,
            version,
            labels,
        } => {
            let object = ObjectId::Config(*id);
            let present = write.state.config(*id).ok_or(Refused::NotFound(object))?;
            let mut config = Config::clone(present);
            write.require_fresh(config.meta, *version, object, &config.spec.name)?;
            if config.spec.labels == *labels {
                // Every deploy of a stack sends them.
                return Ok(());
            }
            config.spec.labels = labels.clone();
            config.meta = write.touched(config.meta);
            let name = config.spec.name.clone();
            write.state.put_config(config);
            write.event(object, EventAction::Update, name, Vec::new());
        }
        ConfigAction::Remove { id } => {
            let object = ObjectId::Config(*id);
            let present = write.state.config(*id).ok_or(Refused::NotFound(object))?;
            let name = present.spec.name.clone();
            require_unused(write, object.kind(), &name, |container| {
                container.configs.iter().any(|config| config.id == *id)
            })?;
            write.state.drop_config(*id);
            write.event(object, EventAction::Remove, name, Vec::new());
        }
    }
    Ok(())
}

/// Counted against the services' present specs, as Swarm does, not against
/// tasks that still run: they keep what they were given.
fn require_unused(
    write: &Write<'_>,
    kind: &'static str,
    name: &str,
    uses: impl Fn(&ContainerSpec) -> bool,
) -> Result<(), Refused> {
    let services: Vec<&str> = write
        .state
        .services()
        .filter(|service| uses(&service.spec.task.container))
        .map(|service| service.spec.name.as_str())
        .collect();
    if services.is_empty() {
        return Ok(());
    }
    Err(Refused::InUse {
        kind,
        name: name.to_owned(),
        services: services.join(", "),
    })
}

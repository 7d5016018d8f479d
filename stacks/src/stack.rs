//! What a stack is once loaded: specs by name, with references still by name.
//!
//! Owns these types and the step from names to ids. How they are made is
//! `convert`'s.

use skep_types::{
    ConfigId, ConfigSpec, FileReference, FileTarget, Labels, NetworkAttachmentSpec, NetworkId,
    NetworkSpec, SecretId, SecretSpec, ServiceSpec,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The label that makes an object part of a stack.
pub const STACK_LABEL: &str = "com.docker.stack.namespace";
/// The service label that keeps the image as the file has it.
pub const STACK_IMAGE_LABEL: &str = "com.docker.stack.image";

/// A stack to deploy. Everything is sorted by name.
#[derive(Debug, Clone, PartialEq)]
pub struct Stack {
    /// Its name.
    pub name: String,
    /// Networks that services use.
    pub networks: Vec<StackNetwork>,
    /// Secrets.
    pub secrets: Vec<StackSecret>,
    /// Configs.
    pub configs: Vec<StackConfig>,
    /// Volumes that are declared; nodes make them when a task needs them.
    pub volumes: Vec<StackVolume>,
    /// Services.
    pub services: Vec<StackService>,
}

/// A network of a stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StackNetwork {
    /// Key in the file.
    pub key: String,
    /// Name in the cluster.
    pub name: String,
    /// It must be there already.
    pub external: bool,
    /// What to make; only the name when external.
    pub spec: NetworkSpec,
}

/// A secret of a stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StackSecret {
    /// Key in the file.
    pub key: String,
    /// Name in the cluster.
    pub name: String,
    /// It must be there already.
    pub external: bool,
    /// What to make; only the name when external.
    pub spec: SecretSpec,
}

/// A config of a stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StackConfig {
    /// Key in the file.
    pub key: String,
    /// Name in the cluster.
    pub name: String,
    /// It must be there already.
    pub external: bool,
    /// What to make; only the name when external.
    pub spec: ConfigSpec,
}

/// A volume of a stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StackVolume {
    /// Key in the file.
    pub key: String,
    /// Name on the nodes.
    pub name: String,
    /// Somebody else's: never removed with the stack.
    pub external: bool,
    /// Driver; `local` when empty.
    pub driver: String,
    /// Driver options.
    pub options: Labels,
    /// Labels.
    pub labels: Labels,
}

/// A service of a stack.
#[derive(Debug, Clone, PartialEq)]
pub struct StackService {
    /// Key in the file.
    pub key: String,
    /// The spec; its networks, secrets and configs are still empty.
    pub spec: ServiceSpec,
    /// `replicas` is written in the file. When it is not, the spec says 1.
    pub replicas_given: bool,
    /// Networks by name in the cluster, with the aliases on each.
    pub networks: Vec<(String, Vec<String>)>,
    /// Secrets by name in the cluster.
    pub secrets: Vec<(String, FileTarget)>,
    /// Configs by name in the cluster.
    pub configs: Vec<(String, FileTarget)>,
}

/// Ids of what services refer to, by name in the cluster.
#[derive(Debug, Clone, Default)]
pub struct Ids {
    /// Networks.
    pub networks: BTreeMap<String, NetworkId>,
    /// Secrets.
    pub secrets: BTreeMap<String, SecretId>,
    /// Configs.
    pub configs: BTreeMap<String, ConfigId>,
}

/// A service refers to something that the cluster does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("service {service} needs the {kind} {name}, which does not exist")]
pub struct Missing {
    /// The service.
    pub service: String,
    /// `network`, `secret` or `config`.
    pub kind: &'static str,
    /// The name that was not found.
    pub name: String,
}

impl StackService {
    /// The complete spec, names replaced by ids.
    ///
    /// # Errors
    /// [`Missing`] for the first name that `ids` does not have.
    pub fn resolve(&self, ids: &Ids) -> Result<ServiceSpec, Missing> {
        let missing = |kind: &'static str, name: &str| Missing {
            service: self.spec.name.clone(),
            kind,
            name: name.to_owned(),
        };
        let mut spec = self.spec.clone();
        let task = Arc::make_mut(&mut spec.task);
        for (name, aliases) in &self.networks {
            let id = ids.networks.get(name);
            task.networks.push(NetworkAttachmentSpec {
                network: *id.ok_or_else(|| missing("network", name))?,
                aliases: aliases.clone(),
            });
        }
        for (name, target) in &self.secrets {
            let id = ids.secrets.get(name);
            task.container.secrets.push(FileReference {
                id: *id.ok_or_else(|| missing("secret", name))?,
                name: name.clone(),
                target: target.clone(),
            });
        }
        for (name, target) in &self.configs {
            let id = ids.configs.get(name);
            task.container.configs.push(FileReference {
                id: *id.ok_or_else(|| missing("config", name))?,
                name: name.clone(),
                target: target.clone(),
            });
        }
        Ok(spec)
    }
}

//! What the flags of a service name: networks, secrets, configs.

use crate::find::{FindError, find};
use crate::flags::FileRef;
use crate::view::View;
use skep_types::{ConfigId, FileTarget, NetworkId, SecretId};

/// The network that goes by a name or id.
pub fn network(view: &View, key: &str) -> Result<NetworkId, FindError> {
    let name = |network: &skep_types::Network| network.id.to_string();
    find("network", key, &view.networks, |network| {
        (name(network), &network.spec.name)
    })
    .map(|network| network.id)
}

/// The secret that goes by a name or id, and its name.
pub fn secret(view: &View, key: &str) -> Result<(SecretId, String), FindError> {
    find("secret", key, &view.secrets, |secret| {
        (secret.id.to_string(), &secret.spec.name)
    })
    .map(|secret| (secret.id, secret.spec.name.clone()))
}

/// The config that goes by a name or id, and its name.
pub fn config(view: &View, key: &str) -> Result<(ConfigId, String), FindError> {
    find("config", key, &view.configs, |config| {
        (config.id.to_string(), &config.spec.name)
    })
    .map(|config| (config.id, config.spec.name.clone()))
}

/// The place of a config, which appears at the root unless told otherwise.
pub fn at_root(file: &FileRef) -> FileTarget {
    let mut target = file.target.clone();
    if !target.path.starts_with('/') {
        target.path = format!("/{}", target.path);
    }
    target
}

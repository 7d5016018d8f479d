//! Checks of secrets and configs.

use super::Invalid;
use crate::snapshot::Snapshot;
use skep_types::secret::{CONFIG_MAX_BYTES, SECRET_MAX_BYTES};
use skep_types::template::Template;
use skep_types::{ConfigSpec, SecretSpec};

/// Longest name of a secret or config.
const FILE_NAME_MAX: usize = 64;

/// Checks a secret that is to be made.
///
/// # Errors
/// What is wrong with it.
pub fn validate_secret(snapshot: &Snapshot, spec: &SecretSpec) -> Result<(), Invalid> {
    file_name("secret", &spec.name)?;
    if snapshot.secret_named(&spec.name).is_some() {
        return Err(Invalid::NameTaken {
            kind: "secret",
            name: spec.name.clone(),
        });
    }
    validate_secret_content(spec)
}

/// Checks a config that is to be made.
///
/// # Errors
/// What is wrong with it.
pub fn validate_config(snapshot: &Snapshot, spec: &ConfigSpec) -> Result<(), Invalid> {
    file_name("config", &spec.name)?;
    if snapshot.config_named(&spec.name).is_some() {
        return Err(Invalid::NameTaken {
            kind: "config",
            name: spec.name.clone(),
        });
    }
    validate_config_content(spec)
}

/// Checks the content of a secret.
///
/// # Errors
/// It is too large, empty, or to be a template and none.
pub fn validate_secret_content(spec: &SecretSpec) -> Result<(), Invalid> {
    let SecretSpec {
        name,
        labels: _,
        data,
        template,
    } = spec;
    size("secret", name, data.len(), 1, SECRET_MAX_BYTES)?;
    is_template("secret", name, data, *template)
}

/// Checks the content of a config.
///
/// # Errors
/// It is too large, or to be a template and none.
pub fn validate_config_content(spec: &ConfigSpec) -> Result<(), Invalid> {
    let ConfigSpec {
        name,
        labels: _,
        data,
        template,
    } = spec;
    size("config", name, data.len(), 0, CONFIG_MAX_BYTES)?;
    is_template("config", name, data, *template)
}

fn is_template(kind: &'static str, name: &str, data: &[u8], wanted: bool) -> Result<(), Invalid> {
    if !wanted {
        return Ok(());
    }
    let read = Template::of_content(data);
    read.map(drop).map_err(|error| Invalid::Content {
        kind,
        name: name.to_owned(),
        error,
    })
}

fn size(
    kind: &'static str,
    name: &str,
    bytes: usize,
    least: usize,
    limit: usize,
) -> Result<(), Invalid> {
    if bytes >= least && bytes < limit {
        return Ok(());
    }
    Err(Invalid::Size {
        kind,
        name: name.to_owned(),
        bytes,
        range: match least {
            0 => format!("less than {limit}"),
            least => format!("{least} or more and less than {limit}"),
        },
    })
}

fn file_name(kind: &'static str, name: &str) -> Result<(), Invalid> {
    let middle = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let ends = |c: char| c.is_ascii_alphanumeric();
    let fits = !name.is_empty() && name.len() <= FILE_NAME_MAX;
    if !fits || !name.chars().all(middle) || !name.starts_with(ends) || !name.ends_with(ends) {
        return Err(Invalid::FileName {
            kind,
            name: name.to_owned(),
        });
    }
    Ok(())
}

//! Which parts of a container's spec are templates: host name, values of variables,
//! sources and targets of mounts, and labels of volumes, as in Swarm.

use super::{Context, Place, TEXT_MAX_BYTES, Template, TemplateError};
use crate::container::{ContainerSpec, Mount, MountKind};
use std::fmt;

/// A template of a spec that cannot be read or filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecError {
    /// Which part of the spec, in words.
    pub part: String,
    /// What is wrong.
    pub error: TemplateError,
}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "template in {}: {}", self.part, self.error)
    }
}

impl std::error::Error for SpecError {}

/// Some part of it is a template.
pub fn is_templated(container: &ContainerSpec) -> bool {
    let is = |text: &String| text.contains("{{");
    let of_mount = |mount: &Mount| match &mount.kind {
        MountKind::Bind { source, .. } => is(source),
        MountKind::Volume { name, labels, .. } => is(name) || labels.values().any(is),
        MountKind::Tmpfs { .. } => false,
    };
    is(&container.hostname)
        || container.env.iter().any(is)
        || container
            .mounts
            .iter()
            .any(|m| is(&m.target) || of_mount(m))
}

/// Checks every template of a spec, before it is known where it will run.
///
/// # Errors
/// The first that cannot be read, or that no node could fill in.
pub fn check(container: &ContainerSpec, before: &Context<'_>) -> Result<(), SpecError> {
    expand(container.clone(), before).map(drop)
}

/// Fills in every template of a spec.
///
/// # Errors
/// The first that cannot be filled in.
pub fn expand(
    mut container: ContainerSpec,
    context: &Context<'_>,
) -> Result<ContainerSpec, SpecError> {
    if !is_templated(&container) {
        return Ok(container);
    }
    let fill = |part: &dyn Fn() -> String, text: &mut String| {
        let filled = filled(text, context).map_err(|error| SpecError {
            part: part(),
            error,
        })?;
        *text = filled.unwrap_or_else(|| std::mem::take(text));
        Ok(())
    };
    fill(&|| "hostname".to_owned(), &mut container.hostname)?;
    for variable in &mut container.env {
        if let Some((name, value)) = variable.split_once('=') {
            let mut value = value.to_owned();
            fill(&|| format!("env {name}"), &mut value)?;
            *variable = format!("{name}={value}");
        }
    }
    for mount in &mut container.mounts {
        let target = mount.target.clone();
        fill(&|| format!("target of mount {target}"), &mut mount.target)?;
        let source = || format!("source of mount {target}");
        match &mut mount.kind {
            MountKind::Bind { source: text, .. } => fill(&source, text)?,
            MountKind::Volume { name, labels, .. } => {
                fill(&source, name)?;
                for (key, value) in labels {
                    fill(&|| format!("label {key} of mount {target}"), value)?;
                }
            }
            MountKind::Tmpfs { .. } => {}
        }
    }
    Ok(container)
}

/// `None` for a text that is no template.
fn filled(text: &str, context: &Context<'_>) -> Result<Option<String>, TemplateError> {
    if !text.contains("{{") {
        return Ok(None);
    }
    let bytes = Template::parse(text, Place::Spec)?.render(context, &(), TEXT_MAX_BYTES)?;
    // All of it comes from texts.
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

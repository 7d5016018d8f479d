//! A stack with what it was before.

use super::belongs;
use crate::view::View;
use anyhow::{Result, bail};
use skep_proto::pb;
use skep_types::{Revision, Stack, StackSpec};
use std::sync::Arc;

/// What has to be read for it.
pub fn to_read(stack: &str) -> pb::ReadRequest {
    pb::ReadRequest {
        services: true,
        revisions: true,
        stacks: true,
        stack_history: true,
        stack_names: vec![stack.to_owned()],
        ..Default::default()
    }
}

/// The stack of that name.
///
/// # Errors
/// When there is none, or none that was deployed as one.
pub fn find<'a>(view: &'a View, name: &str) -> Result<&'a Stack> {
    if let Some(stack) = view.stacks.iter().find(|stack| stack.spec.name == name) {
        return Ok(stack);
    }
    let mut services = view.services.iter();
    if services.any(|service| belongs(&service.spec.labels, name)) {
        bail!(
            "stack {name} was deployed by something else, which keeps no revisions: deploy it \
             once with `skep stack deploy`"
        );
    }
    bail!("no such stack: {name}")
}

/// All revisions that are kept, oldest first; the last is the present one.
pub fn all(stack: &Stack) -> Vec<(&Revision, &Arc<StackSpec>)> {
    let past = stack.past.iter().map(|past| (&past.revision, &past.spec));
    past.chain([(&stack.revision, &stack.spec)]).collect()
}

/// What the stack was as that revision.
///
/// # Errors
/// When it is not kept: those that are, are named.
pub fn numbered(stack: &Stack, number: u64) -> Result<&Arc<StackSpec>> {
    let all = all(stack);
    match all.iter().find(|(revision, _)| revision.number == number) {
        Some((_, spec)) => Ok(spec),
        None => {
            let kept = all.iter().map(|(revision, _)| revision.number.to_string());
            bail!(
                "stack {} has no revision {number} any more, or not yet; kept are {}",
                stack.spec.name,
                kept.collect::<Vec<_>>().join(", ")
            )
        }
    }
}

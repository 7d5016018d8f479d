//! What `skep stack deploy` and its like ask the managers for, and how they tell what came
//! of it.

use crate::error::CliError;
use crate::output::say;
use crate::view::View;
use anyhow::{Error, Result, bail};
use skep_proto::pb::changed_object::What;
use skep_proto::{id, pb};
use skep_types::{ServiceId, StackSpec};
use tonic::Code;

/// The kind of object that has tasks.
pub const SERVICE: &str = "service";

/// How a stack is to be deployed.
#[derive(Debug, clap::Args)]
pub struct Asked {
    /// Remove services, networks, secrets and configs of the stack that the file no longer has
    #[arg(long)]
    prune: bool,
    /// One task again where the file does not say how many; without it their number stays
    #[arg(long)]
    reset_scale: bool,
    /// Only if this revision of the stack is the present one
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    expect_revision: Option<u64>,
}

impl Asked {
    /// What has to be read before.
    pub fn to_read() -> pb::ReadRequest {
        pb::ReadRequest {
            services: true,
            networks: true,
            stacks: true,
            ..Default::default()
        }
    }

    /// The change that deploys the stack.
    ///
    /// # Errors
    /// When another revision is expected than the one that is there.
    pub fn change(&self, stack: &StackSpec, view: &View) -> Result<pb::ApplyStack> {
        let version = match self.expect_revision {
            Some(expected) => self::version(view, &stack.name, expected)?,
            // Whatever there is: of two deploys at once the later one counts, whole.
            None => 0,
        };
        Ok(pb::ApplyStack {
            spec: Some(stack.into()),
            version,
            prune: self.prune,
            reset_scale: self.reset_scale,
        })
    }
}

/// Version of the stack, if that revision is the present one.
fn version(view: &View, name: &str, expected: u64) -> Result<u64> {
    let present = view.stacks.iter().find(|stack| stack.spec.name == name);
    match present {
        Some(present) if present.revision.number == expected => Ok(present.meta.version.0),
        Some(present) => bail!(
            "stack {name} is at revision {}, not {expected}: somebody deployed it meanwhile; \
             nothing was sent",
            present.revision.number
        ),
        None => bail!(
            "stack {name} has no revision {expected}: it is not there, or was deployed by \
             something else; nothing was sent"
        ),
    }
}

/// Tells what was done to each object.
pub fn tell(objects: &[pb::ChangedObject]) -> Result<()> {
    for object in objects {
        let (kind, name) = (&object.kind, &object.name);
        match object.what() {
            What::Created => say!("Creating {kind} {name}")?,
            What::Updated if kind == SERVICE => {
                let id: ServiceId = id(&object.id, "changed_object.id")?;
                say!("Updating {kind} {name} (id: {id})")?;
            }
            What::Updated => say!("Updating {kind} {name}")?,
            What::Removed => say!("Removing {kind} {name}")?,
        }
    }
    Ok(())
}

/// Puts all that speaks against a change of a stack below one line that says so. `how`: what
/// that means for the stack, e.g. `cannot be deployed`.
pub fn refused(error: Error, stack: &str, how: &str) -> Error {
    let (code, said) = match error.downcast_ref() {
        Some(CliError::Refused { code, message }) => (*code, message),
        _ => return error,
    };
    match code {
        Code::FailedPrecondition
        | Code::InvalidArgument
        | Code::Aborted
        | Code::NotFound
        | Code::ResourceExhausted => {}
        // It may have been done.
        _ => return error.context(format!("failed to ask for stack {stack}")),
    }
    let said = said.replace('\n', "\n  ");
    let message = format!("stack {stack} {how}:\n  {said}");
    CliError::Refused { code, message }.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::message;
    use crate::testing::swarm;
    use skep_types::{Meta, Revision, Stack, StackId, Timestamp, Version};
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use tonic::Status;

    #[test]
    fn another_revision_than_the_one_expected_is_not_deployed_over() -> Result<()> {
        let spec = StackSpec {
            name: "shop".to_owned(),
            ..StackSpec::default()
        };
        let mut view = swarm(Vec::new());
        let mut asked = Asked {
            prune: false,
            reset_scale: false,
            expect_revision: None,
        };
        assert_eq!(asked.change(&spec, &view)?.version, 0);
        asked.expect_revision = Some(2);
        let missing = asked.change(&spec, &view).err().map(|e| e.to_string());
        assert!(missing.is_some_and(|text| text.contains("has no revision 2")));
        view.stacks.push(Stack {
            id: StackId::from_bits(1),
            meta: Meta {
                version: Version(77),
                ..Meta::default()
            },
            revision: Revision {
                number: 2,
                ..Revision::first(Timestamp(0))
            },
            spec: Arc::new(spec.clone()),
            past: Vec::new(),
            services: BTreeMap::new(),
            leaving: Vec::new(),
        });
        assert_eq!(asked.change(&spec, &view)?.version, 77);
        asked.expect_revision = Some(1);
        let other = asked.change(&spec, &view).err().map(|e| e.to_string());
        assert!(other.is_some_and(|text| text.contains("is at revision 2, not 1")));
        Ok(())
    }

    #[test]
    fn all_faults_are_told_below_what_was_not_done() {
        let said = |status: Status| {
            let error = refused(CliError::from(status).into(), "shop", "cannot be deployed");
            message(&error).unwrap_or_default()
        };
        assert_eq!(
            said(Status::failed_precondition("service a: no\nnetwork b: no")),
            "stack shop cannot be deployed:\n  service a: no\n  network b: no"
        );
        assert_eq!(
            said(Status::unavailable("no leader")),
            "failed to ask for stack shop: no leader"
        );
    }
}

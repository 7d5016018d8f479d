//! Actions on stacks. Their parts are actions themselves, of some kinds.

use super::{data, write};
use crate::convert::basic::{id, id_bytes, require};
use crate::pb::action as wire;
use crate::{Invalid, pb};
use skep_manager_store::{Action, StackAction, StackPart};
use skep_types::Version;
use std::sync::Arc;

pub(super) fn on_wire(action: &StackAction) -> wire::Action {
    match action {
        StackAction::Apply {
            id,
            version,
            spec,
            returns_to,
            leaving,
            parts,
        } => wire::Action::ApplyStack(wire::ApplyStack {
            id: id_bytes(*id),
            version: version.map(|version| version.0),
            spec: Some(spec.as_ref().into()),
            returns_to: *returns_to,
            leaving: leaving.iter().copied().map(id_bytes).collect(),
            parts: parts.iter().map(part_on_wire).collect(),
        }),
        StackAction::Remove {
            name,
            version,
            parts,
        } => wire::Action::RemoveStack(wire::RemoveStack {
            name: name.clone(),
            version: version.map(|version| version.0),
            parts: parts.iter().map(part_on_wire).collect(),
        }),
    }
}

fn part_on_wire(part: &StackPart) -> pb::Action {
    let action = match part {
        StackPart::Service(action) => write::service(action),
        StackPart::Network(action) => write::network(action),
        StackPart::Secret(action) => data::secret(action),
        StackPart::Config(action) => data::config(action),
    };
    pb::Action {
        action: Some(action),
    }
}

pub(super) fn applied(
    wire::ApplyStack {
        id: stack,
        version,
        spec,
        returns_to,
        leaving,
        parts,
    }: wire::ApplyStack,
) -> Result<StackAction, Invalid> {
    Ok(StackAction::Apply {
        id: id(&stack, "apply_stack.id")?,
        version: version.map(Version),
        spec: Arc::new(require(spec, "apply_stack.spec")?.try_into()?),
        returns_to,
        leaving: leaving
            .iter()
            .map(|network| id(network, "apply_stack.leaving"))
            .collect::<Result<_, _>>()?,
        parts: parts.into_iter().map(part).collect::<Result<_, _>>()?,
    })
}

pub(super) fn removed(
    wire::RemoveStack {
        name,
        version,
        parts,
    }: wire::RemoveStack,
) -> Result<StackAction, Invalid> {
    Ok(StackAction::Remove {
        name,
        version: version.map(Version),
        parts: parts.into_iter().map(part).collect::<Result<_, _>>()?,
    })
}

fn part(action: pb::Action) -> Result<StackPart, Invalid> {
    let refuse = || Invalid::Value("stack.parts", "a part of another kind".to_owned());
    // Before it is read: it could hold parts that hold parts.
    if let Some(wire::Action::ApplyStack(_) | wire::Action::RemoveStack(_)) = action.action {
        return Err(refuse());
    }
    match action.try_into()? {
        Action::Service(action) => Ok(StackPart::Service(action)),
        Action::Network(action) => Ok(StackPart::Network(action)),
        Action::Secret(action) => Ok(StackPart::Secret(action)),
        Action::Config(action) => Ok(StackPart::Config(action)),
        Action::Cluster(_) | Action::Node(_) | Action::Task(_) | Action::Stack(_) => Err(refuse()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode_entry;
    use prost::Message;
    use skep_types::ServiceId;
    use wire::Action as Wire;

    fn removal(part: Wire) -> wire::RemoveStack {
        wire::RemoveStack {
            parts: vec![pb::Action { action: Some(part) }],
            ..wire::RemoveStack::default()
        }
    }

    fn read(part: Wire) -> Result<(), Invalid> {
        let action = Some(Wire::RemoveStack(removal(part)));
        let entry = pb::Entry {
            format: 1,
            now_ms: 1,
            actions: vec![pb::Action { action }],
        };
        decode_entry(&entry.encode_to_vec()).map(drop)
    }

    #[test]
    fn parts_are_of_few_kinds_and_have_none_themselves() {
        let service = id_bytes(ServiceId::from_bits(1));
        assert_eq!(read(Wire::RemoveService(service)), Ok(()));
        let others = [
            Wire::Prune(wire::Prune {}),
            Wire::SetNodeRole(wire::SetNodeRole {
                id: id_bytes(skep_types::NodeId::from_bits(1)),
                role: 0,
            }),
            Wire::RemoveTasks(wire::RemoveTasks::default()),
            Wire::RemoveStack(wire::RemoveStack::default()),
        ];
        for part in others {
            let error = read(part).unwrap_err().to_string();
            let expected = "field stack.parts cannot be read: a part of another kind";
            assert_eq!(error, expected);
        }
        // However deep.
        let deep = (0..1000).fold(wire::RemoveStack::default(), |inner, _| {
            removal(Wire::RemoveStack(inner))
        });
        assert!(read(Wire::RemoveStack(deep)).is_err());
    }
}

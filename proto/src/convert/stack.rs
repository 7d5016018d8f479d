//! Stacks: what was asked for by name, and what the cluster keeps of it.

use super::basic::{WireId, id, id_bytes, require};
use super::revision;
use crate::pb::stack_data::Content as WireContent;
use crate::{Invalid, pb};
use skep_types::{
    Content, FileTarget, PastStack, Revision, Stack, StackData, StackNetwork, StackService,
    StackSpec, StackVolume,
};
use std::sync::Arc;

impl From<&StackSpec> for pb::StackSpec {
    fn from(spec: &StackSpec) -> Self {
        let StackSpec {
            name,
            networks,
            secrets,
            configs,
            volumes,
            services,
            source,
        } = spec;
        pb::StackSpec {
            name: name.clone(),
            networks: networks.iter().map(Into::into).collect(),
            secrets: secrets.iter().map(data_on_wire).collect(),
            configs: configs.iter().map(data_on_wire).collect(),
            volumes: volumes.iter().map(Into::into).collect(),
            services: services.iter().map(|s| s.as_ref().into()).collect(),
            source: source.as_ref().to_owned(),
        }
    }
}

impl TryFrom<pb::StackSpec> for StackSpec {
    type Error = Invalid;
    fn try_from(spec: pb::StackSpec) -> Result<Self, Invalid> {
        let pb::StackSpec {
            name,
            networks,
            secrets,
            configs,
            volumes,
            services,
            source,
        } = spec;
        let service = |service: pb::StackService| service.try_into().map(Arc::new);
        Ok(StackSpec {
            name,
            networks: read(networks, TryInto::try_into)?,
            secrets: read(secrets, |data| data_from_wire(data, "stack.secrets.kept"))?,
            configs: read(configs, |data| data_from_wire(data, "stack.configs.kept"))?,
            volumes: volumes.into_iter().map(Into::into).collect(),
            services: read(services, service)?,
            source: source.into(),
        })
    }
}

fn read<W, D>(all: Vec<W>, one: impl Fn(W) -> Result<D, Invalid>) -> Result<Vec<D>, Invalid> {
    all.into_iter().map(one).collect()
}

impl From<&StackNetwork> for pb::StackNetwork {
    fn from(network: &StackNetwork) -> Self {
        let StackNetwork {
            key,
            name,
            external,
            spec,
        } = network;
        pb::StackNetwork {
            key: key.clone(),
            name: name.clone(),
            external: *external,
            spec: Some(spec.into()),
        }
    }
}

impl TryFrom<pb::StackNetwork> for StackNetwork {
    type Error = Invalid;
    fn try_from(network: pb::StackNetwork) -> Result<Self, Invalid> {
        let pb::StackNetwork {
            key,
            name,
            external,
            spec,
        } = network;
        Ok(StackNetwork {
            key,
            name,
            external,
            spec: require(spec, "stack.networks.spec")?.try_into()?,
        })
    }
}

fn data_on_wire<Id: WireId + Copy>(data: &StackData<Id>) -> pb::StackData {
    let StackData {
        key,
        name,
        labels,
        template,
        content,
    } = data;
    let content = match content {
        Content::External => WireContent::External(pb::Empty {}),
        Content::Given(data) => WireContent::Given(bytes::Bytes::copy_from_slice(data)),
        Content::Kept(id) => WireContent::Kept(id_bytes(*id)),
    };
    pb::StackData {
        key: key.clone(),
        name: name.clone(),
        labels: labels.clone(),
        template: *template,
        content: Some(content),
    }
}

fn data_from_wire<Id: WireId>(
    data: pb::StackData,
    field: &'static str,
) -> Result<StackData<Id>, Invalid> {
    let pb::StackData {
        key,
        name,
        labels,
        template,
        content,
    } = data;
    let content = match require(content, "stack_data.content")? {
        WireContent::External(pb::Empty {}) => Content::External,
        WireContent::Given(data) => Content::Given(data.as_ref().into()),
        WireContent::Kept(bytes) => Content::Kept(id(&bytes, field)?),
    };
    Ok(StackData {
        key,
        name,
        labels,
        template,
        content,
    })
}

impl From<&StackVolume> for pb::StackVolume {
    fn from(volume: &StackVolume) -> Self {
        let StackVolume {
            key,
            name,
            external,
            driver,
            options,
            labels,
        } = volume;
        pb::StackVolume {
            key: key.clone(),
            name: name.clone(),
            external: *external,
            driver: driver.clone(),
            options: options.clone(),
            labels: labels.clone(),
        }
    }
}

impl From<pb::StackVolume> for StackVolume {
    fn from(volume: pb::StackVolume) -> Self {
        let pb::StackVolume {
            key,
            name,
            external,
            driver,
            options,
            labels,
        } = volume;
        StackVolume {
            key,
            name,
            external,
            driver,
            options,
            labels,
        }
    }
}

impl From<&StackService> for pb::StackService {
    fn from(service: &StackService) -> Self {
        let StackService {
            key,
            spec,
            replicas_given,
            networks,
            secrets,
            configs,
        } = service;
        let attachment = |(name, aliases): &(String, Vec<String>)| pb::stack_service::Attachment {
            name: name.clone(),
            aliases: aliases.clone(),
        };
        pb::StackService {
            key: key.clone(),
            spec: Some(spec.into()),
            replicas_given: *replicas_given,
            networks: networks.iter().map(attachment).collect(),
            secrets: secrets.iter().map(file_on_wire).collect(),
            configs: configs.iter().map(file_on_wire).collect(),
        }
    }
}

impl TryFrom<pb::StackService> for StackService {
    type Error = Invalid;
    fn try_from(service: pb::StackService) -> Result<Self, Invalid> {
        let pb::StackService {
            key,
            spec,
            replicas_given,
            networks,
            secrets,
            configs,
        } = service;
        let attachment = |pb::stack_service::Attachment { name, aliases }| (name, aliases);
        Ok(StackService {
            key,
            spec: require(spec, "stack.services.spec")?.try_into()?,
            replicas_given,
            networks: networks.into_iter().map(attachment).collect(),
            secrets: secrets.into_iter().map(file).collect(),
            configs: configs.into_iter().map(file).collect(),
        })
    }
}

fn file_on_wire((name, target): &(String, FileTarget)) -> pb::stack_service::File {
    let FileTarget {
        path,
        uid,
        gid,
        mode,
    } = target;
    pb::stack_service::File {
        name: name.clone(),
        path: path.clone(),
        uid: *uid,
        gid: *gid,
        mode: *mode,
    }
}

fn file(file: pb::stack_service::File) -> (String, FileTarget) {
    let pb::stack_service::File {
        name,
        path,
        uid,
        gid,
        mode,
    } = file;
    let target = FileTarget {
        path,
        uid,
        gid,
        mode,
    };
    (name, target)
}

fn revision_on_wire(revision: &Revision, spec: &StackSpec) -> pb::StackRevision {
    pb::StackRevision {
        revision: Some(revision::on_wire(revision, None)),
        spec: Some(spec.into()),
    }
}

impl TryFrom<pb::StackRevision> for PastStack {
    type Error = Invalid;
    fn try_from(past: pb::StackRevision) -> Result<Self, Invalid> {
        let pb::StackRevision { revision, spec } = past;
        let (revision, _) = revision::read(require(revision, "stack_revision.revision")?)?;
        let spec = require(spec, "stack_revision.spec")?.try_into()?;
        Ok(PastStack {
            revision,
            spec: Arc::new(spec),
        })
    }
}

/// A stack, with its earlier revisions or without.
pub fn stack_on_wire(stack: &Stack, with_past: bool) -> pb::Stack {
    let Stack {
        id,
        meta,
        revision,
        spec,
        past,
        services,
        leaving,
    } = stack;
    let past = past.iter().filter(|_| with_past);
    let past = past.map(|past| revision_on_wire(&past.revision, &past.spec));
    let deployed = |(service, revision): (&_, &u64)| pb::stack::Deployed {
        service: id_bytes(*service),
        revision: *revision,
    };
    pb::Stack {
        id: id_bytes(*id),
        meta: Some(meta.into()),
        revisions: past.chain([revision_on_wire(revision, spec)]).collect(),
        services: services.iter().map(deployed).collect(),
        leaving: leaving.iter().copied().map(id_bytes).collect(),
    }
}

impl From<&Stack> for pb::Stack {
    fn from(stack: &Stack) -> Self {
        stack_on_wire(stack, true)
    }
}

impl TryFrom<pb::Stack> for Stack {
    type Error = Invalid;
    fn try_from(stack: pb::Stack) -> Result<Self, Invalid> {
        let pb::Stack {
            id: id_field,
            meta,
            revisions,
            services,
            leaving,
        } = stack;
        let mut past: Vec<PastStack> = read(revisions, TryInto::try_into)?;
        let PastStack { revision, spec } = require(past.pop(), "stack.revisions")?;
        let deployed = |pb::stack::Deployed { service, revision }| {
            Ok((id(&service, "stack.services.service")?, revision))
        };
        Ok(Stack {
            id: id(&id_field, "stack.id")?,
            meta: require(meta, "stack.meta")?.into(),
            revision,
            spec,
            past,
            services: services
                .into_iter()
                .map(deployed)
                .collect::<Result<_, Invalid>>()?,
            leaving: read(leaving, |network| id(&network, "stack.leaving"))?,
        })
    }
}

//! Snapshots of the store as bytes.

use super::basic::{id, id_bytes, require};
use super::format::{known, since};
use super::task::{task_on_wire, task_with_spec};
use crate::{Invalid, pb};
use prost::Message;
use skep_manager_store::Dump;
use skep_types::{Format, TaskSpec, Version};
use std::sync::Arc;

/// The bytes of a snapshot.
pub fn encode_snapshot(dump: &Dump) -> Vec<u8> {
    let Dump {
        version,
        cluster,
        nodes,
        templates,
        services,
        tasks,
        networks,
        secrets,
        configs,
        stacks,
    } = dump;
    // What the store holds came in entries of this format.
    let format = cluster.as_ref().map_or(Format::FIRST, |c| c.format);
    pb::Snapshot {
        format: format.0,
        since: since(format),
        version: version.0,
        cluster: cluster.as_deref().map(Into::into),
        nodes: nodes.iter().map(|node| node.as_ref().into()).collect(),
        services: services
            .iter()
            .map(|service| service.as_ref().into())
            .collect(),
        specs: templates
            .iter()
            .map(|(service, version, spec)| pb::SpecEntry {
                service: id_bytes(*service),
                spec_version: version.0,
                spec: Some(spec.as_ref().into()),
            })
            .collect(),
        tasks: tasks.iter().map(|task| task_on_wire(task, false)).collect(),
        networks: networks
            .iter()
            .map(|network| network.as_ref().into())
            .collect(),
        secrets: secrets
            .iter()
            .map(|secret| secret.as_ref().into())
            .collect(),
        configs: configs
            .iter()
            .map(|config| config.as_ref().into())
            .collect(),
        stacks: stacks.iter().map(|stack| stack.as_ref().into()).collect(),
    }
    .encode_to_vec()
}

/// Reads a snapshot. Tasks come without their templates; the store puts the
/// shared ones there.
///
/// # Errors
/// When it is damaged, or of a newer format than this build knows.
pub fn decode_snapshot(bytes: &[u8]) -> Result<Dump, Invalid> {
    let pb::Snapshot {
        format,
        version,
        cluster,
        nodes,
        services,
        specs,
        tasks,
        networks,
        secrets,
        configs,
        since,
        stacks,
    } = pb::Snapshot::decode(bytes).map_err(|error| Invalid::Encoding(error.to_string()))?;
    known(format, since)?;
    let template = |pb::SpecEntry {
                        service,
                        spec_version,
                        spec,
                    }| {
        let spec: TaskSpec = require(spec, "spec_entry.spec")?.try_into()?;
        Ok((
            id(&service, "spec_entry.service")?,
            Version(spec_version),
            Arc::new(spec),
        ))
    };
    let no_template: Arc<TaskSpec> = Arc::default();
    Ok(Dump {
        version: Version(version),
        cluster: cluster.map(TryInto::try_into).transpose()?.map(Arc::new),
        nodes: shared(nodes)?,
        templates: specs
            .into_iter()
            .map(template)
            .collect::<Result<_, Invalid>>()?,
        services: shared(services)?,
        tasks: tasks
            .into_iter()
            .map(|task| task_with_spec(task, Some(no_template.clone())).map(Arc::new))
            .collect::<Result<_, _>>()?,
        networks: shared(networks)?,
        secrets: shared(secrets)?,
        configs: shared(configs)?,
        stacks: shared(stacks)?,
    })
}

fn shared<W, D: TryFrom<W, Error = Invalid>>(objects: Vec<W>) -> Result<Vec<Arc<D>>, Invalid> {
    objects
        .into_iter()
        .map(|object| object.try_into().map(Arc::new))
        .collect()
}

//! Services as the cluster keeps them, with their revisions.

use super::basic::{id, id_bytes, require, wire_enum};
use crate::{Invalid, pb};
use skep_types::{
    PastRevision, Revision, RevisionOutcome, Service, ServiceSpec, Timestamp, Version,
};

wire_enum!(RevisionOutcome, RevisionOutcome, outcome, "revision.outcome", {
    Completed = Completed, Failed = Failed, Superseded = Superseded,
});

pub(super) fn on_wire(revision: &Revision, spec: Option<&ServiceSpec>) -> pb::Revision {
    let Revision {
        number,
        made_at,
        returns_to,
        outcome,
    } = revision;
    pb::Revision {
        number: *number,
        made_at_ms: made_at.0,
        returns_to: *returns_to,
        outcome: outcome.map(|outcome| pb::RevisionOutcome::from(outcome).into()),
        spec: spec.map(Into::into),
    }
}

pub(super) fn read(revision: pb::Revision) -> Result<(Revision, Option<pb::ServiceSpec>), Invalid> {
    let pb::Revision {
        number,
        made_at_ms,
        returns_to,
        outcome: outcome_field,
        spec,
    } = revision;
    let revision = Revision {
        number,
        made_at: Timestamp(made_at_ms),
        returns_to,
        outcome: outcome_field.map(outcome).transpose()?,
    };
    Ok((revision, spec))
}

impl TryFrom<pb::Revision> for PastRevision {
    type Error = Invalid;
    fn try_from(revision: pb::Revision) -> Result<Self, Invalid> {
        let (revision, spec) = read(revision)?;
        Ok(PastRevision {
            revision,
            spec: require(spec, "revision.spec")?.try_into()?,
        })
    }
}

/// A service, with its earlier revisions or without.
pub fn service_on_wire(service: &Service, with_past: bool) -> pb::Service {
    let Service {
        id,
        meta,
        spec,
        spec_version,
        revision,
        past,
        endpoint,
        update_status,
        job,
        rebalance_since,
        waits_for,
    } = service;
    let past = past.iter().filter(|_| with_past);
    let past = past.map(|past| on_wire(&past.revision, Some(&past.spec)));
    pb::Service {
        id: id_bytes(*id),
        meta: Some(meta.into()),
        spec: Some(spec.into()),
        spec_version: spec_version.0,
        revisions: past.chain([on_wire(revision, None)]).collect(),
        endpoint: Some(endpoint.into()),
        update_status: update_status.as_ref().map(Into::into),
        job: Some(job.into()),
        rebalance_since_ms: rebalance_since.map(|since| since.0),
        waits_for: waits_for.clone(),
    }
}

impl From<&Service> for pb::Service {
    fn from(service: &Service) -> Self {
        service_on_wire(service, true)
    }
}

impl TryFrom<pb::Service> for Service {
    type Error = Invalid;
    fn try_from(service: pb::Service) -> Result<Self, Invalid> {
        let pb::Service {
            id: id_field,
            meta,
            spec,
            spec_version,
            mut revisions,
            endpoint,
            update_status,
            job,
            rebalance_since_ms,
            waits_for,
        } = service;
        let (revision, _) = read(require(revisions.pop(), "service.revisions")?)?;
        Ok(Service {
            id: id(&id_field, "service.id")?,
            meta: require(meta, "service.meta")?.into(),
            spec: require(spec, "service.spec")?.try_into()?,
            spec_version: Version(spec_version),
            revision,
            past: revisions
                .into_iter()
                .map(TryInto::try_into)
                .collect::<Result<_, _>>()?,
            endpoint: require(endpoint, "service.endpoint")?.try_into()?,
            update_status: update_status.map(TryInto::try_into).transpose()?,
            job: job.unwrap_or_default().try_into()?,
            rebalance_since: rebalance_since_ms.map(Timestamp),
            waits_for,
        })
    }
}

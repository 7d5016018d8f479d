//! Secrets and configs.

use super::basic::{id, id_bytes, require};
use crate::{Invalid, pb};
use skep_types::{Config, ConfigSpec, Secret, SecretSpec, Timestamp};

/// Secrets and configs share their form on the wire.
macro_rules! data_object {
    ($object:ident, $spec:ident, $field:literal) => {
        impl From<&$spec> for pb::DataSpec {
            fn from(spec: &$spec) -> Self {
                let $spec {
                    name,
                    labels,
                    data,
                    template,
                } = spec;
                pb::DataSpec {
                    name: name.clone(),
                    labels: labels.clone(),
                    data: bytes::Bytes::copy_from_slice(data),
                    template: *template,
                }
            }
        }

        impl From<pb::DataSpec> for $spec {
            fn from(spec: pb::DataSpec) -> Self {
                let pb::DataSpec {
                    name,
                    labels,
                    data,
                    template,
                } = spec;
                $spec {
                    name,
                    labels,
                    data: data.as_ref().into(),
                    template,
                }
            }
        }

        impl From<&$object> for pb::DataObject {
            fn from(object: &$object) -> Self {
                let $object {
                    id,
                    meta,
                    spec,
                    generation,
                    superseded_at,
                } = object;
                pb::DataObject {
                    id: id_bytes(*id),
                    meta: Some(meta.into()),
                    spec: Some(spec.into()),
                    generation: *generation,
                    superseded_at_ms: superseded_at.map(|at| at.0),
                }
            }
        }

        impl TryFrom<pb::DataObject> for $object {
            type Error = Invalid;
            fn try_from(object: pb::DataObject) -> Result<Self, Invalid> {
                let pb::DataObject {
                    id: id_field,
                    meta,
                    spec,
                    generation,
                    superseded_at_ms,
                } = object;
                Ok($object {
                    id: id(&id_field, $field)?,
                    meta: require(meta, concat!($field, " meta"))?.into(),
                    spec: require(spec, concat!($field, " spec"))?.into(),
                    generation,
                    superseded_at: superseded_at_ms.map(Timestamp),
                })
            }
        }
    };
}
data_object!(Secret, SecretSpec, "secret.id");
data_object!(Config, ConfigSpec, "config.id");

//! Amounts of what a task takes, and of what a node has of its own kinds.

use crate::{Invalid, pb};
use skep_types::{ByteCount, GenericResource, Generics, NanoCpus, Resources};
use std::collections::BTreeMap;

impl From<&Resources> for pb::Resources {
    fn from(resources: &Resources) -> Self {
        let Resources {
            cpu_limit,
            memory_limit,
            pids_limit,
            cpu_reservation,
            memory_reservation,
            generic,
        } = resources;
        pb::Resources {
            cpu_limit_nano: cpu_limit.0,
            memory_limit_bytes: memory_limit.0,
            pids_limit: *pids_limit,
            cpu_reservation_nano: cpu_reservation.0,
            memory_reservation_bytes: memory_reservation.0,
            generic: generic.clone(),
        }
    }
}

impl From<pb::Resources> for Resources {
    fn from(resources: pb::Resources) -> Self {
        let pb::Resources {
            cpu_limit_nano,
            memory_limit_bytes,
            pids_limit,
            cpu_reservation_nano,
            memory_reservation_bytes,
            generic,
        } = resources;
        Resources {
            cpu_limit: NanoCpus(cpu_limit_nano),
            memory_limit: ByteCount(memory_limit_bytes),
            pids_limit,
            cpu_reservation: NanoCpus(cpu_reservation_nano),
            memory_reservation: ByteCount(memory_reservation_bytes),
            generic,
        }
    }
}

pub(crate) fn generics_on_wire(generics: &Generics) -> BTreeMap<String, pb::GenericResource> {
    let entry = |(kind, has): (&String, &GenericResource)| {
        let (count, names) = match has {
            GenericResource::Count(count) => (*count, Vec::new()),
            GenericResource::Named(names) => (0, names.iter().cloned().collect()),
        };
        (kind.clone(), pb::GenericResource { count, names })
    };
    generics.iter().map(entry).collect()
}

pub(crate) fn generics(
    generics: BTreeMap<String, pb::GenericResource>,
) -> Result<Generics, Invalid> {
    let entry = |(kind, has): (String, pb::GenericResource)| {
        let pb::GenericResource { count, names } = has;
        let has = match (count, names.is_empty()) {
            (count, true) => GenericResource::Count(count),
            (0, false) => GenericResource::Named(names.into_iter().collect()),
            _ => {
                let both = format!("{kind} has a count and names");
                return Err(Invalid::Value("generic", both));
            }
        };
        Ok((kind, has))
    };
    generics.into_iter().map(entry).collect()
}

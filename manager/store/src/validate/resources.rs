//! Checks of what a task takes.

use super::Invalid;
use skep_types::{ByteCount, GenericResource, NanoCpus, Resources};
use std::collections::BTreeMap;

/// Least CPU limit or reservation, in billionths.
const CPU_MIN: u64 = 1_000_000;
/// Least memory limit or reservation, in bytes.
const MEMORY_MIN: u64 = 6 * 1024 * 1024;
/// Most of one kind that a task can ask for.
const GENERIC_MAX: u64 = 1_000_000;

pub(super) fn check(resources: &Resources) -> Result<(), Invalid> {
    let Resources {
        cpu_limit: NanoCpus(cpu_limit),
        memory_limit: ByteCount(memory_limit),
        pids_limit: _,
        cpu_reservation: NanoCpus(cpu_reservation),
        memory_reservation: ByteCount(memory_reservation),
        generic,
    } = resources;
    for cpu in [*cpu_limit, *cpu_reservation] {
        if cpu != 0 && cpu < CPU_MIN {
            return refuse(format!(
                "invalid cpu value {}: Must be at least 0.001",
                cpu as f64 / 1e9
            ));
        }
    }
    for memory in [*memory_limit, *memory_reservation] {
        if memory != 0 && memory < MEMORY_MIN {
            return refuse(format!(
                "invalid memory value {memory}: Must be at least 6MiB"
            ));
        }
    }
    let above = |reserved: u64, limit: u64| limit != 0 && reserved > limit;
    if above(*cpu_reservation, *cpu_limit) || above(*memory_reservation, *memory_limit) {
        return refuse("a reservation must not exceed the limit beside it");
    }
    check_generic(generic)
}

fn check_generic(generic: &BTreeMap<String, u64>) -> Result<(), Invalid> {
    if generic.len() > GenericResource::KINDS_MAX {
        return refuse(format!(
            "{} generic resources are too many: a service can have {} at most",
            generic.len(),
            GenericResource::KINDS_MAX
        ));
    }
    if let Some((one, other)) = GenericResource::alike(generic.keys()) {
        return refuse(format!(
            "generic resources {one:?} and {other:?} would have the same variable in the \
             container: use the one kind that the nodes have"
        ));
    }
    for (kind, wanted) in generic {
        if !GenericResource::is_kind(kind) {
            return refuse(format!(
                "invalid generic resource {kind:?}: a kind has letters, digits, '.', '_' and '-', \
                 {} at most, such as gpu",
                GenericResource::NAME_MAX
            ));
        }
        if *wanted == 0 || *wanted > GENERIC_MAX {
            return refuse(format!(
                "invalid generic resource {kind}={wanted}: the number must be from 1 to \
                 {GENERIC_MAX}"
            ));
        }
    }
    Ok(())
}

fn refuse<T>(message: impl Into<String>) -> Result<T, Invalid> {
    Err(Invalid::Spec(message.into()))
}

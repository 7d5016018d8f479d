//! Checks of what a service waits for.

use super::{Invalid, dns_name};
use crate::snapshot::Snapshot;
use skep_types::Dependency;
use std::collections::BTreeSet;

/// # Errors
/// The first thing that is wrong with what the service of this name is to wait for.
pub(super) fn check(
    snapshot: &Snapshot,
    name: &str,
    depends_on: &[Dependency],
) -> Result<(), Invalid> {
    if depends_on.len() > Dependency::MOST {
        return Err(Invalid::Spec(format!(
            "it depends on {} services: {} are the most",
            depends_on.len(),
            Dependency::MOST
        )));
    }
    let mut named = BTreeSet::new();
    for Dependency { service, .. } in depends_on {
        dns_name("service", service)?;
        if !named.insert(service.to_ascii_lowercase()) {
            return Err(Invalid::Spec(format!(
                "it depends on service {service} twice"
            )));
        }
    }
    match ring(snapshot, name, depends_on) {
        None => Ok(()),
        Some(ring) => Err(Invalid::Spec(format!(
            "its tasks would wait for each other without end: {}",
            ring.join(" waits for ")
        ))),
    }
}

/// A way from the service over what it waits for back to itself.
fn ring(snapshot: &Snapshot, name: &str, depends_on: &[Dependency]) -> Option<Vec<String>> {
    let mut seen = BTreeSet::new();
    let first = |on: &Dependency| vec![name.to_owned(), on.service.clone()];
    let mut ways: Vec<Vec<String>> = depends_on.iter().rev().map(first).collect();
    while let Some(way) = ways.pop() {
        let last = &way[way.len() - 1];
        if last.eq_ignore_ascii_case(name) {
            return Some(way);
        }
        if !seen.insert(last.to_ascii_lowercase()) {
            continue;
        }
        let next = snapshot.service_named(last);
        let next = next.into_iter().flat_map(|next| &next.spec.depends_on);
        for on in next {
            let mut further = way.clone();
            further.push(on.service.clone());
            ways.push(further);
        }
    }
    None
}

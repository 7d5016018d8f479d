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
            Dependency::ring_text(&ring)
        ))),
    }
}

/// A way from the service over what it waits for back to itself.
fn ring(snapshot: &Snapshot, name: &str, depends_on: &[Dependency]) -> Option<Vec<String>> {
    // The names on the way, each with the place of the one that it was found by. There may be
    // thousands, one behind the other.
    let mut found: Vec<(String, usize)> = vec![(name.to_owned(), 0)];
    let mut seen = BTreeSet::new();
    let mut at = 0;
    while at < found.len() {
        let next = match at {
            0 => depends_on,
            _ => (snapshot.service_named(&found[at].0))
                .map_or(&[][..], |next| next.spec.depends_on.as_slice()),
        };
        for on in next {
            if on.service.eq_ignore_ascii_case(name) {
                let mut way = vec![on.service.clone()];
                let mut back = at;
                while back > 0 {
                    way.push(found[back].0.clone());
                    back = found[back].1;
                }
                way.push(name.to_owned());
                way.reverse();
                return Some(way);
            }
            if seen.insert(on.service.to_ascii_lowercase()) {
                found.push((on.service.clone(), at));
            }
        }
        at += 1;
    }
    None
}

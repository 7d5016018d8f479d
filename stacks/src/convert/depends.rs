//! What a service waits for before its tasks start: `depends_on`, short and long.

use super::Maker;
use crate::codes;
use crate::model;
use crate::schema::nearest;
use crate::tree::Step;
use serde_yaml::Value;
use skep_types::{Dependency, DependencyCondition, StackService};
use std::collections::BTreeMap;

impl Maker<'_> {
    pub(super) fn depends_on(&mut self, key: &str, service: &model::Service) -> Vec<Dependency> {
        let mut found = Vec::new();
        for (last, name, how) in items(&service.depends_on) {
            let optional = how.and_then(|how| how.get("required")) == Some(&Value::Bool(false));
            if !self.file.services.contains_key(name) {
                if !optional {
                    self.missing(key, last, name);
                }
                continue;
            }
            let service = format!("{}_{name}", self.stack);
            if found.iter().any(|on: &Dependency| on.service == service) {
                continue;
            }
            if found.len() == Dependency::MOST {
                self.too_many(key, last);
                break;
            }
            let condition = how.and_then(|how| how.get("condition"));
            let condition = condition.and_then(Value::as_str);
            let mut known = DependencyCondition::NAMES.iter();
            let known = known.find(|(_, name)| condition == Some(name));
            found.push(Dependency {
                service,
                // The list says no more than that the other is there first.
                condition: known.map_or(DependencyCondition::Started, |known| known.0),
                optional,
            });
        }
        found
    }

    /// The cluster takes no more; said here it has a place.
    fn too_many(&mut self, key: &str, last: Step<'_>) {
        let message = format!(
            "a service waits for more than {} services",
            Dependency::MOST
        );
        let help = "wait for those that are up last; they may wait for the others";
        self.error_help(codes::OUT_OF_RANGE, &entry(key, last), message, help);
    }

    fn missing(&mut self, key: &str, last: Step<'_>, name: &str) {
        let declared = self.tree.get("services");
        // It was left out for its profiles, and that was said.
        if declared.is_some_and(|services| services.get(name).is_some()) {
            return;
        }
        let message = format!("there is no service {name}: it is not waited for");
        let help = match nearest(name, self.file.services.keys().map(String::as_str)) {
            Some(meant) => format!("did you mean {meant}?"),
            None => "only services of the same stack can be waited for".to_owned(),
        };
        self.warn_help(codes::NO_SUCH_SERVICE, &entry(key, last), message, help);
    }

    /// Finds services that wait for each other: none of them would ever start.
    pub(super) fn check_rings(&mut self, services: &[StackService]) {
        let prefix = format!("{}_", self.stack);
        let next: BTreeMap<&str, Vec<&str>> = services
            .iter()
            .map(|service| {
                let depends_on = service.spec.depends_on.iter();
                let keys = depends_on.filter_map(|on| on.service.strip_prefix(&prefix));
                (service.key.as_str(), keys.collect())
            })
            .collect();
        if let Some(ring) = ring(&next) {
            let path = [
                Step::Key("services"),
                Step::Key(ring[0]),
                Step::Key("depends_on"),
            ];
            let told = Dependency::ring_text(&ring);
            let message = format!("services wait for each other: {told}");
            let help = "let one of them start without the other";
            self.error_help(codes::RING, &path, message, help);
        }
    }
}

/// The path of an entry.
fn entry<'k>(key: &'k str, last: Step<'k>) -> [Step<'k>; 4] {
    let [services, depends_on] = ["services", "depends_on"].map(Step::Key);
    [services, Step::Key(key), depends_on, last]
}

/// The entries of either form.
fn items(depends_on: &Value) -> Vec<(Step<'_>, &str, Option<&Value>)> {
    match depends_on {
        Value::Sequence(names) => {
            let names = names.iter().enumerate();
            let names =
                names.filter_map(|(at, name)| Some((Step::Index(at), name.as_str()?, None)));
            names.collect()
        }
        Value::Mapping(entries) => {
            let named = entries.iter().filter_map(|(name, how)| {
                let name = name.as_str()?;
                Some((Step::Key(name), name, Some(how)))
            });
            named.collect()
        }
        _ => Vec::new(),
    }
}

/// Services that wait for each other, the first of them again at the end. There may be
/// thousands, one behind the other.
fn ring<'k>(next: &BTreeMap<&'k str, Vec<&'k str>>) -> Option<Vec<&'k str>> {
    // Those that start are taken out until none does.
    let mut behind: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut waits: BTreeMap<&str, usize> = BTreeMap::new();
    for (key, on) in next {
        waits.insert(key, on.len());
        for on in on {
            behind.entry(on).or_default().push(key);
        }
    }
    let starts = waits.iter().filter(|(_, count)| **count == 0);
    let mut starts: Vec<&str> = starts.map(|(key, _)| *key).collect();
    while let Some(key) = starts.pop() {
        waits.remove(key);
        for key in behind.get(key).into_iter().flatten() {
            if let Some(count) = waits.get_mut(key) {
                *count -= 1;
                if *count == 0 {
                    starts.push(key);
                }
            }
        }
    }
    // Each of the rest waits for another of the rest.
    let mut way: Vec<&str> = Vec::new();
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    let mut key = *waits.keys().next()?;
    while !places.contains_key(key) {
        places.insert(key, way.len());
        way.push(key);
        key = *next.get(key)?.iter().find(|on| waits.contains_key(*on))?;
    }
    way.push(key);
    Some(way.split_off(*places.get(key)?))
}

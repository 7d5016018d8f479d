//! What nodes have and tasks are given, in the words of a scenario.

use super::World;
use skep_types::{GenericResource, NanoCpus, NodeDescription, Resources};
use std::fmt::Write as _;

/// `gpu=2`, or `gpu=a,b` for some with names.
fn generic(text: &str) -> (String, GenericResource) {
    let (kind, has) = text.split_once('=').expect(text);
    let has = match has.parse() {
        Ok(count) => GenericResource::Count(count),
        Err(_) => GenericResource::Named(has.split(',').map(str::to_owned).collect()),
    };
    (kind.to_owned(), has)
}

/// An option of `node`.
pub(super) fn describe(description: &mut NodeDescription, key: &str, value: &str) {
    match key {
        "reserve" => {
            let cpus: NanoCpus = value.parse().unwrap();
            description.reserved_cpus = cpus;
        }
        "reserve-memory" => description.reserved_memory = value.parse().unwrap(),
        "generic" => description.generic.extend([generic(value)]),
        "platform" => description.platform = value.parse().unwrap(),
        _ => panic!("node option {key}={value}"),
    }
}

/// Of a service: `gpu=2`.
pub(super) fn ask(resources: &mut Resources, value: &str) {
    let (kind, wanted) = generic(value);
    resources.generic.insert(kind, wanted.amount());
}

impl World {
    /// What the tasks of a service have, of those that may run.
    pub(super) fn show_given(&self, out: &mut String, service: &str) {
        let mut tasks: Vec<_> = self
            .store
            .state()
            .tasks()
            .filter(|task| *task.service_name == *service && !task.status.state.is_terminal())
            .collect();
        tasks.sort_by_key(|task| (task.slot, task.id));
        for task in tasks {
            let given = task.generic.iter();
            let given: Vec<String> = given.map(|(kind, has)| format!("{kind}={has}")).collect();
            let node = self.hostname(task);
            let _ = writeln!(out, "{} {node} {}", task.name(), given.join(" "));
        }
    }
}

//! Where merging is not plain: by which rule what stands at a path is merged.

use crate::tree::{Node, Value};
use std::collections::{BTreeMap, BTreeSet};

/// How two values at the same path become one.
#[derive(Clone, Copy)]
pub(super) enum Rule {
    /// Maps key by key, lists one after the other, the later one of all else.
    Unite,
    /// The later one.
    Replace,
    /// The earlier one.
    Keep,
    /// A list with one item of each of these, the later one, in their order.
    Keyed(fn(&Node) -> Key),
    /// A list of references: those of a source go when a later file refers to it.
    BySource,
    /// The later one where the two are not of a kind; else they are united.
    Unless(fn(&Node, &Node) -> bool),
    /// Of keys that nobody knows.
    Extension,
}

/// What makes two items of a list the same thing.
pub(super) type Key = (i64, String, i64, String);

/// By path: `*` is any key, `x-*` any that begins so. The first that fits holds.
const RULES: &[(&str, Rule)] = &[
    ("version", Rule::Keep),
    ("x-*", Rule::Keep),
    ("services.*.command", Rule::Replace),
    ("services.*.entrypoint", Rule::Replace),
    // A check is one command: the words of two are none.
    ("services.*.healthcheck.test", Rule::Replace),
    ("services.*.x-readiness", Rule::Unite),
    ("services.*.x-readiness.test", Rule::Replace),
    // Options belong to a driver.
    ("services.*.logging", Rule::Unless(other_driver)),
    ("services.*.networks.*.aliases", Rule::Replace),
    // By number, protocol, target and mode, so that 53/tcp and 53/udp stay two ports.
    ("services.*.ports", Rule::Keyed(port)),
    ("services.*.volumes", Rule::Keyed(target)),
    ("services.*.secrets", Rule::BySource),
    ("services.*.configs", Rule::BySource),
    ("services.*.ulimits.*", Rule::Replace),
    ("services.*.x-*", Rule::Extension),
    ("networks.*.x-*", Rule::Extension),
    ("volumes.*.x-*", Rule::Extension),
    ("secrets.*.x-*", Rule::Extension),
    ("configs.*.x-*", Rule::Extension),
    // Made by the stack in one file, and somebody else's in the other.
    ("networks.*", Rule::Unless(other_owner)),
    ("volumes.*", Rule::Unless(other_owner)),
    ("secrets.*", Rule::Unless(other_owner)),
    ("configs.*", Rule::Unless(other_owner)),
];

pub(super) fn of(path: &[String]) -> Rule {
    let fits = |pattern: &str| {
        let steps = pattern.split('.');
        steps.clone().count() == path.len()
            && steps.zip(path).all(|(step, key)| match step {
                "*" => true,
                "x-*" => key.starts_with("x-"),
                step => step == key,
            })
    };
    let found = RULES.iter().find(|(pattern, _)| fits(pattern));
    found.map_or(Rule::Unite, |(_, rule)| *rule)
}

/// Puts the lists of a service that was merged in order, and leaves the last of what is the
/// same. The Docker CLI does so even where only one file has the list.
pub(super) fn sort(service: &mut Node, path: &mut Vec<String>) {
    let Value::Map(entries) = &mut service.value else {
        return;
    };
    for entry in entries {
        let Value::List(items) = &mut entry.value.value else {
            continue;
        };
        path.push(entry.key.clone());
        match of(path) {
            Rule::Keyed(key) => {
                let all = std::mem::take(items).into_iter();
                let by_key: BTreeMap<Key, Node> = all.map(|item| (key(&item), item)).collect();
                *items = by_key.into_values().collect();
            }
            Rule::BySource => items.sort_by_cached_key(|item| text(item, "source")),
            _ => {}
        }
        path.pop();
    }
}

/// What `over` refers to as it says, all else as before.
pub(super) fn by_source(base: &mut Node, over: Node) {
    let (Value::List(items), Value::List(more)) = (&mut base.value, over.value) else {
        return;
    };
    let again: BTreeSet<String> = more.iter().map(|item| text(item, "source")).collect();
    items.retain(|item| !again.contains(&text(item, "source")));
    items.extend(more);
}

fn port(item: &Node) -> Key {
    let published = number(item, "published");
    let protocol = text(item, "protocol");
    (
        published,
        protocol,
        number(item, "target"),
        text(item, "mode"),
    )
}

fn target(item: &Node) -> Key {
    (0, text(item, "target"), 0, String::new())
}

fn other_driver(base: &Node, over: &Node) -> bool {
    let (was, is) = (text(base, "driver"), text(over, "driver"));
    !was.is_empty() && !is.is_empty() && was != is
}

fn other_owner(base: &Node, over: &Node) -> bool {
    let is_external = |node: &Node| {
        let external = node.get("external").map(|external| &external.value);
        external == Some(&Value::Bool(true))
    };
    is_external(base) != is_external(over)
}

fn text(node: &Node, key: &str) -> String {
    let text = node.get(key).and_then(Node::scalar_text);
    text.unwrap_or_default()
}

fn number(node: &Node, key: &str) -> i64 {
    match node.get(key).map(|found| &found.value) {
        Some(Value::Int(number)) => *number,
        _ => 0,
    }
}

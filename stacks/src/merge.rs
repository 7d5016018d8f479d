//! Several files into one, later ones on top.
//!
//! Works on trees in normal form, so that what is merged still knows its places. Maps are
//! united key by key, lists appended, all else is replaced by what a later file says; where
//! that is not the rule, [`rules`] has it. Null says nothing.

mod marks;
mod rules;

pub(crate) use marks::{Path, take};

use crate::tree::{Entry, Node, Value};
use rules::Rule;
use std::collections::HashMap;

/// Puts `over` on top of `base`, after what `over` clears of it is gone.
pub(crate) fn files(base: &mut Node, over: Node, cleared: &[Path]) {
    for path in cleared {
        base.remove(path);
    }
    node(base, over, &mut Vec::new());
}

fn node(base: &mut Node, over: Node, path: &mut Vec<String>) {
    if over.value == Value::Null {
        return;
    }
    if base.value == Value::Null {
        *base = over;
        return;
    }
    match rules::of(path) {
        Rule::Unite | Rule::Keyed(_) => unite(base, over, path),
        Rule::Replace => *base = over,
        Rule::Keep => {}
        Rule::BySource => rules::by_source(base, over),
        Rule::Unless(differ) if differ(base, &over) => *base = over,
        Rule::Unless(_) => unite(base, over, path),
        Rule::Extension => extension(base, over),
    }
}

/// Key by key, or item after item.
fn unite(base: &mut Node, over: Node, path: &mut Vec<String>) {
    match (&mut base.value, over.value) {
        (Value::Map(entries), Value::Map(more)) => {
            base.place = over.place;
            let places = entries.iter().map(|entry| entry.key.clone()).zip(0..);
            let known: HashMap<String, usize> = places.collect();
            for entry in more {
                path.push(entry.key.clone());
                match known.get(&entry.key) {
                    Some(found) => {
                        let found = &mut entries[*found];
                        if entry.value.value != Value::Null {
                            found.key_place = entry.key_place;
                        }
                        node(&mut found.value, entry.value, path);
                    }
                    None if matches!(rules::of(path), Rule::Keep) => {}
                    None => entries.push(entry),
                }
                path.pop();
            }
        }
        (Value::List(items), Value::List(more)) => items.extend(more),
        (_, value) => *base = Node::new(over.place, value),
    }
    if let [section, _] = &path[..]
        && section == "services"
    {
        rules::sort(base, path);
    }
}

/// What nobody here knows: as the Docker CLI does it, lists are replaced.
fn extension(base: &mut Node, over: Node) {
    match (&mut base.value, over.value) {
        (Value::Map(entries), Value::Map(more)) => {
            for Entry {
                key,
                key_place,
                value,
            } in more
            {
                match entries.iter_mut().find(|e| e.key == key) {
                    Some(found) => extension(&mut found.value, value),
                    None => entries.push(Entry {
                        key,
                        key_place,
                        value,
                    }),
                }
            }
        }
        (_, value) => *base = Node::new(over.place, value),
    }
}

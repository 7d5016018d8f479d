//! The labels of a service: those of its files, then its own.

use super::files::{self, Grammar, Named};
use crate::diagnostic::Report;
use crate::normal::{Context, last_of_each, pairs};
use crate::tree::{Entry, Node, Value, join};

/// Gathers `label_file` and `labels` of a service into `labels`.
pub(crate) fn labels(node: &mut Node, path: &str, context: &Context<'_>, report: &mut Report) {
    let Some(named) = node.get("label_file") else {
        return;
    };
    let path = join(path, "label_file");
    let named = match named.as_list() {
        None => vec![(named.clone(), path)],
        Some(items) => {
            let items = items.iter().enumerate();
            let named = items.map(|(index, item)| (item.clone(), format!("{path}[{index}]")));
            named.collect()
        }
    };
    let mut gathered: Vec<Entry> = Vec::new();
    for (node, path) in named {
        let place = node.place;
        let file = Named {
            node,
            path,
            grammar: Grammar::Dotenv,
            required: true,
        };
        let found = files::variables(&file, context, report).into_iter();
        gathered.extend(found.map(|(key, value)| Entry {
            key,
            key_place: place,
            value: Node::str(place, value),
        }));
    }
    let Value::Map(entries) = &mut node.value else {
        return;
    };
    let own = entries.iter().position(|entry| entry.key == "labels");
    let mut own = match own {
        Some(index) => entries.remove(index),
        None => Entry {
            key: "labels".to_owned(),
            key_place: node.place,
            value: Node::new(node.place, Value::Map(Vec::new())),
        },
    };
    pairs(&mut own.value, "=", false);
    if let Value::Map(labels) = &mut own.value.value {
        gathered.append(labels);
        *labels = last_of_each(gathered);
    }
    entries.push(own);
}

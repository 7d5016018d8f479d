//! The environment of a service: env files, then its own, then what the caller
//! has for keys without a value.

mod files;
mod labels;

pub(crate) use files::Files;
pub(super) use labels::labels;

use super::{Context, last_of_each, pairs};
use crate::codes;
use crate::diagnostic::Report;
use crate::interpolate;
use crate::tree::{Entry, Node, Value, join};
use files::{Grammar, Named};

/// Gathers `env_file` and `environment` of a service into `environment`.
pub(super) fn gather(node: &mut Node, path: &str, context: &Context<'_>, report: &mut Report) {
    let mut gathered: Vec<Entry> = Vec::new();
    for named in files(node, path, report) {
        let place = named.node.place;
        let variables = files::variables(&named, context, report).into_iter();
        gathered.extend(variables.map(|(key, value)| Entry {
            key,
            key_place: place,
            value: Node::str(place, value),
        }));
    }
    let mut own_place = node.place;
    if let Some(own) = node.get_mut("environment") {
        own_place = own.place;
        pairs(own, "=", true);
        let mut entries = match std::mem::replace(&mut own.value, Value::Null) {
            Value::Map(entries) => entries,
            _ => Vec::new(),
        };
        let path = join(path, "environment");
        fill(&mut entries, &path, context, report);
        gathered.extend(entries);
    }
    let Value::Map(entries) = &mut node.value else {
        return;
    };
    let gathered = last_of_each(gathered);
    entries.retain(|e| e.key != "environment");
    if !gathered.is_empty() {
        entries.push(Entry {
            key: "environment".to_owned(),
            key_place: own_place,
            value: Node::new(own_place, Value::Map(gathered)),
        });
    }
}

/// Makes the names of files absolute in a tree that is in normal form: it becomes part of one
/// whose paths start elsewhere.
pub(crate) fn absolute(root: &mut Node, context: &Context<'_>) {
    let absolute = |node: &mut Node| {
        if let Some(text) = node.as_str() {
            node.value = Value::Str(context.absolute(text));
        }
    };
    let services = root.get_mut("services").map(|node| &mut node.value);
    let Some(Value::Map(services)) = services else {
        return;
    };
    for service in services {
        for key in ["env_file", "label_file"] {
            let files = service.value.get_mut(key).map(|node| &mut node.value);
            let Some(Value::List(files)) = files else {
                continue;
            };
            for file in files {
                match file.get_mut("path") {
                    Some(path) => absolute(path),
                    None => absolute(file),
                }
            }
        }
    }
}

/// The env files that a service names.
fn files(node: &Node, path: &str, report: &mut Report) -> Vec<Named> {
    let path = join(path, "env_file");
    match node.get("env_file") {
        Some(list) if list.as_list().is_some() => {
            let items = list.as_list().unwrap_or_default().iter().enumerate();
            let named = items.map(|(i, item)| named(item, format!("{path}[{i}]"), report));
            named.collect()
        }
        Some(file) => vec![named(file, path, report)],
        None => Vec::new(),
    }
}

/// A name alone, or what is said beside `path`.
fn named(item: &Node, path: String, report: &mut Report) -> Named {
    let Some(name) = item.get("path") else {
        return Named {
            node: item.clone(),
            path,
            grammar: Grammar::Raw,
            required: true,
        };
    };
    let grammar = match item.get("format") {
        None => Grammar::Dotenv,
        Some(format) => {
            let word = format.as_str().unwrap_or_default();
            if word != "raw" {
                let message = format!("there is no format {word:?} of env files");
                let help = "write raw for lines as they stand, or leave it out";
                let path = join(&path, "format");
                report.error_help(codes::WORD, Some(format.place), &path, message, help);
            }
            Grammar::Raw
        }
    };
    let required = item.get("required").map(|required| &required.value);
    Named {
        node: name.clone(),
        path: join(&path, "path"),
        grammar,
        required: required != Some(&Value::Bool(false)),
    }
}

/// Keys without a value take that of a variable, empty ones the caller's.
fn fill(entries: &mut [Entry], path: &str, context: &Context<'_>, report: &mut Report) {
    for entry in entries {
        let (empty, found) = match &entry.value.value {
            Value::Null => (false, (context.env)(&entry.key)),
            Value::Str(text) if text.is_empty() => (true, (context.caller)(&entry.key)),
            _ => continue,
        };
        if let Some(value) = found {
            if empty && !value.is_empty() {
                let message = format!(
                    "the empty value of {} is replaced by the one of your environment",
                    entry.key
                );
                let help = "unset it in the environment to keep the value empty";
                let path = join(path, &entry.key);
                report.warn_help(
                    codes::EMPTY_REPLACED,
                    Some(entry.key_place),
                    &path,
                    message,
                    help,
                );
            }
            if !context.room.replaced.take(value.len()) {
                let (code, message) = (codes::VARIABLES_TOO_LARGE, interpolate::too_much_text());
                let path = join(path, &entry.key);
                report.error(code, Some(entry.key_place), &path, message);
                return;
            }
            entry.value.value = Value::Str(value);
        }
    }
}

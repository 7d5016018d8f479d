//! Mounts: `source:target:options`, written out; paths made absolute.

use super::{Context, sizes};
use crate::codes;
use crate::diagnostic::{Place, Report};
use crate::tree::{Entry, Node, Value};

const PROPAGATIONS: &[&str] = &[
    "private", "rprivate", "slave", "rslave", "shared", "rshared",
];

/// Turns every short form of a list of mounts into a long one.
pub(super) fn spread(node: &mut Node, path: &str, context: &Context<'_>, report: &mut Report) {
    let Value::List(items) = &mut node.value else {
        return;
    };
    for (index, item) in items.iter_mut().enumerate() {
        let path = format!("{path}[{index}]");
        if let Some(text) = item.as_str().map(str::to_owned) {
            match short(&text, item.place, &path, report) {
                Ok(long) => *item = long,
                Err(message) => {
                    let help = "a mount is written as \"source:target\" or \"source:target:ro\"";
                    report.error_help(codes::MOUNT, Some(item.place), &path, message, help);
                    continue;
                }
            }
        }
        bind_source(item, &path, context, report);
        if let Some(size) = item.get_mut("tmpfs").and_then(|t| t.get_mut("size")) {
            sizes::bytes(size, &format!("{path}.tmpfs.size"), report);
        }
        if let Some(mode) = item.get_mut("tmpfs").and_then(|t| t.get_mut("mode")) {
            octal(mode, &format!("{path}.tmpfs.mode"), report);
        }
    }
}

/// Permissions in text are octal.
fn octal(node: &mut Node, path: &str, report: &mut Report) {
    let Some(text) = node.as_str() else {
        return;
    };
    match i64::from_str_radix(text, 8) {
        Ok(mode) => node.value = Value::Int(mode),
        Err(_) => {
            let message = format!("{text:?} are no permissions");
            let help = "write an octal number, such as 01777";
            report.error_help(codes::WORD, Some(node.place), path, message, help);
        }
    }
}

/// A bind mount has a source; it is made absolute.
fn bind_source(item: &mut Node, path: &str, context: &Context<'_>, report: &mut Report) {
    if item.get("type").and_then(Node::as_str) != Some("bind") {
        return;
    }
    let place = item.place;
    let Some(source) = item.get_mut("source") else {
        let message = "a bind mount needs the key `source`";
        report.error(codes::MISSING_KEY, Some(place), path, message);
        return;
    };
    let Some(text) = source.as_str().filter(|t| !t.is_empty()) else {
        report.error(
            codes::MOUNT,
            Some(place),
            path,
            "the source of a bind mount is empty",
        );
        return;
    };
    let expanded = match text.strip_prefix('~') {
        None => text.to_owned(),
        Some(rest) => match (context.env)("HOME") {
            Some(home) => format!("{home}{rest}"),
            None => {
                let message = "`~` cannot be expanded: HOME is not set";
                report.warn(codes::UNREADABLE, Some(place), path, message);
                text.to_owned()
            }
        },
    };
    source.value = Value::Str(context.absolute(&expanded));
}

fn short(text: &str, place: Place, path: &str, report: &mut Report) -> Result<Node, String> {
    let entry = |key: &str, value| Entry {
        key: key.to_owned(),
        key_place: place,
        value: Node::new(place, value),
    };
    let of = |text: &str| Value::Str(text.to_owned());
    if text.is_empty() {
        return Err("a mount is empty".to_owned());
    }
    let parts: Vec<&str> = text.split(':').collect();
    if parts.iter().any(|p| p.is_empty()) {
        return Err(format!("{text:?} has nothing between two colons"));
    }
    let (source, target, options) = match parts.as_slice() {
        [target] => (None, *target, None),
        [source, target] => (Some(*source), *target, None),
        [source, target, options] => (Some(*source), *target, Some(*options)),
        _ => return Err(format!("{text:?} has too many colons")),
    };
    let is_path = source.is_some_and(|s| s.starts_with(['.', '/', '~']));
    let mut entries = vec![entry("type", of(if is_path { "bind" } else { "volume" }))];
    entries.extend(source.map(|s| entry("source", of(s))));
    entries.push(entry("target", of(target)));
    let mut read_only = false;
    for option in options.into_iter().flat_map(|o| o.split(',')) {
        let nested = |key: &str, value| Value::Map(vec![entry(key, value)]);
        match option {
            "ro" => read_only = true,
            "rw" => read_only = false,
            "nocopy" => entries.push(entry("volume", nested("nocopy", Value::Bool(true)))),
            o if PROPAGATIONS.contains(&o) => {
                entries.retain(|e| e.key != "bind");
                entries.push(entry("bind", nested("propagation", of(o))));
            }
            other => {
                let message = format!("the mount option {other:?} is ignored");
                let help = "options are ro, rw, nocopy and the kinds of propagation";
                report.warn_help(
                    codes::VALUE_WITHOUT_EFFECT,
                    Some(place),
                    path,
                    message,
                    help,
                );
            }
        }
    }
    if read_only {
        entries.push(entry("read_only", Value::Bool(true)));
    }
    Ok(Node::new(place, Value::Map(entries)))
}

//! The environment of a service: env files, then its own, then what the caller
//! has for keys without a value.

use super::{Context, last_of_each, pairs};
use crate::codes;
use crate::diagnostic::Report;
use crate::parse::MOST_BYTES;
use crate::tree::{Entry, Node, Value, join};
use std::path::Path;

/// Gathers `env_file` and `environment` of a service into `environment`.
pub(super) fn gather(node: &mut Node, path: &str, context: &Context<'_>, report: &mut Report) {
    let mut gathered: Vec<Entry> = Vec::new();
    for (file_path, file) in files(node, path) {
        for (key, value) in read(&file, &file_path, context, report) {
            gathered.push(Entry {
                key,
                key_place: file.place,
                value: Node::str(file.place, value),
            });
        }
    }
    let mut gathered = last_of_each(gathered);
    fill(&mut gathered, path, context, report, false);
    let mut own_place = node.place;
    if let Some(own) = node.get_mut("environment") {
        own_place = own.place;
        pairs(own, "=", true);
        let mut entries = match std::mem::replace(&mut own.value, Value::Null) {
            Value::Map(entries) => entries,
            _ => Vec::new(),
        };
        let path = join(path, "environment");
        fill(&mut entries, &path, context, report, true);
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

/// The env files with their paths in the tree.
fn files(node: &Node, path: &str) -> Vec<(String, Node)> {
    let path = join(path, "env_file");
    match node.get("env_file") {
        Some(file) if file.as_str().is_some() => vec![(path, file.clone())],
        Some(list) => {
            let items = list.as_list().unwrap_or_default().iter().enumerate();
            items
                .map(|(i, n)| (format!("{path}[{i}]"), n.clone()))
                .collect()
        }
        None => Vec::new(),
    }
}

/// Keys without a value, and empty ones, take the caller's value.
fn fill(
    entries: &mut [Entry],
    path: &str,
    context: &Context<'_>,
    report: &mut Report,
    explicit: bool,
) {
    for entry in entries {
        let empty = match &entry.value.value {
            Value::Null => false,
            Value::Str(text) if text.is_empty() => true,
            _ => continue,
        };
        if let Some(value) = (context.env)(&entry.key) {
            if empty && explicit && !value.is_empty() {
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
            entry.value.value = Value::Str(value);
        }
    }
}

/// The `KEY=value` lines of an env file. A bare `KEY` takes the caller's value
/// or is left out. Quotes and trailing blanks are part of the value.
fn read(
    file: &Node,
    path: &str,
    context: &Context<'_>,
    report: &mut Report,
) -> Vec<(String, String)> {
    let name = context.absolute(file.as_str().unwrap_or_default());
    let place = Some(file.place);
    let content = match (context.read)(Path::new(&name)) {
        Ok(content) => content,
        Err(error) => {
            let message = format!("the file {name} cannot be read: {error}");
            let help = "relative paths start at the directory of the first stack file";
            report.error_help(codes::UNREADABLE, place, path, message, help);
            return Vec::new();
        }
    };
    if content.len() > MOST_BYTES {
        let size = content.len();
        let message = format!("the file {name} has {size} bytes; at most {MOST_BYTES} are read");
        report.error(codes::FILE_SIZE, place, path, message);
        return Vec::new();
    }
    let Ok(text) = String::from_utf8(content) else {
        report.error(
            codes::UNREADABLE,
            place,
            path,
            format!("the file {name} is not UTF-8 text"),
        );
        return Vec::new();
    };
    let mut out = Vec::new();
    let lines = text.strip_prefix('\u{feff}').unwrap_or(&text).lines();
    for (number, line) in lines.enumerate() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (key, value) = match line.split_once('=') {
            Some((key, value)) => (key, Some(value.to_owned())),
            None => (line, (context.env)(line)),
        };
        if key.is_empty() || key.contains(char::is_whitespace) {
            let message = format!("line {} of {name}: {key:?} is not a variable", number + 1);
            let help = "lines are `KEY=value`, or begin with `#`";
            report.error_help(codes::ENV_LINE, place, path, message, help);
            continue;
        }
        out.extend(value.map(|v| (key.to_owned(), v)));
    }
    out
}

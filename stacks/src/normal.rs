//! A checked file to its normal form: short forms written out, paths made
//! absolute, environment gathered.
//!
//! Works on the marked tree, so that every complaint has a place. The parts
//! with a grammar of their own are in `normal/`.

pub(crate) mod env;
mod mounts;
mod ports;
mod sizes;
mod words;

use crate::codes;
use crate::diagnostic::{Place, Report};
use crate::interpolate::Env;
use crate::model::File;
use crate::room::Room;
use crate::tree::{Entry, Node, Value, join};
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

pub(crate) use sizes::{cpus, parse as size};

/// Reads a file that the stack names.
pub(crate) type Read<'a> = &'a dyn Fn(&Path) -> std::io::Result<Vec<u8>>;

/// What a file is normalised with.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    /// Absolute directory from which relative paths start.
    pub(crate) workdir: &'a Path,
    /// The same directory, as it is named to people.
    pub(crate) shown: &'a Path,
    /// All variables.
    pub(crate) env: Env<'a>,
    /// Which variables `env` has: two contexts of one number have the same.
    pub(crate) scope: usize,
    /// Those of the caller's own environment.
    pub(crate) caller: Env<'a>,
    pub(crate) read: Read<'a>,
    /// The env files of services.
    pub(crate) env_files: &'a env::Files,
    /// What the stack may still take of memory.
    pub(crate) room: &'a Room,
}

impl Context<'_> {
    /// `path` from the working directory, without `.` and `..`.
    pub(crate) fn absolute(&self, path: &str) -> String {
        if path.starts_with('/') {
            return path.to_owned();
        }
        let mut clean = PathBuf::new();
        for part in self.workdir.join(path).components() {
            match part {
                Component::CurDir => {}
                Component::ParentDir => {
                    clean.pop();
                }
                part => clean.push(part),
            }
        }
        clean.to_string_lossy().into_owned()
    }
}

/// Normalises a checked tree.
pub(crate) fn file(root: &mut Node, context: &Context<'_>, report: &mut Report) {
    if let Some(services) = root.get_mut("services") {
        each(services, "services", |node, path| {
            service(node, path, context, report);
        });
    }
    for section in ["networks", "volumes", "secrets", "configs"] {
        if let Some(found) = root.get_mut(section) {
            each(found, section, |node, path| {
                object(node, path, section, context, report);
            });
        }
    }
}

/// The types of a tree in normal form. `None` means errors were reported.
pub(crate) fn decode(root: &Node, report: &mut Report) -> Option<File> {
    match serde_yaml::from_value::<File>(root.to_yaml()) {
        Ok(mut file) => {
            file.version = version(root).to_owned();
            Some(file)
        }
        Err(error) => {
            // The check and the types disagree; say so rather than guess.
            report.error(
                codes::WRONG_TYPE,
                Some(root.place),
                "",
                format!("not understood: {error}"),
            );
            None
        }
    }
}

/// The version of the format that a file is in.
pub(crate) fn version(root: &Node) -> &str {
    match root.get("version").and_then(Node::as_str) {
        None | Some("" | "3") => "3.13",
        Some(version) => version,
    }
}

fn each(node: &mut Node, path: &str, mut visit: impl FnMut(&mut Node, &str)) {
    if let Value::Map(entries) = &mut node.value {
        for entry in entries {
            visit(&mut entry.value, &join(path, &entry.key));
        }
    }
}

fn service(node: &mut Node, path: &str, context: &Context<'_>, report: &mut Report) {
    drop_nulls(node);
    env::gather(node, path, context, report);
    env::labels(node, path, context, report);
    let Value::Map(entries) = &mut node.value else {
        return;
    };
    for Entry { key, value, .. } in entries {
        let path = join(path, key);
        match key.as_str() {
            "command" | "entrypoint" => words::split(value, &path, report),
            "dns" | "dns_search" | "env_file" | "label_file" | "tmpfs" => listed(value),
            "cpus" | "expose" | "group_add" => texts(value),
            "mem_limit" | "mem_reservation" => {
                texts(value);
                sizes::bytes(value, &path, report);
            }
            "labels" | "sysctls" => pairs(value, "=", false),
            "extra_hosts" => hosts(value, &path, report),
            "healthcheck" | "x-readiness" => {
                if let Some(test) = value.get_mut("test") {
                    health_test(test);
                }
            }
            "logging" => {
                if let Some(options) = value.get_mut("options") {
                    pairs(options, "=", false);
                }
            }
            "networks" => networks(value),
            "ports" => ports::spread(value, &path, context, report),
            "secrets" | "configs" => sourced(value),
            "shm_size" => texts(value),
            "volumes" => mounts::spread(value, &path, context, report),
            "deploy" => deploy(value, &path, report),
            "build" => build(value),
            _ => {}
        }
    }
}

/// A key without a value means what its absence means.
fn drop_nulls(node: &mut Node) {
    if let Value::Map(entries) = &mut node.value {
        entries.retain(|e| e.value.value != Value::Null || e.key.starts_with("x-"));
    }
}

fn deploy(node: &mut Node, path: &str, report: &mut Report) {
    if let Some(schedule) = node.get_mut("x-schedule")
        && schedule.as_str().is_some()
    {
        under("cron", schedule);
    }
    if let Some(labels) = node.get_mut("labels") {
        pairs(labels, "=", false);
    }
    for part in ["limits", "reservations"] {
        let Some(found) = node.get_mut("resources").and_then(|r| r.get_mut(part)) else {
            continue;
        };
        if let Some(memory) = found.get_mut("memory") {
            let path = format!("{path}.resources.{part}.memory");
            sizes::bytes(memory, &path, report);
        }
        if let Some(cpus) = found.get_mut("cpus") {
            texts(cpus);
        }
    }
}

/// A text alone is what stands under this key.
fn under(key: &str, node: &mut Node) {
    let entry = Entry {
        key: key.to_owned(),
        key_place: node.place,
        value: node.clone(),
    };
    node.value = Value::Map(vec![entry]);
}

fn build(node: &mut Node) {
    if node.as_str().is_some() {
        under("context", node);
    }
    for (key, keep_null) in [("args", true), ("labels", false)] {
        if let Some(found) = node.get_mut(key) {
            pairs(found, "=", keep_null);
        }
    }
    if let Some(found) = node.get_mut("extra_hosts") {
        let pairs = host_pairs(found);
        found.value = Value::List(pairs);
    }
}

fn object(node: &mut Node, path: &str, section: &str, context: &Context<'_>, report: &mut Report) {
    if node.value == Value::Null {
        node.value = Value::Map(Vec::new());
    }
    for key in ["labels", "driver_opts"] {
        if let Some(found) = node.get_mut(key) {
            pairs(found, "=", false);
        }
    }
    external(node, path, section, report);
    let is_external = matches!(
        node.get("external").map(|n| &n.value),
        Some(Value::Bool(true))
    );
    let place = node.place;
    // As the Docker CLI: `x-…` keys of its own networks and volumes are not shown.
    if !is_external
        && matches!(section, "networks" | "volumes")
        && let Value::Map(entries) = &mut node.value
    {
        entries.retain(|e| !e.key.starts_with("x-") || e.key == "x-cluster-spec");
    }
    match section {
        "secrets" | "configs" => {
            let file = node.get("file").and_then(Node::as_str).unwrap_or_default();
            let driver = node.get("driver").is_some_and(|d| d.as_str() != Some(""));
            if driver && !file.is_empty() {
                let message = "`driver` and `file` exclude each other";
                report.error(codes::EXCLUSIVE, Some(place), path, message);
            }
            if !is_external && !driver && !file.is_empty() {
                let absolute = context.absolute(file);
                if let Some(file) = node.get_mut("file") {
                    file.value = Value::Str(absolute);
                }
            }
        }
        "volumes" if is_external => {
            for key in ["driver", "driver_opts", "labels"] {
                if let Some(entry) = node.entry(key)
                    && !is_empty(&entry.value)
                {
                    let message = format!("an external volume cannot have `{key}`");
                    let help = "its owner decides that; remove the key, or `external`";
                    report.error_help(
                        codes::OTHERS_DECIDE,
                        Some(entry.key_place),
                        path,
                        message,
                        help,
                    );
                }
            }
        }
        _ => {}
    }
    if let Some(spec) = node.get_mut("x-cluster-spec") {
        sizes::cluster_spec(spec, &join(path, "x-cluster-spec"), report);
    }
}

fn is_empty(node: &Node) -> bool {
    match &node.value {
        Value::Null => true,
        Value::Str(text) => text.is_empty(),
        Value::List(items) => items.is_empty(),
        Value::Map(entries) => entries.is_empty(),
        _ => false,
    }
}

/// `external: true` gets its name; the old `external: {name: x}` becomes new.
fn external(node: &mut Node, path: &str, section: &str, report: &mut Report) {
    let Some(entry) = node.entry("external") else {
        return;
    };
    let place = entry.key_place;
    let named = node.entry("name").is_some_and(|e| !is_empty(&e.value));
    let name = match &entry.value.value {
        Value::Bool(true) if named => None,
        Value::Bool(true) => path.split_once('.').map(|(_, key)| key.to_owned()),
        Value::Map(_) => {
            let old = entry.value.get("name").and_then(Node::as_str);
            match old {
                Some(_) if named => {
                    let message = "`external.name` and `name` exclude each other";
                    report.error_help(
                        codes::EXCLUSIVE,
                        Some(place),
                        path,
                        message,
                        "keep only `name`",
                    );
                    None
                }
                Some(old) if !old.is_empty() => {
                    let message = format!("`external.name` is the old form of `name` in {section}");
                    let help = format!("write `external: true` and `name: {old}`");
                    report.warn_help(codes::OLD_NAME, Some(place), path, message, help);
                    Some(old.to_owned())
                }
                _ if named => None,
                _ => path.split_once('.').map(|(_, key)| key.to_owned()),
            }
        }
        _ => return,
    };
    if let Some(external) = node.get_mut("external") {
        external.value = Value::Bool(true);
    }
    if let (Some(name), Value::Map(entries)) = (name, &mut node.value) {
        entries.retain(|e| e.key != "name");
        entries.push(Entry {
            key: "name".to_owned(),
            key_place: place,
            value: Node::str(place, name),
        });
    }
}

/// One text stands for a list of one.
fn listed(node: &mut Node) {
    if node.as_str().is_some() {
        node.value = Value::List(vec![node.clone()]);
    }
}

/// Scalars become text, one by one.
fn texts(node: &mut Node) {
    if let Value::List(items) = &mut node.value {
        items.iter_mut().for_each(texts);
    } else if let Some(text) = node.scalar_text() {
        node.value = Value::Str(text);
    }
}

/// A list of `KEY=value` becomes a map; values become text. A key without a
/// value keeps null where that means something.
pub(crate) fn pairs(node: &mut Node, separator: &str, keep_null: bool) {
    let nothing = |place: Place| {
        Node::new(
            place,
            if keep_null {
                Value::Null
            } else {
                Value::Str(String::new())
            },
        )
    };
    match &mut node.value {
        Value::Map(entries) => {
            for entry in entries {
                match entry.value.scalar_text() {
                    Some(text) => entry.value.value = Value::Str(text),
                    None => entry.value = nothing(entry.value.place),
                }
            }
        }
        Value::List(items) => {
            let mut entries: Vec<Entry> = Vec::with_capacity(items.len());
            for item in items {
                let text = item.as_str().unwrap_or_default();
                let (key, value) = match text.split_once(separator) {
                    Some((key, value)) => (key, Node::str(item.place, value)),
                    None => (text, nothing(item.place)),
                };
                entries.push(Entry {
                    key: key.to_owned(),
                    key_place: item.place,
                    value,
                });
            }
            node.value = Value::Map(last_of_each(entries));
        }
        _ => {}
    }
}

/// One entry a key: the last.
pub(crate) fn last_of_each(entries: Vec<Entry>) -> Vec<Entry> {
    let by_key: BTreeMap<String, Entry> = entries.into_iter().map(|e| (e.key.clone(), e)).collect();
    by_key.into_values().collect()
}

fn host_pairs(node: &Node) -> Vec<Node> {
    let clean = |host: &str, address: &str| {
        let address = address
            .strip_prefix('[')
            .and_then(|a| a.strip_suffix(']'))
            .unwrap_or(address);
        format!("{host}:{address}")
    };
    match &node.value {
        Value::Map(entries) => {
            let mut all: Vec<_> = entries
                .iter()
                .flat_map(|e| {
                    let several = e.value.as_list();
                    let addresses = several.unwrap_or(std::slice::from_ref(&e.value)).iter();
                    addresses.filter_map(|address| {
                        let text = clean(&e.key, &address.scalar_text()?);
                        Some(Node::str(e.key_place, text))
                    })
                })
                .collect();
            all.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
            all
        }
        Value::List(items) => items
            .iter()
            .filter_map(|item| {
                let text = item.as_str()?;
                let (host, address) = text.split_once('=').or_else(|| text.split_once(':'))?;
                Some(Node::str(item.place, clean(host, address)))
            })
            .collect(),
        _ => Vec::new(),
    }
}

fn hosts(node: &mut Node, path: &str, report: &mut Report) {
    for (index, item) in node.as_list().unwrap_or_default().iter().enumerate() {
        let text = item.as_str().unwrap_or_default();
        if !text.contains(['=', ':']) {
            let path = format!("{path}[{index}]");
            let message = format!("{text:?} has no address");
            report.error_help(
                codes::ADDRESS,
                Some(item.place),
                &path,
                message,
                "write `name:address`",
            );
        }
    }
    let pairs = host_pairs(node);
    node.value = Value::List(pairs);
}

/// A text is a line for the shell.
fn health_test(node: &mut Node) {
    if node.as_str().is_some() {
        node.value = Value::List(vec![Node::str(node.place, "CMD-SHELL"), node.clone()]);
    }
}

/// A list of names becomes a map of nothing.
fn networks(node: &mut Node) {
    match &mut node.value {
        Value::List(items) => {
            let entries = items.iter().map(|item| Entry {
                key: item.as_str().unwrap_or_default().to_owned(),
                key_place: item.place,
                value: Node::new(item.place, Value::Null),
            });
            node.value = Value::Map(entries.collect());
        }
        Value::Map(entries) => {
            for entry in entries {
                if let Some(options) = entry.value.get_mut("driver_opts") {
                    pairs(options, "=", false);
                }
            }
        }
        _ => {}
    }
}

/// `- name` becomes `- source: name`.
fn sourced(node: &mut Node) {
    if let Value::List(items) = &mut node.value {
        for item in items {
            if item.as_str().is_some() {
                let source = Entry {
                    key: "source".to_owned(),
                    key_place: item.place,
                    value: item.clone(),
                };
                item.value = Value::Map(vec![source]);
            }
        }
    }
}

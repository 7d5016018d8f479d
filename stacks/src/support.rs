//! Keys that are understood and not honoured, each named in a warning.
//!
//! Owns that list. Keys that are not understood at all are `schema`'s; values
//! without effect are `convert/ignored`'s.

use crate::codes;
use crate::diagnostic::Report;
use crate::tree::{Node, Value, join};

/// Keys of a service without effect, and what to do instead.
const SERVICE: &[(&str, &str)] = &[
    (
        "build",
        "build the image before deploying, and push it where the nodes can pull it",
    ),
    ("cgroup_parent", "cgroups of tasks belong to skep"),
    ("cgroupns_mode", "every task has its own cgroup namespace"),
    (
        "container_name",
        "a service may have many containers; they are named after their task",
    ),
    ("credential_spec", "it is for Windows containers"),
    (
        "depends_on",
        "services start in any order; let the program wait for what it needs",
    ),
    ("devices", "tasks cannot have devices yet"),
    ("domainname", "set `hostname` to the full name"),
    (
        "expose",
        "services on the same network reach each other on any port",
    ),
    ("external_links", "put both services on the same network"),
    ("ipc", "every task has its own IPC namespace"),
    ("isolation", "it is for Windows containers"),
    (
        "links",
        "services on the same network reach each other by name; use `aliases` for more names",
    ),
    ("mac_address", "addresses are given by skep"),
    ("network_mode", "name the networks under `networks`"),
    ("pid", "every task has its own PID namespace"),
    ("privileged", "name what is needed under `cap_add`"),
    ("security_opt", "the default profiles apply"),
    ("userns_mode", "it cannot be chosen for a task"),
];

/// Warns of every key of a checked file that has no effect.
pub(crate) fn warn(root: &Node, report: &mut Report) {
    for (node, path) in members(root, "services") {
        for (key, instead) in SERVICE {
            if let Some(entry) = node.entry(key)
                && says_something(&entry.value)
            {
                let message = "this key is not supported and has no effect";
                report.warn_help(
                    codes::KEY_WITHOUT_EFFECT,
                    Some(entry.key_place),
                    &join(&path, key),
                    message,
                    *instead,
                );
            }
        }
        service(node, &path, report);
    }
    for section in ["secrets", "configs"] {
        for (node, path) in members(root, section) {
            for key in ["driver", "driver_opts"] {
                if let Some(entry) = node.entry(key)
                    && says_something(&entry.value)
                {
                    let message = "this key is not supported and has no effect";
                    report.warn(
                        codes::KEY_WITHOUT_EFFECT,
                        Some(entry.key_place),
                        &join(&path, key),
                        message,
                    );
                }
            }
        }
    }
    for (node, path) in members(root, "networks") {
        let driver = node.get("ipam").and_then(|i| i.entry("driver"));
        if let Some(entry) = driver
            && !matches!(entry.value.as_str(), Some("" | "default"))
        {
            let message = "this key is not supported and has no effect";
            let help = "addresses are always given by skep";
            let path = join(&path, "ipam.driver");
            report.warn_help(
                codes::KEY_WITHOUT_EFFECT,
                Some(entry.key_place),
                &path,
                message,
                help,
            );
        }
    }
    for (node, path) in members(root, "volumes") {
        if let Some(entry) = node.entry("x-cluster-spec") {
            let message = "cluster volumes are not supported; this key has no effect";
            report.warn(
                codes::KEY_WITHOUT_EFFECT,
                Some(entry.key_place),
                &join(&path, "x-cluster-spec"),
                message,
            );
        }
    }
}

fn service(node: &Node, path: &str, report: &mut Report) {
    for entry in node
        .get("networks")
        .and_then(Node::as_map)
        .unwrap_or_default()
    {
        for key in ["ipv4_address", "ipv6_address", "driver_opts"] {
            if let Some(found) = entry.value.entry(key)
                && says_something(&found.value)
            {
                let path = format!("{path}.networks.{}.{key}", entry.key);
                let message = "this key is not supported and has no effect";
                report.warn(
                    codes::KEY_WITHOUT_EFFECT,
                    Some(found.key_place),
                    &path,
                    message,
                );
            }
        }
    }
    for (index, item) in node
        .get("volumes")
        .and_then(Node::as_list)
        .unwrap_or_default()
        .iter()
        .enumerate()
    {
        if let Some(entry) = item.entry("consistency") {
            let path = format!("{path}.volumes[{index}].consistency");
            let message = "this key is not supported and has no effect";
            report.warn(
                codes::KEY_WITHOUT_EFFECT,
                Some(entry.key_place),
                &path,
                message,
            );
        }
    }
    if let Some(entry) = node.entry("restart")
        && node
            .get("deploy")
            .is_some_and(|d| d.get("restart_policy").is_some())
    {
        let message = "`deploy.restart_policy` is there too, and wins";
        let help = "remove `restart`";
        report.warn_help(
            codes::OVERRULED,
            Some(entry.key_place),
            &join(path, "restart"),
            message,
            help,
        );
    }
}

fn says_something(node: &Node) -> bool {
    match &node.value {
        Value::Null | Value::Bool(false) => false,
        Value::Str(text) => !text.is_empty(),
        Value::List(items) => !items.is_empty(),
        Value::Map(entries) => !entries.is_empty(),
        Value::Bool(true) | Value::Int(_) | Value::Float(_) => true,
    }
}

/// The maps of a section with their paths.
fn members<'a>(root: &'a Node, section: &'a str) -> impl Iterator<Item = (&'a Node, String)> {
    let entries = root.get(section).and_then(Node::as_map).unwrap_or_default();
    entries
        .iter()
        .map(move |e| (&e.value, join(section, &e.key)))
}

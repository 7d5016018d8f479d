//! Values that are understood and not honoured, or that no node could read.
//!
//! Owns the judgement of each kind of value, for stack files and for flags of
//! commands alike, and the walk over a spec. The walk over a file is `convert`'s.

use crate::codes::{self, Code};
use crate::diagnostic::{Diagnostic, Severity};
use skep_types::template::{Place, Template};
use skep_types::{LogDriver, MountKind, ServiceSpec};

/// Log drivers of which every node has what they do: files that `service logs`
/// reads.
const LOG_DRIVERS: &[&str] = &["", "json-file", "local"];
/// Propagations that let mounts out of a container.
const OUTWARD: &[&str] = &["shared", "rshared"];

/// What is to be said about a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) severity: Severity,
    pub(crate) code: &'static Code,
    pub(crate) message: String,
    pub(crate) help: &'static str,
}

fn warning(message: impl Into<String>, help: &'static str) -> Option<Finding> {
    Some(Finding {
        severity: Severity::Warning,
        code: codes::VALUE_WITHOUT_EFFECT,
        message: message.into(),
        help,
    })
}

/// Of a text that may be a template, such as `{{.Task.Slot}}`.
pub(crate) fn template(text: &str) -> Option<Finding> {
    let wrong = Template::parse(text, Place::Spec).err()?;
    Some(Finding {
        severity: Severity::Error,
        code: codes::TEMPLATE,
        message: format!("not a template: {wrong}"),
        help: "write {{`{{`}} for two braces",
    })
}

/// Of the propagation of a bind mount.
pub(crate) fn propagation(word: &str) -> Option<Finding> {
    let help = "write rslave: mounts of the node reach the container, none come back";
    let message = format!("{word} is not supported; mounts do not leave the container");
    OUTWARD.contains(&word).then(|| warning(message, help))?
}

/// Of the name of a log driver. Where there is one, options mean nothing.
pub(crate) fn log_driver(name: &str) -> Option<Finding> {
    let help = "output is kept on the node for `service logs`, as json-file and local keep it";
    let message = format!("the log driver {name} is not supported and has no effect");
    let unknown = !LOG_DRIVERS.contains(&name);
    unknown.then(|| warning(message, help))?
}

/// Of an option of a log driver that is supported.
pub(crate) fn log_option(name: &str, value: &str) -> Option<Finding> {
    let unreadable = |code, what: &str, help| {
        Some(Finding {
            severity: Severity::Error,
            code,
            message: format!("{value:?} is not {what}"),
            help,
        })
    };
    match name {
        _ if value.is_empty() => None,
        "max-size" if LogDriver::size_bytes(value).is_none() => unreadable(
            codes::SIZE,
            "a size of a log file",
            "a size is a whole number with a unit of k, m or g: 10m",
        ),
        "max-file" if LogDriver::file_count(value).is_none() => unreadable(
            codes::OUT_OF_RANGE,
            "a number of log files",
            "write a number above 0: 3",
        ),
        "max-size" | "max-file" => None,
        _ => warning(
            "this option is not supported and has no effect",
            "options are max-file and max-size",
        ),
    }
}

/// What the spec of a service asks for that no node does, each with the kind of
/// flag that asks for it.
pub fn without_effect(spec: &ServiceSpec) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let mut add = |path: String, finding: Option<Finding>| {
        found.extend(finding.map(|finding| Diagnostic {
            severity: finding.severity,
            code: finding.code,
            location: None,
            path,
            message: finding.message,
            help: Some(finding.help.to_owned()),
            excerpt: None,
        }));
    };
    let container = &spec.task.container;
    add("hostname".to_owned(), template(&container.hostname));
    for variable in &container.env {
        let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
        add(format!("env {name}"), template(value));
    }
    for mount in &container.mounts {
        let path = format!("mount {}", mount.target);
        add(path.clone(), template(&mount.target));
        match &mount.kind {
            MountKind::Bind {
                source,
                propagation: word,
            } => {
                add(path.clone(), template(source));
                add(path, propagation(word));
            }
            MountKind::Volume { name, labels, .. } => {
                add(path.clone(), template(name));
                for value in labels.values() {
                    add(path.clone(), template(value));
                }
            }
            MountKind::Tmpfs { .. } => {}
        }
    }
    if let Some(driver) = &spec.task.log_driver {
        let unknown = log_driver(&driver.name);
        if unknown.is_none() {
            for (name, value) in &driver.options {
                add(format!("log-opt {name}"), log_option(name, value));
            }
        }
        add("log-driver".to_owned(), unknown);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use skep_types::Mount;
    use std::sync::Arc;

    fn found(edit: impl FnOnce(&mut skep_types::TaskSpec)) -> Vec<String> {
        let mut spec = ServiceSpec::default();
        edit(Arc::make_mut(&mut spec.task));
        let found = without_effect(&spec);
        found
            .iter()
            .map(|d| format!("{:?} {}: {}", d.severity, d.path, d.message))
            .collect()
    }

    #[test]
    fn what_is_honoured_is_not_spoken_of() {
        let spec = found(|task| {
            task.container.hostname = "web-{{.Task.Slot}}".to_owned();
            task.container.env = vec!["A=b".to_owned(), "B={{.Node.Hostname}}".to_owned()];
            task.log_driver = Some(LogDriver {
                name: "json-file".to_owned(),
                options: [
                    ("max-size".to_owned(), "10m".to_owned()),
                    ("max-file".to_owned(), "3".to_owned()),
                ]
                .into(),
            });
        });
        assert_eq!(spec, Vec::<String>::new());
    }

    #[test]
    fn templates_that_are_none_are_found_wherever_a_flag_puts_them() {
        let spec = found(|task| {
            task.container.hostname = "web-{{.Task.Slo}}".to_owned();
            task.container.env = vec!["NODE={{.Node.ID".to_owned()];
            task.container.mounts = vec![Mount {
                target: "/data".to_owned(),
                read_only: false,
                kind: MountKind::Bind {
                    source: "/{{name}}".to_owned(),
                    propagation: "rshared".to_owned(),
                },
            }];
        });
        let outward = "rshared is not supported; mounts do not leave the container";
        assert_eq!(
            spec,
            [
                "Error hostname: not a template: column 7: there is no field .Task.Slo; there are \
                 .Task.ID .Task.Name .Task.Slot"
                    .to_owned(),
                "Error env NODE: not a template: column 1: {{ has no }}".to_owned(),
                "Error mount /data: not a template: column 4: there is no function name; there \
                 are index join print printf len eq ne not and or"
                    .to_owned(),
                format!("Warning mount /data: {outward}"),
            ]
        );
    }

    #[test]
    fn log_options_that_nodes_cannot_read_are_errors() {
        let options = |driver: &str, options: &[(&str, &str)]| {
            let options = options.iter();
            let options = options.map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
            let options = options.collect();
            let name = driver.to_owned();
            found(|task| task.log_driver = Some(LogDriver { name, options }))
        };
        assert_eq!(
            options("", &[("max-file", "0"), ("max-size", "ten"), ("tag", "x")]),
            [
                "Error log-opt max-file: \"0\" is not a number of log files",
                "Error log-opt max-size: \"ten\" is not a size of a log file",
                "Warning log-opt tag: this option is not supported and has no effect",
            ]
        );
        // Options of a driver that there is not mean nothing.
        assert_eq!(
            options("syslog", &[("max-size", "ten")]),
            ["Warning log-driver: the log driver syslog is not supported and has no effect"]
        );
    }
}

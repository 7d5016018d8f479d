//! Which services are there: those without profiles, and those of a profile that is asked for.
//!
//! Owns what goes with the others: networks, volumes, secrets and configs that nothing else
//! uses. All of the files is checked before.

use crate::codes;
use crate::diagnostic::Report;
use crate::interpolate::Env;
use crate::model::{File, Service};
use crate::schema::nearest;
use crate::tree::{Node, Step};
use serde_yaml::Value;
use std::collections::BTreeSet;

/// The variable with profiles, for a command that names none.
const VARIABLE: &str = "COMPOSE_PROFILES";
/// The profile that is all of them.
const ALL: &str = "*";

/// Leaves services out whose profiles nobody asks for.
pub(crate) fn choose(
    file: &mut File,
    tree: &Node,
    asked: &[&str],
    env: Env<'_>,
    report: &mut Report,
) {
    unknown(file, asked, report);
    let mut active: BTreeSet<String> = asked.iter().map(|p| (*p).to_owned()).collect();
    if asked.is_empty() {
        let names = env(VARIABLE).unwrap_or_default();
        active.extend(names.split(',').map(|name| name.trim().to_owned()));
    }
    let is_there = |service: &Service| {
        let named = |profile: &String| active.contains(profile);
        service.profiles.is_empty() || active.contains(ALL) || service.profiles.iter().any(named)
    };
    let all = std::mem::take(&mut file.services.0).into_iter();
    let (there, out): (Vec<_>, Vec<_>) = all.partition(|(_, service)| is_there(service));
    let without: BTreeSet<&String> = out.iter().map(|(key, _)| key).collect();
    for (key, service) in &there {
        for (index, name) in required(&service.depends_on) {
            if without.contains(&name) {
                depends(key, &name, index, tree, report);
            }
        }
    }
    let unused = |of: fn(&Service) -> Vec<&str>| -> BTreeSet<String> {
        let used = |services: &[(String, Service)]| -> BTreeSet<String> {
            let names = services.iter().flat_map(|(_, service)| of(service));
            names.map(str::to_owned).collect()
        };
        used(&out).difference(&used(&there)).cloned().collect()
    };
    let networks = unused(networks_of);
    file.networks.retain(|key, _| !networks.contains(key));
    let volumes = unused(|s| s.volumes.iter().map(|v| v.source.as_str()).collect());
    file.volumes.retain(|key, _| !volumes.contains(key));
    let secrets = unused(|s| s.secrets.iter().map(|r| r.source.as_str()).collect());
    file.secrets.retain(|key, _| !secrets.contains(key));
    let configs = unused(|s| s.configs.iter().map(|r| r.source.as_str()).collect());
    file.configs.retain(|key, _| !configs.contains(key));
    file.services.0 = there.into_iter().collect();
}

fn networks_of(service: &Service) -> Vec<&str> {
    match service.networks.is_empty() {
        true => vec!["default"],
        false => service.networks.keys().map(String::as_str).collect(),
    }
}

/// Warns of profiles that are asked for and that no service has.
fn unknown(file: &File, asked: &[&str], report: &mut Report) {
    let all = file.services.values().flat_map(|s| &s.profiles);
    let known: BTreeSet<&str> = all.map(String::as_str).collect();
    for profile in asked.iter().filter(|p| **p != ALL && !known.contains(*p)) {
        let message = format!("no service has the profile {profile}");
        let help = match (nearest(profile, known.iter().copied()), known.len()) {
            (Some(meant), _) => format!("did you mean {meant}?"),
            (None, 0) => "no service has profiles at all".to_owned(),
            (None, _) => {
                let some: Vec<_> = known.iter().take(10).copied().collect();
                format!("there are {}", some.join(", "))
            }
        };
        report.warn_help(codes::UNKNOWN_PROFILE, None, "", message, help);
    }
}

/// The services that one depends on and cannot be without; of a list with their places in it.
fn required(depends_on: &Value) -> Vec<(Option<usize>, String)> {
    match depends_on {
        Value::Sequence(items) => {
            let names = items.iter().enumerate();
            let names = names.filter_map(|(i, name)| Some((Some(i), name.as_str()?.to_owned())));
            names.collect()
        }
        Value::Mapping(entries) => {
            let needed = |how: &Value| how.get("required") != Some(&Value::Bool(false));
            let entries = entries.iter().filter(|(_, how)| needed(how));
            let names = entries.filter_map(|(name, _)| Some((None, name.as_str()?.to_owned())));
            names.collect()
        }
        _ => Vec::new(),
    }
}

fn depends(key: &str, name: &str, index: Option<usize>, tree: &Node, report: &mut Report) {
    let last = index.map_or(Step::Key(name), Step::Index);
    let steps = [
        Step::Key("services"),
        Step::Key(key),
        Step::Key("depends_on"),
        last,
    ];
    let path = match index {
        Some(index) => format!("services.{key}.depends_on[{index}]"),
        None => format!("services.{key}.depends_on.{name}"),
    };
    let message = format!("the service {name} is not there without one of its profiles");
    let help = "name one with --profile, or write `required: false` under the dependency";
    let place = Some(tree.find(&steps));
    report.error_help(codes::LEFT_OUT, place, &path, message, help);
}

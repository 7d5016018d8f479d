//! The name of a stack: that of the command, or else the `name` of its files.

use crate::codes;
use crate::diagnostic::Report;
use crate::interpolate::{self, Env};
use crate::model::File;
use crate::sources::Source;
use crate::tree::Node;
use std::rc::Rc;

/// The variable that has the name.
pub(crate) const VARIABLE: &str = "COMPOSE_PROJECT_NAME";

/// The name before the files are read: variables in them may want it. `env` is that of the
/// name's own variables, which are left as they are without it.
pub(crate) fn early(
    asked: Option<&str>,
    files: &[Rc<Source>],
    env: Option<Env<'_>>,
) -> Option<String> {
    if let Some(asked) = asked {
        return Some(asked.to_owned());
    }
    let names = files.iter().rev().filter_map(|file| file.tree.get("name"));
    let said = names
        .filter_map(Node::as_str)
        .find(|name| !name.is_empty())?;
    match env {
        // What is wrong with it is said when the file is read.
        Some(env) => interpolate::text(said, env, &mut Vec::new()).ok(),
        None => Some(said.to_owned()),
    }
}

/// The name of a stack whose files are read. `None` means that it has none, which is said.
pub(crate) fn settle(
    asked: Option<&str>,
    file: &File,
    tree: &Node,
    report: &mut Report,
) -> Option<String> {
    let said = file.name.as_str();
    match asked {
        Some(asked) => {
            if let Some(entry) = tree.entry("name")
                && !said.is_empty()
                && said != asked
            {
                let message = format!("the command names the stack {asked}, which wins");
                let help = "leave one of the names out";
                let place = Some(entry.value.place);
                report.warn_help(codes::OVERRULED, place, "name", message, help);
            }
            Some(asked.to_owned())
        }
        None if said.is_empty() => {
            let help = "name it in the command, or write `name: NAME` at the top of the file";
            let place = Some(
                tree.entry("name")
                    .map_or(tree.place, |entry| entry.key_place),
            );
            let message = "the stack has no name";
            report.error_help(codes::MISSING_KEY, place, "name", message, help);
            None
        }
        None => Some(said.to_owned()),
    }
}

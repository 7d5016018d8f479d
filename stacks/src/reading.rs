//! Texts to one tree: YAML, variables, shape, normal form, and one file on top of the other.
//!
//! Owns the order of these steps, each of which reports all that it finds.

use crate::codes;
use crate::diagnostic::Report;
use crate::model::File;
use crate::tree::Node;
use crate::{interpolate, merge, normal, parse, schema};

/// A file as it was parsed.
pub(crate) struct Parsed {
    /// Path as the user gave it.
    path: String,
    pub(crate) tree: Node,
    /// Errors were found in it.
    wrong: bool,
}

/// Parses files, each a path and a text; those that cannot be are left out.
pub(crate) fn parse(files: &[(&str, &str)], report: &mut Report) -> Vec<Parsed> {
    if files.is_empty() {
        let message = "no stack file was given";
        let help = "name one with --compose-file";
        report.error_help(codes::NOT_A_STACK_FILE, None, "", message, help);
    }
    let mut parsed = Vec::with_capacity(files.len());
    for (number, (path, text)) in files.iter().enumerate() {
        let Ok(number) = u16::try_from(number) else {
            report.error(codes::TOO_LARGE, None, "", "too many stack files");
            break;
        };
        let before = report.errors();
        if let Some(tree) = parse::parse(number, text, report) {
            parsed.push(Parsed {
                path: (*path).to_owned(),
                tree,
                wrong: report.errors() > before,
            });
        }
    }
    parsed
}

/// The merged normal form, and its tree for places.
pub(crate) fn merged(
    files: Vec<Parsed>,
    context: &normal::Context<'_>,
    interpolate: bool,
    report: &mut Report,
) -> Option<(File, Node)> {
    let mut merged: Option<Node> = None;
    for Parsed {
        path,
        mut tree,
        wrong,
    } in files
    {
        let before = report.errors();
        if interpolate {
            interpolate::tree(&mut tree, context.env, report);
        }
        let cleared = merge::take(&mut tree, report);
        schema::check(&mut tree, report);
        // What fails the check may not have the shape that comes next.
        if wrong || report.errors() > before {
            continue;
        }
        normal::file(&mut tree, context, report);
        match &mut merged {
            None => merged = Some(tree),
            Some(base) => {
                compare_versions(base, &tree, &path, report);
                merge::files(base, tree, &cleared);
            }
        }
    }
    if report.failed() {
        return None;
    }
    let tree = merged?;
    let file = normal::decode(&tree, report)?;
    Some((file, tree))
}

fn compare_versions(base: &Node, tree: &Node, path: &str, report: &mut Report) {
    let (before, said) = (normal::version(base), normal::version(tree));
    if let Some(node) = tree.get("version")
        && base.get("version").is_some()
        && before != said
    {
        let message = format!("{path} has version {said}, the files before it {before}");
        let help = "leave it out: it changes nothing; the Docker CLI wants one for all";
        let place = Some(node.place);
        report.warn_help(codes::VERSIONS_DIFFER, place, "version", message, help);
    }
}

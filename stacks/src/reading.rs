//! Texts to one tree: YAML, variables, shape, normal form, and one file on top of the other.
//!
//! Owns the order of these steps, each of which reports all that it finds. Which files others
//! name is `extends`' and `include`'s; reading them is `sources`'.

use crate::codes;
use crate::diagnostic::Report;
use crate::model::File;
use crate::normal::Context;
use crate::sources::{Reader, Source};
use crate::tree::Node;
use crate::{extends, interpolate, merge, normal, parse, schema};
use std::cell::OnceCell;
use std::path::PathBuf;
use std::rc::Rc;

/// Most services: what is made of one takes kilobytes, and the cluster takes no such stack.
const MOST_SERVICES: usize = 5_000;

/// Parses files, each a path and a text; those that cannot be are left out.
pub(crate) fn parse(
    files: &[(&str, &str)],
    context: &Context<'_>,
    report: &mut Report,
) -> Vec<Rc<Source>> {
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
        if let Some(tree) = parse::parse(number, text, context.room, report) {
            parsed.push(Rc::new(Source {
                path: String::new(),
                workdir: context.workdir.to_owned(),
                shown: PathBuf::from(path),
                tree,
                wrong: report.errors() > before,
                services: OnceCell::new(),
            }));
        }
    }
    parsed
}

/// The merged normal form of all files, and its tree for places.
pub(crate) fn file(
    files: Vec<Rc<Source>>,
    context: &Context<'_>,
    reader: &mut Reader<'_>,
) -> Option<(File, Node)> {
    let tree = merged(files, context, reader, &mut Vec::new())?;
    if let Some(services) = tree.get("services")
        && services
            .as_map()
            .is_some_and(|all| all.len() > MOST_SERVICES)
    {
        let message = format!("the stack has more than {MOST_SERVICES} services");
        let help = "make several stacks of it";
        let place = Some(services.place);
        let report = &mut *reader.report;
        report.error_help(codes::TOO_LARGE, place, "services", message, help);
    }
    if reader.report.failed() {
        return None;
    }
    let file = normal::decode(&tree, reader.report)?;
    Some((file, tree))
}

/// The tree of `files` and what they include. Files that are being included already are in
/// `chain`.
pub(crate) fn merged(
    files: Vec<Rc<Source>>,
    context: &Context<'_>,
    reader: &mut Reader<'_>,
    chain: &mut Vec<String>,
) -> Option<Node> {
    let errors = reader.report.errors();
    let mut merged: Option<Node> = None;
    for source in files {
        // As it was parsed: services that are extended are taken from there.
        let parsed = extends::is_in(&source.tree).then(|| Rc::clone(&source));
        let source = Rc::unwrap_or_clone(source);
        let (path, mut tree) = (source.shown.display().to_string(), source.tree);
        let before = reader.report.errors();
        if reader.interpolate {
            interpolate::tree(&mut tree, context.env, context.room, reader.report);
        }
        let cleared = merge::take(&mut tree, reader.report);
        schema::check(&mut tree, reader.report);
        // What fails the check may not have the shape that comes next.
        if source.wrong || reader.report.errors() > before {
            continue;
        }
        normal::file(&mut tree, context, reader.report);
        if !chain.is_empty() {
            normal::env::absolute(&mut tree, context);
        }
        if let Some(parsed) = parsed {
            reader.extend(&mut tree, &cleared, &parsed, context);
        }
        match &mut merged {
            None => merged = Some(tree),
            Some(base) => {
                compare_versions(base, &tree, &path, reader.report);
                merge::files(base, tree, &cleared);
            }
        }
    }
    if reader.report.errors() > errors {
        return None;
    }
    let mut tree = merged?;
    reader.include(&mut tree, context, chain);
    (reader.report.errors() == errors).then_some(tree)
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

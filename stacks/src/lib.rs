//! Stack files: text and environment in, specs and diagnostics out.
//!
//! Owns the format: YAML, interpolation, the schema of version 3, normal form,
//! merging, conversion to the nouns of `skep-types`, and everything that is said
//! about a file on the way. Pure: the caller brings the text, the environment
//! and a way to read the files that a stack names. Talking to a cluster is left
//! to whoever holds the specs.

#![forbid(unsafe_code)]

mod codes;
mod convert;
mod diagnostic;
mod dotenv;
mod duration;
mod effect;
mod emit;
mod excerpt;
mod interpolate;
mod merge;
mod model;
mod natural;
mod normal;
mod parse;
mod reference;
mod render;
mod scalar;
mod schema;
mod stack;
mod tree;
mod variables;

pub use codes::{Code, codes};
pub use diagnostic::{Diagnostic, Diagnostics, Location, Severity, strict};
pub use effect::without_effect;
pub use excerpt::Excerpt;
pub use reference::reference;
pub use render::render;
pub use schema::nearest;
pub use stack::{
    Ids, Missing, STACK_IMAGE_LABEL, STACK_LABEL, Stack, StackConfig, StackNetwork, StackSecret,
    StackService, StackVolume,
};

use diagnostic::Report;
use model::File;
use std::cell::Cell;
use std::io;
use std::path::Path;
use tree::Node;

/// What a stack is loaded from.
#[derive(Clone, Copy)]
pub struct LoadInput<'a> {
    /// Path as the user gave it, and text, of each file; later ones on top.
    pub files: &'a [(&'a str, &'a str)],
    /// Name of the stack.
    pub stack: &'a str,
    /// Looks up a variable of the environment.
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// Path as it is to be shown, and text, of each `.env` file: variables for `$NAME` that
    /// the environment does not have; later ones on top.
    pub env_files: &'a [(&'a str, &'a str)],
    /// Reads a file that the stack names, by absolute path.
    pub read: &'a dyn Fn(&Path) -> io::Result<Vec<u8>>,
    /// Absolute directory from which relative paths start: that of the first file.
    pub workdir: &'a Path,
}

/// A loaded stack, and what is to be said about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// What to deploy.
    pub stack: Stack,
    /// What the files say that is not honoured, or not as it looks.
    pub warnings: Vec<Diagnostic>,
}

/// The normal form of one or several files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Normalized {
    /// YAML, as `docker stack config` prints it.
    pub yaml: String,
    /// What is to be said about the files.
    pub warnings: Vec<Diagnostic>,
}

/// Reads a stack.
///
/// # Errors
/// Everything wrong with the files that could be found in one go: syntax,
/// variables, unknown keys, types, references to things not declared, files
/// that cannot be read. Warnings found on the way come along.
pub fn load(input: LoadInput<'_>) -> Result<Loaded, Diagnostics> {
    let mut report = report(&input);
    let variables = variables::read(input.env_files, input.files.len(), input.env, &mut report);
    let env = |name: &str| (input.env)(name).or_else(|| variables.get(name).cloned());
    let context = context(&input, &env);
    let stack = files(&input, &context, true, &mut report)
        .and_then(|(file, tree)| convert::stack(input.stack, &file, &tree, &context, &mut report));
    finish(stack, report, &input).map(|(stack, warnings)| Loaded { stack, warnings })
}

/// Prints the files merged and in normal form: what `stack config` shows.
/// References between sections are not checked, nor are secrets read.
///
/// # Errors
/// As [`load`], short of what needs the whole stack.
pub fn normalize(input: LoadInput<'_>, interpolate: bool) -> Result<Normalized, Diagnostics> {
    let mut report = report(&input);
    let variables = variables::read(input.env_files, input.files.len(), input.env, &mut report);
    let env = |name: &str| (input.env)(name).or_else(|| variables.get(name).cloned());
    let context = context(&input, &env);
    let yaml = files(&input, &context, interpolate, &mut report).and_then(|(file, _)| {
        match serde_yaml::to_value(&file) {
            Ok(value) => Some(emit::document(&value)),
            Err(error) => {
                report.error(
                    codes::WRONG_TYPE,
                    None,
                    "",
                    format!("the normal form cannot be printed: {error}"),
                );
                None
            }
        }
    });
    finish(yaml, report, &input).map(|(yaml, warnings)| Normalized { yaml, warnings })
}

fn report(input: &LoadInput<'_>) -> Report {
    let files = input.files.iter().chain(input.env_files);
    Report::new(files.map(|(path, _)| (*path).to_owned()).collect())
}

fn context<'a>(input: &LoadInput<'a>, env: interpolate::Env<'a>) -> normal::Context<'a> {
    normal::Context {
        workdir: input.workdir,
        env,
        caller: input.env,
        env_files: normal::env::Files::default(),
        read: input.read,
        ports_left: Cell::new(normal::MOST_PORTS),
    }
}

fn finish<T>(
    value: Option<T>,
    report: Report,
    input: &LoadInput<'_>,
) -> Result<(T, Vec<Diagnostic>), Diagnostics> {
    // Lines of `.env` files are not shown: they have passwords.
    match value {
        Some(value) if !report.failed() => Ok((value, report.finish(input.files))),
        _ => Err(Diagnostics(report.finish(input.files))),
    }
}

/// The merged normal form, and its tree for places.
fn files(
    input: &LoadInput<'_>,
    context: &normal::Context<'_>,
    interpolate: bool,
    report: &mut Report,
) -> Option<(File, Node)> {
    if input.files.is_empty() {
        let help = "name one with --compose-file";
        report.error_help(
            codes::NOT_A_STACK_FILE,
            None,
            "",
            "no stack file was given",
            help,
        );
        return None;
    }
    let mut merged: Option<Node> = None;
    for (number, (path, text)) in input.files.iter().enumerate() {
        let Ok(number) = u16::try_from(number) else {
            report.error(codes::TOO_LARGE, None, "", "too many stack files");
            return None;
        };
        let before = report.errors();
        let Some(mut tree) = parse::parse(number, text, report) else {
            continue;
        };
        if interpolate {
            interpolate::tree(&mut tree, context.env, report);
        }
        let cleared = merge::take(&mut tree, report);
        schema::check(&mut tree, report);
        // What fails the check may not have the shape that comes next.
        if report.errors() > before {
            continue;
        }
        normal::file(&mut tree, context, report);
        match &mut merged {
            None => merged = Some(tree),
            Some(base) => {
                if let Some(node) = tree.get("version")
                    && base.get("version").is_some()
                    && normal::version(base) != normal::version(&tree)
                {
                    let message = format!(
                        "{path} has version {}, the files before it {}",
                        normal::version(&tree),
                        normal::version(base)
                    );
                    let place = Some(node.place);
                    let help = "leave it out: it changes nothing; the Docker CLI wants one for all";
                    report.warn_help(codes::VERSIONS_DIFFER, place, "version", message, help);
                }
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

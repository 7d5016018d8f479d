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
mod extends;
mod include;
mod interpolate;
mod merge;
mod model;
mod name;
mod natural;
mod normal;
mod parse;
mod profiles;
mod reading;
mod reference;
mod render;
mod room;
mod scalar;
mod schema;
mod sources;
mod tree;
mod variables;

pub use codes::{Code, codes};
pub use diagnostic::{Diagnostic, Diagnostics, Location, Severity, strict};
pub use effect::without_effect;
pub use excerpt::Excerpt;
pub use reference::reference;
pub use render::render;
pub use schema::nearest;

use diagnostic::Report;
use model::File;
use room::Room;
use skep_types::StackSpec;
use sources::Reader;
use std::io;
use std::path::Path;
use tree::Node;

/// What a stack is loaded from.
#[derive(Clone, Copy)]
pub struct LoadInput<'a> {
    /// Path as the user gave it, and text, of each file; later ones on top.
    pub files: &'a [(&'a str, &'a str)],
    /// Name of the stack; without it that of the files counts.
    pub stack: Option<&'a str>,
    /// Profiles whose services are there too; `*` is all. Where none is named, the variable
    /// `COMPOSE_PROFILES` is asked.
    pub profiles: &'a [&'a str],
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
    pub stack: StackSpec,
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
    let stack = read(&input, true, |file, tree, context, report| {
        let name = name::settle(input.stack, file, tree, report)?;
        let stack = convert::stack(&name, file, tree, context, report)?;
        let source = print(file, report)?.into();
        Some(StackSpec { source, ..stack })
    });
    stack.map(|(stack, warnings)| Loaded { stack, warnings })
}

/// Prints the files merged and in normal form: what `stack config` shows.
/// References between sections are not checked, nor are secrets read.
///
/// # Errors
/// As [`load`], short of what needs the whole stack.
pub fn normalize(input: LoadInput<'_>, interpolate: bool) -> Result<Normalized, Diagnostics> {
    let yaml = read(&input, interpolate, |file, _, _, report| {
        print(file, report)
    });
    yaml.map(|(yaml, warnings)| Normalized { yaml, warnings })
}

fn print(file: &File, report: &mut Report) -> Option<String> {
    match serde_yaml::to_value(file) {
        Ok(value) => Some(emit::document(&value)),
        Err(error) => {
            let message = format!("the normal form cannot be printed: {error}");
            report.error(codes::WRONG_TYPE, None, "", message);
            None
        }
    }
}

/// Reads the files, and uses what they say: the normal form, its tree for places.
fn read<T>(
    input: &LoadInput<'_>,
    interpolate: bool,
    use_it: impl FnOnce(&File, &Node, &normal::Context<'_>, &mut Report) -> Option<T>,
) -> Result<(T, Vec<Diagnostic>), Diagnostics> {
    let names = input.files.iter().chain(input.env_files);
    let mut report = Report::new(names.map(|(path, _)| (*path).to_owned()).collect());
    let variables = variables::read(input.env_files, input.files.len(), input.env, &mut report);
    let given = |name: &str| (input.env)(name).or_else(|| variables.get(name).cloned());
    let (env_files, room) = (normal::env::Files::default(), Room::default());
    let shown = input.files.first().map_or("", |(path, _)| *path);
    let mut context = normal::Context {
        workdir: input.workdir,
        shown: Path::new(shown).parent().unwrap_or(Path::new("")),
        env: &given,
        scope: 0,
        caller: input.env,
        read: input.read,
        env_files: &env_files,
        room: &room,
    };
    let files = reading::parse(input.files, &context, &mut report);
    let stack = name::early(input.stack, &files, interpolate.then_some(&given));
    let env = |name: &str| match &stack {
        Some(stack) if name == name::VARIABLE => Some(stack.clone()),
        _ => given(name),
    };
    context.env = &env;
    let mut reader = Reader::new(interpolate, input.read, &mut report);
    let value = match reading::file(files, &context, &mut reader) {
        None => None,
        Some((mut file, tree)) => {
            profiles::choose(&mut file, &tree, input.profiles, &env, &mut report);
            use_it(&file, &tree, &context, &mut report)
        }
    };
    // Lines of `.env` files are not shown: they have passwords.
    match value {
        Some(value) if !report.failed() => Ok((value, report.finish(input.files))),
        _ => Err(Diagnostics(report.finish(input.files))),
    }
}

//! The env files of services: each is read once for the variables that it may use, and all
//! that they make is bounded.
//!
//! Owns the two grammars: the Docker CLI's, which takes a line as it stands, for a file that
//! is only named, and that of `dotenv` for one with `path:`.

use super::super::Context;
use crate::codes;
use crate::diagnostic::{Report, Severity};
use crate::dotenv::{self, Fault, Parsed};
use crate::parse::MOST_BYTES;
use crate::tree::Node;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;
use std::rc::Rc;

/// Most bytes that env files are read of, and that they make of the environments of all
/// services.
const MOST_TEXT: usize = 16 << 20;
/// Most variables that env files make of the environments of all services.
const MOST_VARIABLES: usize = 200_000;

/// How the lines of a file are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Grammar {
    /// As they stand.
    Raw,
    /// As those of a `.env` file.
    Dotenv,
}

/// An env file as a service names it.
pub(super) struct Named {
    /// The place of its name.
    pub(super) node: Node,
    /// The path of its name.
    pub(super) path: String,
    pub(super) grammar: Grammar,
    /// It has to be there.
    pub(super) required: bool,
}

/// The env files that were read, and what they may still make.
pub(crate) struct Files {
    /// By path, and what else decides what comes of it.
    read: RefCell<BTreeMap<(String, Grammar, usize), Rc<Read>>>,
    /// Bytes and variables; none once something did not fit.
    left: Cell<Option<(usize, usize)>>,
}

impl Default for Files {
    fn default() -> Self {
        Files {
            read: RefCell::default(),
            left: Cell::new(Some((MOST_TEXT, MOST_VARIABLES))),
        }
    }
}

impl Files {
    /// Takes so much of what is left. False when it does not fit: then nothing does any more.
    fn spend(&self, bytes: usize, variables: usize) -> bool {
        let left = self.left.get().and_then(|(most_bytes, most_variables)| {
            let bytes = most_bytes.checked_sub(bytes)?;
            Some((bytes, most_variables.checked_sub(variables)?))
        });
        self.left.set(left);
        left.is_some()
    }
}

/// What came of reading a file.
#[derive(Default)]
struct Read {
    parsed: Parsed,
    /// Why it could not be read: the code, the message, and what to do.
    failed: Option<(&'static codes::Code, String, &'static str)>,
    missing: bool,
}

/// The variables of a file; what is wrong with it is said.
pub(super) fn variables(
    named: &Named,
    context: &Context<'_>,
    report: &mut Report,
) -> Vec<(String, String)> {
    let file = context.absolute(named.node.as_str().unwrap_or_default());
    let (place, path) = (Some(named.node.place), &named.path);
    let read = once(&file, named.grammar, context);
    let Parsed {
        variables, faults, ..
    } = &read.parsed;
    // A name alone counts too: a list may have many.
    let count = variables.len() + faults.len() + 1;
    if !context.env_files.spend(read.parsed.bytes(), count) {
        let most = MOST_TEXT >> 20;
        let message = format!(
            "the env files of all services make more than {MOST_VARIABLES} variables or {most} MiB"
        );
        let help = "name fewer files, or put what is in them into configs";
        report.error_help(codes::FILE_SIZE, place, path, message, help);
        return Vec::new();
    }
    if let Some((code, message, help)) = &read.failed
        && (named.required || !read.missing)
    {
        report.error_help(code, place, path, message, *help);
    }
    for fault in faults {
        let message = format!("line {} of {file}: {}", fault.line, fault.message);
        match (fault.severity, &fault.help) {
            (Severity::Error, Some(help)) => {
                report.error_help(fault.code, place, path, message, help);
            }
            (Severity::Error, None) => report.error(fault.code, place, path, message),
            (Severity::Warning, Some(help)) => {
                report.warn_help(fault.code, place, path, message, help);
            }
            (Severity::Warning, None) => report.warn(fault.code, place, path, message),
        }
    }
    let variables = variables.iter();
    variables.map(|(k, v)| (k.clone(), v.clone())).collect()
}

/// Reads a file the first time that it is named where these variables are.
fn once(file: &str, grammar: Grammar, context: &Context<'_>) -> Rc<Read> {
    let files = &context.env_files;
    let key = (file.to_owned(), grammar, context.scope);
    if let Some(read) = files.read.borrow().get(&key) {
        return Rc::clone(read);
    }
    let read = Rc::new(read(file, grammar, context));
    files.read.borrow_mut().insert(key, Rc::clone(&read));
    read
}

fn read(file: &str, grammar: Grammar, context: &Context<'_>) -> Read {
    let failed = |code, message, help| Read {
        failed: Some((code, message, help)),
        ..Read::default()
    };
    if context.env_files.left.get().is_none() {
        // Whoever names the file says so.
        return Read::default();
    }
    let content = match (context.read)(Path::new(file)) {
        Ok(content) => content,
        Err(error) => {
            let message = format!("the file {file} cannot be read: {error}");
            let help = "relative paths start at the directory of the first stack file";
            return Read {
                missing: error.kind() == ErrorKind::NotFound,
                ..failed(codes::UNREADABLE, message, help)
            };
        }
    };
    let size = content.len();
    // More would hide what is wrong with this one.
    context.env_files.spend(size.min(MOST_BYTES), 0);
    if size > MOST_BYTES {
        let message = format!("the file {file} has {size} bytes; at most {MOST_BYTES} are read");
        let help = "put what is in it into a config";
        return failed(codes::FILE_SIZE, message, help);
    }
    let Ok(text) = String::from_utf8(content) else {
        let message = format!("the file {file} is not UTF-8 text");
        return failed(codes::UNREADABLE, message, "convert it");
    };
    let parsed = match grammar {
        Grammar::Raw => raw(&text, context),
        Grammar::Dotenv => dotenv::parse(&text, context.env),
    };
    Read {
        parsed,
        ..Read::default()
    }
}

/// The `KEY=value` lines of a file. A bare `KEY` takes the caller's value or is left out, an
/// empty value the caller's. Quotes and trailing blanks are part of the value.
fn raw(text: &str, context: &Context<'_>) -> Parsed {
    let mut out = Parsed::default();
    let lines = text.strip_prefix('\u{feff}').unwrap_or(text).lines();
    for (number, line) in (1..).zip(lines) {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (key, value) = match line.split_once('=') {
            Some((key, "")) => (key, Some((context.caller)(key).unwrap_or_default())),
            Some((key, value)) => (key, Some(value.to_owned())),
            None => (line, (context.env)(line)),
        };
        let fault = |severity, code, message: String, help: &str| Fault {
            line: number,
            column: 1,
            severity,
            code,
            message,
            help: (!help.is_empty()).then(|| help.to_owned()),
        };
        let quoted = line.split_once('=').is_some_and(|(_, value)| {
            let around = |q: char| value.len() > 1 && value.starts_with(q) && value.ends_with(q);
            around('"') || around('\'')
        });
        if key.is_empty() || key.contains(char::is_whitespace) {
            let message = "this is not a variable".to_owned();
            let help = "lines are `KEY=value`, or begin with `#`";
            let code = codes::ENV_LINE;
            out.faults.push(fault(Severity::Error, code, message, help));
        } else if let Some(value) = value {
            if quoted {
                let message = format!("the quotes around the value of {key} are part of it");
                let help = "remove them, or name the file with `- path: FILE`: then they are none";
                let code = codes::QUOTES_KEPT;
                out.faults
                    .push(fault(Severity::Warning, code, message, help));
            }
            if let Err(message) = out.take(key.to_owned(), value) {
                let code = codes::FILE_SIZE;
                out.faults.push(fault(Severity::Error, code, message, ""));
                break;
            }
        }
        if out.faults.len() >= dotenv::MOST_FAULTS {
            break;
        }
    }
    out
}

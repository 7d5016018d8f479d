//! Diagnostics: what is wrong or left out, where, and what to do about it.
//!
//! Owns their short form and order. What is worth one is decided where it is found; the
//! form with lines of the file is `render`'s.

use crate::codes::Code;
use crate::excerpt::{self, Excerpt};
use std::fmt;

/// How much a diagnostic matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The stack cannot be loaded.
    Error,
    /// The stack loads, but not everything in the file is honoured.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        })
    }
}

/// A place in a stack file. Lines and columns count from 1.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    /// The file as the user named it.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// Characters of this line that it is about, at least 1.
    pub width: u32,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// One finding about a stack file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// The kind of finding.
    pub code: &'static Code,
    /// Where, when it has a place.
    pub location: Option<Location>,
    /// Key path, e.g. `services.vote.deploy.replicas`; empty for the whole file.
    pub path: String,
    /// What is wrong: one line, lower case.
    pub message: String,
    /// What to do, when there is something to say.
    pub help: Option<String>,
    /// The line of the file, when it has a place.
    pub excerpt: Option<Excerpt>,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]: ", self.severity, self.code.id)?;
        if let Some(location) = &self.location {
            write!(f, "{location}: ")?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)?;
        if let Some(help) = &self.help {
            write!(f, "\n  help: {help}")?;
        }
        Ok(())
    }
}

/// Findings for a caller that takes no warnings: all of them are errors.
pub fn strict(found: &mut [Diagnostic]) {
    for diagnostic in found {
        diagnostic.severity = Severity::Error;
    }
}

/// Why a stack could not be loaded: at least one error, and the warnings found
/// on the way. Errors come first, each group in the order of the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl Diagnostics {
    /// The errors alone.
    pub fn errors(&self) -> impl Iterator<Item = &Diagnostic> {
        self.0.iter().filter(|d| d.severity == Severity::Error)
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            diagnostic.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

/// A place as the parser keeps it: the file by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Place {
    pub(crate) file: u16,
    pub(crate) line: u32,
    pub(crate) column: u32,
    /// Characters of the line from there on; 1 where it is not known.
    pub(crate) width: u16,
}

/// Most findings kept; a machine-made file can be wrong ten thousand times.
const MOST_FINDINGS: usize = 100;

/// Longest message and path, in characters: either may have a text of the file in it.
const MOST_SAID: usize = 2_000;

/// `text`, or as much of it as people read.
fn cut(mut text: String) -> String {
    if let Some((at, _)) = text.char_indices().nth(MOST_SAID) {
        text.truncate(at);
        text.push('…');
        text.shrink_to_fit();
    }
    text
}

/// Collects findings while a stack is loaded.
pub(crate) struct Report {
    files: Vec<String>,
    /// Texts of files that others name, by their number.
    texts: Vec<(usize, String)>,
    found: Vec<(Option<Place>, Diagnostic)>,
    errors: usize,
}

impl Report {
    pub(crate) fn new(files: Vec<String>) -> Self {
        Report {
            files,
            texts: Vec::new(),
            found: Vec::new(),
            errors: 0,
        }
    }

    /// Takes another file, and its text if lines of it may be shown. Its number, which
    /// places count; `None` when there are too many.
    pub(crate) fn add_file(&mut self, name: String, text: Option<String>) -> Option<u16> {
        let number = u16::try_from(self.files.len()).ok()?;
        self.files.push(name);
        self.texts
            .extend(text.map(|text| (usize::from(number), text)));
        Some(number)
    }

    fn add(
        &mut self,
        severity: Severity,
        code: &'static Code,
        place: Option<Place>,
        path: &str,
        message: String,
        help: Option<String>,
    ) {
        if severity == Severity::Error {
            self.errors += 1;
        }
        // Warnings never crowd out errors: each kind has its own room.
        let same = self.found.iter().filter(|(_, d)| d.severity == severity);
        if same.count() >= MOST_FINDINGS {
            return;
        }
        let location = place.and_then(|p| {
            let file = self.files.get(usize::from(p.file))?.clone();
            Some(Location {
                file,
                line: p.line,
                column: p.column,
                width: u32::from(p.width.max(1)),
            })
        });
        let diagnostic = Diagnostic {
            severity,
            code,
            location,
            path: cut(path.to_owned()),
            message: cut(message),
            help: help.map(cut),
            excerpt: None,
        };
        // An alias repeats its content; one finding a place is enough.
        let said = |(_, d): &(_, Diagnostic)| {
            d.location.is_some()
                && d.location == diagnostic.location
                && d.message == diagnostic.message
        };
        if !self.found.iter().any(said) {
            self.found.push((place, diagnostic));
        }
    }

    pub(crate) fn error(
        &mut self,
        code: &'static Code,
        place: Option<Place>,
        path: &str,
        message: impl Into<String>,
    ) {
        self.add(Severity::Error, code, place, path, message.into(), None);
    }

    pub(crate) fn error_help(
        &mut self,
        code: &'static Code,
        place: Option<Place>,
        path: &str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        let help = Some(help.into());
        self.add(Severity::Error, code, place, path, message.into(), help);
    }

    pub(crate) fn warn(
        &mut self,
        code: &'static Code,
        place: Option<Place>,
        path: &str,
        message: impl Into<String>,
    ) {
        self.add(Severity::Warning, code, place, path, message.into(), None);
    }

    pub(crate) fn warn_help(
        &mut self,
        code: &'static Code,
        place: Option<Place>,
        path: &str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        let help = Some(help.into());
        self.add(Severity::Warning, code, place, path, message.into(), help);
    }

    pub(crate) fn errors(&self) -> usize {
        self.errors
    }

    pub(crate) fn failed(&self) -> bool {
        self.errors > 0
    }

    /// The findings in order: errors first, then by place; with the lines of `files`,
    /// which are the first of those that places count, and of those that were added.
    pub(crate) fn finish(mut self, files: &[(&str, &str)]) -> Vec<Diagnostic> {
        self.found
            .sort_by_key(|(place, d)| (d.severity, place.is_none(), *place));
        let files = files.iter().map(|(_, text)| *text).enumerate();
        let added = self.texts.iter().map(|(number, text)| (*number, &**text));
        excerpt::attach(&mut self.found, files.chain(added));
        self.found.into_iter().map(|(_, d)| d).collect()
    }
}

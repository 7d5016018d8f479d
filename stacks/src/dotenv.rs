//! The text of `.env` files: `KEY=value` with quotes, comments, `export` and variables.
//!
//! Owns the grammar, which is that of Compose. Which files are read, and what their
//! variables are for, is decided elsewhere; so are env files without this grammar. What is
//! said of a line shows nothing of its value: it may be a password, and logs are read by many.

use crate::codes::{self, Code};
use crate::diagnostic::Severity;
use crate::interpolate::{self, Env};
use std::collections::BTreeMap;

/// Most variables of one file.
pub(crate) const MOST_VARIABLES: usize = 200_000;
/// Most bytes of the names and values of one file.
pub(crate) const MOST_TEXT: usize = 16 << 20;
/// Most findings about one file.
pub(crate) const MOST_FAULTS: usize = 100;

/// What a file says.
#[derive(Debug, Default)]
pub(crate) struct Parsed {
    /// Of each name the last value.
    pub(crate) variables: BTreeMap<String, String>,
    pub(crate) faults: Vec<Fault>,
    /// Bytes of the names and values, those of former values too.
    bytes: usize,
}

/// What is to be said about a line. Lines and columns count from 1.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) line: u32,
    pub(crate) column: u32,
    pub(crate) severity: Severity,
    pub(crate) code: &'static Code,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

impl Parsed {
    /// Takes a variable, as long as there is room: otherwise why not.
    pub(crate) fn take(&mut self, key: String, value: String) -> Result<(), String> {
        self.bytes = self.bytes.saturating_add(key.len() + value.len());
        if self.bytes > MOST_TEXT {
            let most = MOST_TEXT >> 20;
            return Err(format!("the variables have more than {most} MiB"));
        }
        self.variables.insert(key, value);
        match self.variables.len() > MOST_VARIABLES {
            true => Err(format!("there are more than {MOST_VARIABLES} variables")),
            false => Ok(()),
        }
    }

    /// Bytes of the names and values.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Reads a file. Variables in values are those of `env`, then earlier ones of the file.
pub(crate) fn parse(text: &str, env: Env<'_>) -> Parsed {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut parser = Parser {
        text,
        at: 0,
        line: 1,
        line_begin: 0,
        env,
        out: Parsed::default(),
    };
    while parser.next_statement() && parser.out.faults.len() < MOST_FAULTS {
        if let Err(end) = parser.statement() {
            parser.out.faults.push(end);
            break;
        }
    }
    parser.out
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
    line: u32,
    /// Where the line begins.
    line_begin: usize,
    env: Env<'t>,
    out: Parsed,
}

/// Blanks that do not end a line.
fn is_blank(c: char) -> bool {
    c.is_whitespace() && c != '\n'
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | '[' | ']')
}

impl<'t> Parser<'t> {
    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn newline(&mut self) {
        self.line = self.line.saturating_add(1);
        self.line_begin = self.at;
    }

    fn skip_blanks(&mut self) -> bool {
        let rest = self.rest();
        let blanks = rest.len() - rest.trim_start_matches(is_blank).len();
        self.at += blanks;
        blanks > 0
    }

    /// The rest of the line, which is gone over.
    fn line_rest(&mut self) -> &'t str {
        let rest = self.rest();
        let line = rest.split('\n').next().unwrap_or_default();
        self.at += line.len();
        line
    }

    /// Goes to where something is said; false at the end.
    fn next_statement(&mut self) -> bool {
        loop {
            self.skip_blanks();
            match self.rest().chars().next() {
                None => return false,
                Some('\n') => {
                    self.at += 1;
                    self.newline();
                }
                Some('#') => {
                    self.line_rest();
                }
                Some(_) => return true,
            }
        }
    }

    /// The column of byte `at` of the present line.
    fn column(&self, at: usize) -> u32 {
        let before = self.text[self.line_begin..at].chars().count();
        u32::try_from(before + 1).unwrap_or(u32::MAX)
    }

    /// A fault at byte `at` of the present line.
    fn fault(&self, at: usize, code: &'static Code, message: String, help: Option<&str>) -> Fault {
        Fault {
            line: self.line,
            column: self.column(at),
            severity: Severity::Error,
            code,
            message,
            help: help.map(str::to_owned),
        }
    }

    /// Goes over a line that says nothing.
    fn not_a_line(&mut self, at: usize) {
        let message = "this is not a variable".to_owned();
        let help = "lines are `NAME=value`, or begin with `#`";
        let fault = self.fault(at, codes::ENV_LINE, message, Some(help));
        self.out.faults.push(fault);
        self.line_rest();
    }

    /// One variable. An error ends the file.
    fn statement(&mut self) -> Result<(), Fault> {
        if let Some(after) = self.rest().strip_prefix("export")
            && after.starts_with(is_blank)
        {
            self.at += "export".len();
            self.skip_blanks();
        }
        let begin = self.at;
        let rest = self.rest();
        let name = &rest[..rest.find(|c| !is_name(c)).unwrap_or(rest.len())];
        self.at += name.len();
        let apart = self.skip_blanks();
        match self.rest().chars().next() {
            Some('=' | ':') if !name.is_empty() => {
                self.at += 1;
                match self.value() {
                    Some(value) => self.take(name, value),
                    None => Ok(()),
                }
            }
            None | Some('\n') => self.inherited(name),
            Some('#') if apart => {
                self.line_rest();
                self.inherited(name)
            }
            _ => {
                self.not_a_line(begin);
                Ok(())
            }
        }
    }

    /// A name alone takes the value of the environment, or is left out.
    fn inherited(&mut self, name: &str) -> Result<(), Fault> {
        (self.env)(name).map_or(Ok(()), |value| self.take(name, value))
    }

    fn take(&mut self, name: &str, value: String) -> Result<(), Fault> {
        let taken = self.out.take(name.to_owned(), value);
        taken.map_err(|message| self.fault(self.line_begin, codes::FILE_SIZE, message, None))
    }

    /// What is behind the sign. None where something is wrong with it, which is said.
    fn value(&mut self) -> Option<String> {
        let apart = self.skip_blanks();
        // A quoted value may end lines further down.
        let (line, column) = (self.line, self.column(self.at));
        let value = match self.rest().chars().next() {
            Some(quote @ ('"' | '\'')) => {
                let value = self.quoted(quote)?;
                if quote == '\'' {
                    return Some(value);
                }
                value
            }
            _ => {
                let text = self.line_rest();
                let mut before = if apart { ' ' } else { 'x' };
                let comment = text.char_indices().find(|(_, c)| {
                    let found = *c == '#' && is_blank(before);
                    before = *c;
                    found
                });
                let end = comment.map_or(text.len(), |(at, _)| at);
                text[..end].trim_end().to_owned()
            }
        };
        self.expand(&value, (line, column))
    }

    /// `value`, which begins at a line and column, with its variables replaced.
    fn expand(&mut self, value: &str, (line, column): (u32, u32)) -> Option<String> {
        let variables = &self.out.variables;
        let env = |name: &str| (self.env)(name).or_else(|| variables.get(name).cloned());
        let mut unset = Vec::new();
        let expanded = interpolate::text(value, &env, &mut unset);
        for name in unset.iter().take(MOST_FAULTS) {
            let (message, help) = interpolate::unset(name);
            self.out.faults.push(Fault {
                line,
                column,
                severity: Severity::Warning,
                code: codes::UNSET_VARIABLE,
                message,
                help: Some(help),
            });
        }
        match expanded {
            Ok(value) => Some(value),
            Err(wrong) => {
                let message = match wrong.required {
                    true => wrong.message,
                    false => "a `$` of the value begins no variable".to_owned(),
                };
                self.out.faults.push(Fault {
                    line,
                    column,
                    severity: Severity::Error,
                    code: wrong.code,
                    message,
                    help: wrong.help,
                });
                None
            }
        }
    }

    /// What is between quotes, also over several lines, and nothing behind it but a comment.
    fn quoted(&mut self, quote: char) -> Option<String> {
        let begin = self.at;
        let text = &self.rest()[1..];
        let Some(end) = closing(text, quote) else {
            let message = format!("the quote {quote} is not closed");
            let help = "close it, or put the value into quotes of the other kind";
            let fault = self.fault(begin, codes::ENV_LINE, message, Some(help));
            self.out.faults.push(fault);
            self.line_rest();
            return None;
        };
        let inside = &text[..end];
        self.at += 1;
        for (at, _) in inside.match_indices('\n') {
            self.line = self.line.saturating_add(1);
            self.line_begin = begin + 1 + at + 1;
        }
        self.at += end + 1;
        let apart = self.skip_blanks();
        match self.rest().chars().next() {
            None | Some('\n') => {}
            Some('#') if apart => {
                self.line_rest();
            }
            Some(_) => {
                let message = "something follows the closing quote".to_owned();
                let help = "put quotes around all of the value, or a blank before a comment";
                let fault = self.fault(self.at, codes::ENV_LINE, message, Some(help));
                self.out.faults.push(fault);
                self.line_rest();
                return None;
            }
        }
        Some(unescaped(inside, quote))
    }
}

/// Where the quote ends; a quote behind a backslash does not end it.
fn closing(text: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return Some(at),
            _ => {}
        }
    }
    None
}

/// Single quotes know `\'` alone. In double quotes an escaped dollar stays one when variables
/// are replaced.
fn unescaped(text: &str, quote: char) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some(next) if next == quote => out.push(next),
            Some(next) if quote == '"' => match next {
                'n' => out.push('\n'),
                'r' => out.push('\r'),
                't' => out.push('\t'),
                'f' => out.push('\u{c}'),
                'v' => out.push('\u{b}'),
                'a' => out.push('\u{7}'),
                'b' => out.push('\u{8}'),
                '\\' => out.push('\\'),
                '$' => out.push_str("$$"),
                other => out.extend(['\\', other]),
            },
            Some(other) => out.extend(['\\', other]),
            None => out.push('\\'),
        }
    }
    out
}

#[cfg(test)]
#[path = "dotenv/tests.rs"]
mod tests;

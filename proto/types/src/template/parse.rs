//! Reads templates. Every step takes something of the text, and depth is bounded.

use super::{DEPTH_MAX, Fault, Field, Function, Kind, Part, Place, Term, fault};
use std::borrow::Cow;

const OPEN: &str = "{{";
const CLOSE: &str = "}}";

const FIELDS: &[(&str, Field)] = &[
    ("Service.ID", Field::ServiceId),
    ("Service.Name", Field::ServiceName),
    ("Service.Labels", Field::ServiceLabels),
    ("Node.ID", Field::NodeId),
    ("Node.Hostname", Field::NodeHostname),
    ("Node.Platform.OS", Field::NodeOs),
    ("Node.Platform.Architecture", Field::NodeArchitecture),
    ("Node.Labels", Field::NodeLabels),
    ("Task.ID", Field::TaskId),
    ("Task.Name", Field::TaskName),
    ("Task.Slot", Field::TaskSlot),
];

/// Functions, and the least and most arguments of each.
const FUNCTIONS: &[(&str, Function, usize, usize)] = &[
    ("index", Function::Index, 2, 2),
    ("join", Function::Join, 1, usize::MAX),
    ("print", Function::Print, 0, usize::MAX),
    ("printf", Function::Printf, 1, usize::MAX),
    ("len", Function::Len, 1, 1),
    ("eq", Function::Eq, 2, usize::MAX),
    ("ne", Function::Ne, 2, 2),
    ("not", Function::Not, 1, 1),
    ("and", Function::And, 1, usize::MAX),
    ("or", Function::Or, 1, usize::MAX),
    ("env", Function::Env, 1, 1),
    ("secret", Function::Secret, 1, 1),
    ("config", Function::Config, 1, 1),
];

/// Words of Go's templates that are not understood here.
const OTHERS: &[&str] = &[
    "range", "with", "template", "define", "block", "break", "continue",
];

/// A condition whose end has not been seen.
struct Open<'a> {
    at: usize,
    outer: Vec<Part<'a>>,
    branches: Vec<(Term<'a>, Vec<Part<'a>>)>,
    /// The condition of the branch that is being read; `None` after `else`.
    condition: Option<Term<'a>>,
}

pub(super) fn parse(text: &str, place: Place) -> Result<Vec<Part<'_>>, Fault> {
    let mut parts = Vec::new();
    let mut open: Vec<Open<'_>> = Vec::new();
    let mut at = 0;
    let mut trimmed = false;
    loop {
        let found = text[at..].find(OPEN).map(|offset| at + offset);
        let mut piece = &text[at..found.unwrap_or(text.len())];
        if trimmed {
            piece = piece.trim_start();
        }
        let Some(begin) = found else {
            push_text(&mut parts, piece);
            break;
        };
        let mut inside = begin + OPEN.len();
        if trims(text[inside..].strip_prefix('-')) {
            piece = piece.trim_end();
            inside += 1;
        }
        push_text(&mut parts, piece);
        let mut reader = Reader {
            text,
            at: inside,
            place,
            begin,
            depth: 0,
        };
        reader.skip_spaces();
        if text[reader.at..].starts_with("/*") {
            (at, trimmed) = reader.comment()?;
            continue;
        }
        let start = reader.at;
        match reader.word() {
            "if" => {
                if open.len() >= DEPTH_MAX {
                    return fault(
                        begin,
                        format!("more than {DEPTH_MAX} conditions in each other"),
                    );
                }
                let condition = reader.pipe()?;
                open.push(Open {
                    at: begin,
                    outer: std::mem::take(&mut parts),
                    branches: Vec::new(),
                    condition: Some(condition),
                });
            }
            "else" => {
                let Some(inner) = open.last_mut() else {
                    return fault(begin, "{{else}} without {{if}}");
                };
                let Some(condition) = inner.condition.take() else {
                    return fault(begin, "a second {{else}}");
                };
                inner.branches.push((condition, std::mem::take(&mut parts)));
                reader.skip_spaces();
                if reader.word() == "if" {
                    inner.condition = Some(reader.pipe()?);
                }
            }
            "end" => {
                let Some(inner) = open.pop() else {
                    return fault(begin, "{{end}} without {{if}}");
                };
                let Open {
                    outer,
                    mut branches,
                    condition,
                    ..
                } = inner;
                let last = std::mem::replace(&mut parts, outer);
                let otherwise = match condition {
                    Some(condition) => {
                        branches.push((condition, last));
                        Vec::new()
                    }
                    None => last,
                };
                parts.push(Part::If(branches, otherwise));
            }
            word if OTHERS.contains(&word) => {
                let what = format!("{{{{{word}}}}} is not supported; there are if, else and end");
                return fault(start, what);
            }
            _ => {
                reader.at = start;
                parts.push(Part::Print(reader.pipe()?));
            }
        }
        (at, trimmed) = reader.close()?;
    }
    match open.pop() {
        Some(inner) => fault(inner.at, "{{if}} without {{end}}"),
        None => Ok(parts),
    }
}

fn push_text<'a>(parts: &mut Vec<Part<'a>>, text: &'a str) {
    if !text.is_empty() {
        parts.push(Part::Text(text));
    }
}

/// What follows a dash that trims is space.
fn trims(after: Option<&str>) -> bool {
    after.is_some_and(|rest| rest.starts_with([' ', '\t', '\r', '\n']))
}

/// Reads inside of one `{{…}}`.
struct Reader<'a> {
    text: &'a str,
    at: usize,
    place: Place,
    /// Where it begins.
    begin: usize,
    depth: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn skip_spaces(&mut self) {
        let rest = self.rest();
        let trimmed = rest.trim_start_matches([' ', '\t', '\r', '\n']);
        self.at += rest.len() - trimmed.len();
    }

    /// Letters, digits and `_`; may be none.
    fn word(&mut self) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
        let word = &rest[..end.unwrap_or(rest.len())];
        self.at += word.len();
        word
    }

    /// Goes behind the end of `/* … */}}`.
    fn comment(&self) -> Result<(usize, bool), Fault> {
        let Some(length) = self.rest().find("*/") else {
            return fault(self.begin, "the comment has no end (*/)");
        };
        let after = Reader {
            at: self.at + length + 2,
            ..*self
        };
        after.close()
    }

    /// Goes behind `}}`; tells whether the text after it is trimmed.
    fn close(mut self) -> Result<(usize, bool), Fault> {
        self.skip_spaces();
        let rest = self.rest();
        let spaced = self.text[..self.at].ends_with([' ', '\t', '\r', '\n']);
        if spaced && rest.starts_with("-}}") {
            return Ok((self.at + 1 + CLOSE.len(), true));
        }
        if rest.starts_with(CLOSE) {
            return Ok((self.at + CLOSE.len(), false));
        }
        match rest.chars().next() {
            None => fault(self.begin, "{{ has no }}"),
            Some(')') => fault(self.at, ") without ("),
            Some(other) => fault(self.at, format!("unexpected {other:?}")),
        }
    }

    /// `a b | c d`: what comes before a bar is the last argument of what follows it.
    fn pipe(&mut self) -> Result<Term<'a>, Fault> {
        let mut term = self.command(None)?;
        // Each holds the one before it.
        for _ in 0..=DEPTH_MAX {
            self.skip_spaces();
            if !self.rest().starts_with('|') {
                return Ok(term);
            }
            self.at += 1;
            term = self.command(Some(term))?;
        }
        fault(
            self.at,
            format!("more than {DEPTH_MAX} functions behind each other"),
        )
    }

    fn command(&mut self, carried: Option<Term<'a>>) -> Result<Term<'a>, Fault> {
        self.skip_spaces();
        let at = self.at;
        let Some((name, function, least, most)) = self.function()? else {
            let term = self.term()?;
            if carried.is_some() {
                return fault(at, "only functions take what comes before a |");
            }
            return Ok(term);
        };
        let mut arguments = Vec::new();
        loop {
            self.skip_spaces();
            if self.ends() {
                break;
            }
            arguments.push(self.term()?);
        }
        arguments.extend(carried);
        if arguments.len() < least || arguments.len() > most {
            let wanted = match most {
                usize::MAX => format!("{least} or more"),
                most => most.to_string(),
            };
            let given = arguments.len();
            return fault(at, format!("{name} takes {wanted} arguments, not {given}"));
        }
        Ok(Term {
            at,
            kind: Kind::Call(function, arguments),
        })
    }

    /// Nothing more belongs to this command.
    fn ends(&self) -> bool {
        let rest = self.rest();
        rest.is_empty() || rest.starts_with([')', '|', '}']) || rest.starts_with("-}}")
    }

    /// A function's name, where there is one.
    fn function(&mut self) -> Result<Option<(&'static str, Function, usize, usize)>, Fault> {
        let at = self.at;
        let is_name = |c: char| c.is_alphabetic() || c == '_';
        if !self.rest().starts_with(is_name) {
            return Ok(None);
        }
        let word = self.word();
        if matches!(word, "true" | "false") {
            self.at = at;
            return Ok(None);
        }
        let content = |function| {
            matches!(
                function,
                Function::Env | Function::Secret | Function::Config
            )
        };
        let found = FUNCTIONS.iter().find(|(name, ..)| *name == word);
        match found {
            Some((name, function, ..)) if self.place == Place::Spec && content(*function) => {
                let what = format!("{name} is only for the content of secrets and configs");
                fault(at, what)
            }
            Some(found) => Ok(Some(*found)),
            None => {
                let names = FUNCTIONS.iter().filter(|(_, function, ..)| {
                    self.place == Place::Content || !content(*function)
                });
                let names: Vec<&str> = names.map(|(name, ..)| *name).collect();
                let names = names.join(" ");
                fault(
                    at,
                    format!("there is no function {word}; there are {names}"),
                )
            }
        }
    }

    fn term(&mut self) -> Result<Term<'a>, Fault> {
        let at = self.at;
        let kind = match self.rest().chars().next() {
            Some('(') => return self.group(),
            Some('"') => Kind::Text(self.quoted()?),
            Some('`') => {
                let inner = &self.rest()[1..];
                let Some(end) = inner.find('`') else {
                    return fault(at, "the text has no end (`)");
                };
                self.at += end + 2;
                Kind::Text(Cow::Borrowed(&inner[..end]))
            }
            Some('$') if self.rest().starts_with("$.") => {
                self.at += 1;
                self.field()?
            }
            Some('.') => self.field()?,
            Some(c) if c == '-' || c.is_ascii_digit() => {
                self.at += usize::from(c == '-');
                self.word();
                let text = &self.text[at..self.at];
                let number = text.parse();
                Kind::Number(number.or_else(|_| fault(at, format!("{text} is not a number")))?)
            }
            Some(c) if c.is_alphabetic() => match self.word() {
                "true" => Kind::Truth(true),
                "false" => Kind::Truth(false),
                word => {
                    let what = format!("{word} is not a value; a call as argument goes into ( )");
                    return fault(at, what);
                }
            },
            Some('}' | '|' | ')') => return fault(at, "a value is missing"),
            Some(other) => return fault(at, format!("unexpected {other:?}")),
            None => return fault(self.begin, "{{ has no }}"),
        };
        // `"a".b` and `1x` are no values.
        if !self.rest().is_empty()
            && !self.rest().starts_with([' ', '\t', '\r', '\n'])
            && !self.ends()
        {
            let next = self.rest().chars().next().unwrap_or_default();
            return fault(self.at, format!("unexpected {next:?}"));
        }
        Ok(Term { at, kind })
    }

    fn group(&mut self) -> Result<Term<'a>, Fault> {
        let at = self.at;
        if self.depth >= DEPTH_MAX {
            return fault(at, format!("more than {DEPTH_MAX} groups in each other"));
        }
        self.at += 1;
        self.depth += 1;
        let term = self.pipe()?;
        self.depth -= 1;
        self.skip_spaces();
        if !self.rest().starts_with(')') {
            return fault(at, "( without )");
        }
        self.at += 1;
        Ok(term)
    }

    fn field(&mut self) -> Result<Kind<'a>, Fault> {
        let at = self.at;
        while self.rest().starts_with('.') {
            self.at += 1;
            self.word();
        }
        let path = &self.text[at + 1..self.at];
        if let Some((_, field)) = FIELDS.iter().find(|(name, _)| *name == path) {
            return Ok(Kind::Field(*field));
        }
        for (name, field) in FIELDS {
            let below = path.strip_prefix(name).and_then(|p| p.strip_prefix('.'));
            let (Some(label), Field::ServiceLabels | Field::NodeLabels) = (below, field) else {
                continue;
            };
            if label.is_empty() || label.contains('.') {
                let what = format!("write index .{name} {label:?} for a label with dots");
                return fault(at, what);
            }
            return Ok(Kind::Label(*field, label));
        }
        // What there is below the part of the path that is right.
        let parent = path.split('.').next().unwrap_or_default();
        let below = FIELDS.iter().map(|(name, _)| *name);
        let mut known: Vec<String> = below
            .filter(|name| name.split('.').next() == Some(parent))
            .map(|name| format!(".{name}"))
            .collect();
        if known.is_empty() {
            known = [".Service", ".Node", ".Task"].map(str::to_owned).into();
        }
        let known = known.join(" ");
        fault(at, format!("there is no field .{path}; there are {known}"))
    }

    fn quoted(&mut self) -> Result<Cow<'a, str>, Fault> {
        let begin = self.at;
        let inner = &self.rest()[1..];
        if let Some(end) = inner.find(['"', '\\', '\n'])
            && inner[end..].starts_with('"')
        {
            self.at += end + 2;
            return Ok(Cow::Borrowed(&inner[..end]));
        }
        let mut text = String::new();
        let mut chars = inner.char_indices();
        while let Some((offset, c)) = chars.next() {
            match c {
                '"' => {
                    self.at += offset + 2;
                    return Ok(Cow::Owned(text));
                }
                '\n' => break,
                '\\' => match chars.next().map(|(_, c)| c) {
                    Some('n') => text.push('\n'),
                    Some('t') => text.push('\t'),
                    Some('r') => text.push('\r'),
                    Some(c @ ('"' | '\\' | '\'')) => text.push(c),
                    _ => {
                        let what = r#"there are the escapes \n \t \r \" and \\"#;
                        return fault(begin + 1 + offset, what);
                    }
                },
                c => text.push(c),
            }
        }
        fault(begin, "the text has no end (\")")
    }
}

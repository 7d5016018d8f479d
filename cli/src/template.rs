//! `--format` templates: the part of Go's text/template that people write on a
//! command line: `{{.Name}}`, `{{json .}}`, `{{range .Ports}}…{{end}}`,
//! `{{if .Leader}}…{{else}}…{{end}}`, pipes, and a few functions.

use serde_json::Value;
use std::fmt::Write as _;

/// A template that cannot be read or applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// Its text is wrong.
    #[error("template parsing error: {0}")]
    Parse(String),
    /// The value has no such field.
    #[error("template: there is no field {field}; there are {known}")]
    NoField {
        /// The field asked for.
        field: String,
        /// Those there are.
        known: String,
    },
    /// A function cannot work on what it was given.
    #[error("template: {0}")]
    Call(String),
}

/// What a missing field becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// An error: rows of tables have a fixed set of fields.
    Refused,
    /// `<no value>`: objects leave out what is empty.
    NoValue,
}

/// A template, read.
#[derive(Debug, Clone, PartialEq)]
pub struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Text(String),
    Print(Pipe),
    Range(Pipe, Vec<Part>, Vec<Part>),
    If(Pipe, Vec<Part>, Vec<Part>),
    With(Pipe, Vec<Part>, Vec<Part>),
}

/// Calls, each fed with the result of the one before as its last argument.
type Pipe = Vec<Vec<Term>>;

#[derive(Debug, Clone, PartialEq)]
enum Term {
    /// `.A.B`; from the outermost value where it began with `$`.
    Path {
        from_root: bool,
        names: Vec<String>,
    },
    Literal(Value),
    Name(String),
    Group(Pipe),
}

impl Template {
    /// Reads a template. `\t` and `\n` stand for tab and new line.
    ///
    /// # Errors
    /// [`TemplateError::Parse`].
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let text = text.replace("\\t", "\t").replace("\\n", "\n");
        let mut pieces = pieces(&text)?.into_iter();
        let (parts, end) = block(&mut pieces, 0)?;
        match end {
            None => Ok(Template(parts)),
            Some(word) => Err(TemplateError::Parse(format!("unexpected {{{{{word}}}}}"))),
        }
    }

    /// Applies the template to a value.
    ///
    /// # Errors
    /// When it asks for what is not there.
    pub fn render(&self, value: &Value, missing: Missing) -> Result<String, TemplateError> {
        let mut out = String::new();
        let scope = Scope {
            root: value,
            missing,
        };
        scope.run(&self.0, value, &mut out)?;
        Ok(out)
    }
}

enum Piece {
    Text(String),
    Code(String),
}

fn pieces(text: &str) -> Result<Vec<Piece>, TemplateError> {
    let mut out = Vec::new();
    let mut rest = text;
    let mut trim_next = false;
    while let Some(at) = rest.find("{{") {
        let (before, after) = (&rest[..at], &rest[at + 2..]);
        let Some(end) = after.find("}}") else {
            return Err(TemplateError::Parse("unclosed {{".to_owned()));
        };
        let code = &after[..end];
        let before = if trim_next {
            before.trim_start()
        } else {
            before
        };
        let code_inner = code.strip_prefix("- ");
        let before = match code_inner {
            Some(_) => before.trim_end(),
            None => before,
        };
        let code = code_inner.unwrap_or(code);
        let stripped = code.strip_suffix(" -");
        trim_next = stripped.is_some();
        out.push(Piece::Text(before.to_owned()));
        out.push(Piece::Code(stripped.unwrap_or(code).trim().to_owned()));
        rest = &after[end + 2..];
    }
    let rest = if trim_next { rest.trim_start() } else { rest };
    out.push(Piece::Text(rest.to_owned()));
    Ok(out)
}

/// Deepest nesting of blocks.
const MOST_NESTING: usize = 32;

/// Parts up to the word that ends the block.
fn block(
    pieces: &mut std::vec::IntoIter<Piece>,
    depth: usize,
) -> Result<(Vec<Part>, Option<String>), TemplateError> {
    if depth > MOST_NESTING {
        return Err(TemplateError::Parse("nested too deeply".to_owned()));
    }
    let mut parts = Vec::new();
    while let Some(piece) = pieces.next() {
        let code = match piece {
            Piece::Text(text) if text.is_empty() => continue,
            Piece::Text(text) => {
                parts.push(Part::Text(text));
                continue;
            }
            Piece::Code(code) => code,
        };
        if code.starts_with("/*") {
            continue;
        }
        let (word, rest) = code.split_once(char::is_whitespace).unwrap_or((&code, ""));
        match word {
            "end" => return Ok((parts, Some("end".to_owned()))),
            "else" => {
                let rest = rest.trim();
                return Ok((parts, Some(format!("else {rest}").trim_end().to_owned())));
            }
            "range" | "if" | "with" => {
                parts.push(conditional(word, rest, pieces, depth)?);
            }
            _ => parts.push(Part::Print(pipe(&code)?)),
        }
    }
    Ok((parts, None))
}

fn conditional(
    word: &str,
    condition: &str,
    pieces: &mut std::vec::IntoIter<Piece>,
    depth: usize,
) -> Result<Part, TemplateError> {
    let unclosed = || TemplateError::Parse(format!("{{{{{word}}}}} without {{{{end}}}}"));
    let condition = pipe(condition)?;
    let (then, end) = block(pieces, depth + 1)?;
    let end = end.ok_or_else(unclosed)?;
    let otherwise = match end.as_str() {
        "end" => Vec::new(),
        "else" => {
            let (parts, end) = block(pieces, depth + 1)?;
            if end.as_deref() != Some("end") {
                return Err(unclosed());
            }
            parts
        }
        other => match other.strip_prefix("else if ") {
            Some(inner) => vec![conditional("if", inner, pieces, depth + 1)?],
            None => {
                return Err(TemplateError::Parse(format!(
                    "{{{{{other}}}}} is not known"
                )));
            }
        },
    };
    Ok(match word {
        "range" => Part::Range(condition, then, otherwise),
        "with" => Part::With(condition, then, otherwise),
        _ => Part::If(condition, then, otherwise),
    })
}

fn pipe(code: &str) -> Result<Pipe, TemplateError> {
    let mut letters = code.chars().peekable();
    let pipe = calls(&mut letters, code, 0)?;
    if letters.next().is_some() {
        return Err(TemplateError::Parse(format!("unexpected ) in {code:?}")));
    }
    Ok(pipe)
}

type Letters<'a> = std::iter::Peekable<std::str::Chars<'a>>;

/// Calls up to the end, or up to a closing bracket that is left to the caller.
fn calls(letters: &mut Letters<'_>, code: &str, depth: usize) -> Result<Pipe, TemplateError> {
    let bad = |what: &str| TemplateError::Parse(format!("{what} in {code:?}"));
    if depth > MOST_NESTING {
        return Err(bad("brackets too deep"));
    }
    let mut pipe: Pipe = vec![Vec::new()];
    while let Some(&letter) = letters.peek() {
        let term = match letter {
            ' ' | '\t' | '\n' => {
                letters.next();
                continue;
            }
            ')' => break,
            '|' => {
                letters.next();
                pipe.push(Vec::new());
                continue;
            }
            '(' => {
                letters.next();
                let inner = calls(letters, code, depth + 1)?;
                if letters.next() != Some(')') {
                    return Err(bad("unclosed ("));
                }
                Term::Group(inner)
            }
            '"' | '`' => {
                letters.next();
                let mut text = String::new();
                loop {
                    match letters.next() {
                        None => return Err(bad("unclosed quote")),
                        Some(end) if end == letter => break,
                        Some('\\') if letter == '"' => match letters.next() {
                            Some('n') => text.push('\n'),
                            Some('t') => text.push('\t'),
                            Some(other) => text.push(other),
                            None => return Err(bad("unclosed quote")),
                        },
                        Some(other) => text.push(other),
                    }
                }
                Term::Literal(Value::String(text))
            }
            _ => {
                let mut word = String::new();
                while let Some(&next) = letters.peek() {
                    if next.is_whitespace() || "()|\"`".contains(next) {
                        break;
                    }
                    word.push(next);
                    letters.next();
                }
                self::word(&word).ok_or_else(|| bad(&format!("unexpected {word:?}")))?
            }
        };
        if let Some(call) = pipe.last_mut() {
            call.push(term);
        }
    }
    if pipe.iter().any(Vec::is_empty) {
        return Err(bad("missing value"));
    }
    Ok(pipe)
}

fn word(word: &str) -> Option<Term> {
    if let Some(path) = word
        .strip_prefix('$')
        .or(Some(word))
        .filter(|p| p.starts_with('.') || word == "$")
    {
        let names: Vec<String> = path
            .split('.')
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect();
        return Some(Term::Path {
            from_root: word.starts_with('$'),
            names,
        });
    }
    match word {
        "true" => return Some(Term::Literal(true.into())),
        "false" => return Some(Term::Literal(false.into())),
        _ => {}
    }
    if let Ok(number) = word.parse::<i64>() {
        return Some(Term::Literal(number.into()));
    }
    let is_name = word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    is_name.then(|| Term::Name(word.to_owned()))
}

struct Scope<'a> {
    root: &'a Value,
    missing: Missing,
}

impl Scope<'_> {
    fn run(&self, parts: &[Part], dot: &Value, out: &mut String) -> Result<(), TemplateError> {
        for part in parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Print(pipe) => out.push_str(&show(&self.pipe(pipe, dot)?)),
                Part::If(pipe, then, otherwise) => {
                    let branch = if truth(&self.pipe(pipe, dot)?) {
                        then
                    } else {
                        otherwise
                    };
                    self.run(branch, dot, out)?;
                }
                Part::With(pipe, then, otherwise) => {
                    let value = self.pipe(pipe, dot)?;
                    match truth(&value) {
                        true => self.run(then, &value, out)?,
                        false => self.run(otherwise, dot, out)?,
                    }
                }
                Part::Range(pipe, then, otherwise) => {
                    let items: Vec<Value> = match self.pipe(pipe, dot)? {
                        Value::Array(items) => items,
                        Value::Object(map) => map.into_iter().map(|(_, value)| value).collect(),
                        _ => Vec::new(),
                    };
                    if items.is_empty() {
                        self.run(otherwise, dot, out)?;
                    }
                    for item in &items {
                        self.run(then, item, out)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn pipe(&self, pipe: &Pipe, dot: &Value) -> Result<Value, TemplateError> {
        let mut carried: Option<Value> = None;
        for call in pipe {
            carried = Some(self.call(call, dot, carried)?);
        }
        Ok(carried.unwrap_or(Value::Null))
    }

    fn call(
        &self,
        call: &[Term],
        dot: &Value,
        carried: Option<Value>,
    ) -> Result<Value, TemplateError> {
        let [first, rest @ ..] = call else {
            return Ok(Value::Null);
        };
        let Term::Name(function) = first else {
            if !rest.is_empty() || carried.is_some() {
                return Err(TemplateError::Call(
                    "only functions take arguments".to_owned(),
                ));
            }
            return self.term(first, dot);
        };
        let mut arguments = rest
            .iter()
            .map(|term| self.term(term, dot))
            .collect::<Result<Vec<_>, _>>()?;
        arguments.extend(carried);
        apply(function, &arguments)
    }

    fn term(&self, term: &Term, dot: &Value) -> Result<Value, TemplateError> {
        match term {
            Term::Literal(value) => Ok(value.clone()),
            Term::Group(pipe) => self.pipe(pipe, dot),
            Term::Name(name) => apply(name, &[]),
            Term::Path { from_root, names } => {
                let mut value = if *from_root { self.root } else { dot };
                for name in names {
                    value = match (value.get(name), self.missing) {
                        (Some(value), _) => value,
                        (None, Missing::NoValue) => return Ok(Value::Null),
                        (None, Missing::Refused) => {
                            let known = value.as_object().map_or_else(
                                || "none".to_owned(),
                                |map| {
                                    map.keys()
                                        .map(|k| format!(".{k}"))
                                        .collect::<Vec<_>>()
                                        .join(" ")
                                },
                            );
                            return Err(TemplateError::NoField {
                                field: format!(".{name}"),
                                known,
                            });
                        }
                    };
                }
                Ok(value.clone())
            }
        }
    }
}

fn apply(function: &str, arguments: &[Value]) -> Result<Value, TemplateError> {
    let text = |at: usize| arguments.get(at).map(show).unwrap_or_default();
    let last = || arguments.last().cloned().unwrap_or(Value::Null);
    let wants = |count: usize| match arguments.len() >= count {
        true => Ok(()),
        false => Err(TemplateError::Call(format!(
            "{function} wants {count} arguments"
        ))),
    };
    Ok(match function {
        "json" => Value::String(last().to_string()),
        "lower" => Value::String(show(&last()).to_lowercase()),
        "upper" => Value::String(show(&last()).to_uppercase()),
        "title" => Value::String(crate::human::capital(&show(&last()))),
        "print" | "println" => {
            let mut joined = arguments.iter().map(show).collect::<Vec<_>>().join(" ");
            if function == "println" {
                joined.push('\n');
            }
            Value::String(joined)
        }
        "printf" => {
            wants(1)?;
            Value::String(printf(&text(0), &arguments[1..]))
        }
        "len" => match last() {
            Value::Array(items) => items.len().into(),
            Value::Object(map) => map.len().into(),
            Value::String(text) => text.len().into(),
            _ => {
                return Err(TemplateError::Call(
                    "len of something without a length".to_owned(),
                ));
            }
        },
        "join" => {
            wants(2)?;
            let (list, separator) = match &arguments[0] {
                Value::Array(list) => (list.clone(), text(1)),
                _ => {
                    return Err(TemplateError::Call(
                        "join wants a list and a separator".to_owned(),
                    ));
                }
            };
            Value::String(list.iter().map(show).collect::<Vec<_>>().join(&separator))
        }
        "split" => {
            wants(2)?;
            text(0)
                .split(&text(1))
                .map(str::to_owned)
                .collect::<Vec<_>>()
                .into()
        }
        "index" => {
            wants(2)?;
            let mut value = &arguments[0];
            for key in &arguments[1..] {
                let found = match key.as_u64() {
                    Some(at) => usize::try_from(at).ok().and_then(|at| value.get(at)),
                    None => value.get(show(key)),
                };
                match found {
                    Some(found) => value = found,
                    None if value.is_array() => {
                        return Err(TemplateError::Call(format!("index {key} is out of range")));
                    }
                    None => return Ok(Value::String(String::new())),
                }
            }
            value.clone()
        }
        "eq" => {
            wants(2)?;
            arguments[1..]
                .iter()
                .any(|other| show(other) == text(0))
                .into()
        }
        "ne" => {
            wants(2)?;
            (text(0) != text(1)).into()
        }
        "not" => (!truth(&last())).into(),
        "and" => arguments
            .iter()
            .find(|v| !truth(v))
            .cloned()
            .unwrap_or_else(last),
        "or" => arguments
            .iter()
            .find(|v| truth(v))
            .cloned()
            .unwrap_or_else(last),
        "truncate" => {
            wants(2)?;
            let length = arguments[1].as_u64().unwrap_or(0);
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            Value::String(text(0).chars().take(length).collect())
        }
        other => {
            return Err(TemplateError::Parse(format!(
                "function {other:?} is not defined"
            )));
        }
    })
}

fn printf(format: &str, arguments: &[Value]) -> String {
    let mut out = String::new();
    let mut arguments = arguments.iter();
    let mut letters = format.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            out.push(letter);
            continue;
        }
        match letters.next() {
            Some('%') | None => out.push('%'),
            Some('q') => {
                let value = arguments.next().map(show).unwrap_or_default();
                // Writing to a string cannot fail.
                let _ = write!(out, "{value:?}");
            }
            Some(_) => out.push_str(&arguments.next().map(show).unwrap_or_default()),
        }
    }
    out
}

fn truth(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(is) => *is,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

/// A value as Go prints it.
fn show(value: &Value) -> String {
    match value {
        Value::Null => "<no value>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(" "))
        }
        Value::Object(map) => {
            let pairs: Vec<_> = map
                .iter()
                .map(|(k, v)| format!("{k}:{}", show(v)))
                .collect();
            format!("map[{}]", pairs.join(" "))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn render(template: &str) -> Result<String, TemplateError> {
        let value = json!({
            "Name": "web",
            "ID": "abc",
            "Spec": {"Labels": {"a.b": "c"}, "Replicas": 3, "Ports": [80, 443]},
            "Leader": false,
        });
        Template::parse(template)?.render(&value, Missing::Refused)
    }

    #[test]
    fn what_people_write_works() {
        for (template, text) in [
            ("{{.Name}} {{.ID}}", "web abc"),
            ("{{ .Spec.Replicas }}\\t{{.Name}}", "3\tweb"),
            ("{{json .Spec.Labels}}", r#"{"a.b":"c"}"#),
            ("{{.Spec.Labels | json}}", r#"{"a.b":"c"}"#),
            ("{{.Spec.Ports}} {{len .Spec.Ports}}", "[80 443] 2"),
            ("{{range .Spec.Ports}}<{{.}}>{{end}}", "<80><443>"),
            (
                "{{range .Spec.Ports}}{{$.Name}}:{{.}} {{end}}",
                "web:80 web:443 ",
            ),
            ("{{if .Leader}}yes{{else}}no{{end}}", "no"),
            (
                "{{if .Leader}}a{{else if eq .Name \"web\"}}b{{else}}c{{end}}",
                "b",
            ),
            ("{{with .Spec}}{{.Replicas}}{{end}}", "3"),
            ("{{index .Spec.Labels \"a.b\"}}", "c"),
            ("{{(index .Spec.Ports 1)}}", "443"),
            ("{{join (split .Name \"e\") \"-\"}}", "w-b"),
            ("{{printf \"%s/%q\" .Name .ID}}", "web/\"abc\""),
            ("{{upper .Name}} {{.Name | title}}", "WEB Web"),
            ("a {{- .Name -}} b", "awebb"),
            ("{{not .Leader}}", "true"),
        ] {
            assert_eq!(render(template).as_deref(), Ok(text), "{template}");
        }
    }

    #[test]
    fn what_cannot_work_says_why() {
        for (template, says) in [
            (
                "{{.Nam}}",
                "no field .Nam; there are .Name .ID .Spec .Leader",
            ),
            ("{{.Name", "unclosed {{"),
            ("{{range .Spec.Ports}}", "{{range}} without {{end}}"),
            ("{{end}}", "unexpected {{end}}"),
            ("{{foo .Name}}", "function \"foo\" is not defined"),
            ("{{(.Name}}", "unclosed ("),
            ("{{.Name)}}", "unexpected )"),
            ("{{index .Spec.Ports 5}}", "index 5 is out of range"),
            ("{{}}", "missing value"),
            ("{{.Name | }}", "missing value"),
        ] {
            let text = render(template).unwrap_err().to_string();
            assert!(text.contains(says), "{template}: {text}");
        }
    }

    #[test]
    fn objects_leave_out_what_is_empty() -> Result<(), TemplateError> {
        let template = Template::parse("{{.A.B}}")?;
        assert_eq!(template.render(&json!({}), Missing::NoValue)?, "<no value>");
        Ok(())
    }
}

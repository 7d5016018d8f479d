//! The shape of a stack file, checked: types, unknown keys, versions.
//!
//! Owns the check and its messages. The tables of keys are in `schema/tables`;
//! what values mean together is left to `convert`. Text that stands for a
//! number or a boolean (as interpolation leaves it) is turned into one here.

mod hints;
mod keys;
mod place;
pub use keys::nearest;
pub(crate) mod tables;

use crate::codes::{self, Code};
use crate::diagnostic::Report;
use crate::duration;
use crate::tree::{Node, Value, join};

/// What a value may be.
pub(crate) enum Shape {
    /// Anything.
    Any,
    /// Null.
    Null,
    /// Text.
    Text,
    /// Text that Go's durations are written in.
    Duration,
    /// `true` or `false`.
    Bool,
    /// A whole number.
    Int,
    /// A number.
    Number,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A list without repetitions.
    Set(&'static Shape),
    /// A list.
    List(&'static Shape),
    /// A map with any keys.
    Dict(&'static Shape),
    /// A map whose keys are names that the user chose.
    Names(&'static Shape),
    /// A map with known keys.
    Object(&'static Object),
    /// One of these, told apart by type.
    OneOf(&'static [Shape]),
}

/// A map with known keys.
pub(crate) struct Object {
    /// What it is, for messages: `a service`.
    pub(crate) what: &'static str,
    /// The keys.
    pub(crate) fields: &'static [Field],
    /// Keys that must be there.
    pub(crate) required: &'static [&'static str],
    /// `x-…` keys are allowed.
    pub(crate) extensions: bool,
    /// Other keys are allowed; Docker ignores them in silence, we with a warning.
    pub(crate) open: bool,
}

/// A known key.
pub(crate) struct Field {
    /// The key.
    pub(crate) key: &'static str,
    /// The minor version of format 3 that brought it.
    pub(crate) since: u8,
    /// Its value.
    pub(crate) shape: Shape,
}

/// The newest minor version of format 3.
const NEWEST: u8 = 13;

/// Checks one file and casts its typed texts.
pub(crate) fn check(root: &mut Node, report: &mut Report) {
    if !matches!(root.value, Value::Map(_)) {
        let message = match root.value {
            Value::Null => "the file is empty".to_owned(),
            _ => format!("a stack file is a map of sections, this is {}", root.kind()),
        };
        let help = "begin with `services:`";
        report.error_help(codes::NOT_A_STACK_FILE, Some(root.place), "", message, help);
        return;
    }
    let minor = version(root, report);
    let mut checker = Checker {
        minor,
        report,
        above: Vec::new(),
    };
    checker.object(root, "", &tables::FILE);
}

/// The minor version of the file; the newest when it does not say.
fn version(root: &Node, report: &mut Report) -> u8 {
    let Some(node) = root.get("version") else {
        return NEWEST;
    };
    let place = Some(node.place);
    let Some(text) = node.as_str() else {
        let shown = node.scalar_text().unwrap_or_else(|| "3.13".to_owned());
        let message = format!("the version is {}, not text", node.kind());
        report.error_help(
            codes::WRONG_TYPE,
            place,
            "version",
            message,
            format!("write version: \"{shown}\""),
        );
        return NEWEST;
    };
    let minor = match text {
        "3" | "" => Some(NEWEST),
        _ => text
            .strip_prefix("3.")
            .and_then(|m| m.parse::<u8>().ok())
            .filter(|m| *m <= NEWEST),
    };
    minor.unwrap_or_else(|| {
        let message = format!("version {text:?} is not supported");
        let help = "stack files have version \"3.0\" to \"3.13\"; leave the key out for the newest";
        report.error_help(codes::VERSION, place, "version", message, help);
        NEWEST
    })
}

struct Checker<'r> {
    minor: u8,
    report: &'r mut Report,
    /// The sections around the one that is checked, and itself.
    above: Vec<&'static Object>,
}

impl Checker<'_> {
    fn value(&mut self, node: &mut Node, path: &str, shape: &Shape) {
        match shape {
            Shape::Any => {}
            Shape::Null => self.expect(node, path, matches!(node.value, Value::Null), shape),
            Shape::Text => self.expect(node, path, matches!(node.value, Value::Str(_)), shape),
            Shape::Bool => {
                cast_bool(node);
                self.expect(node, path, matches!(node.value, Value::Bool(_)), shape);
            }
            Shape::Int => {
                cast_int(node);
                self.expect(node, path, matches!(node.value, Value::Int(_)), shape);
            }
            Shape::Number => {
                cast_number(node);
                let good = matches!(node.value, Value::Int(_) | Value::Float(_));
                self.expect(node, path, good, shape);
            }
            Shape::Duration => match node.as_str() {
                Some(text) => {
                    if let Err(problem) = duration::parse(text) {
                        let help = match text.parse::<u64>() {
                            Ok(number) => format!("did you mean {number}s?"),
                            Err(_) => "a duration has units: 500ms, 10s, 1m30s, 2h".to_owned(),
                        };
                        self.report.error_help(
                            codes::DURATION,
                            Some(node.place),
                            path,
                            problem,
                            help,
                        );
                    }
                }
                None => self.expect(node, path, false, shape),
            },
            Shape::Choice(words) => match node.as_str() {
                Some(text) if words.contains(&text) => {}
                Some(text) => {
                    let message = format!("{text:?} is not one of {}", words.join(", "));
                    let help = keys::nearest(text, words.iter().copied())
                        .map(|w| format!("did you mean {w:?}?"));
                    self.fail(codes::WORD, node, path, message, help);
                }
                None => self.expect(node, path, false, shape),
            },
            Shape::Set(item) => {
                self.list(node, path, item, shape);
                self.no_repetition(node, path);
            }
            Shape::List(item) => self.list(node, path, item, shape),
            Shape::Dict(value) => self.dict(node, path, value, shape),
            Shape::Names(value) => {
                self.names(node, path);
                self.dict(node, path, value, shape);
            }
            Shape::Object(object) => {
                if matches!(node.value, Value::Map(_)) {
                    self.object(node, path, object);
                } else {
                    self.expect(node, path, false, shape);
                }
            }
            Shape::OneOf(shapes) => match shapes.iter().find(|s| fits(s, node)) {
                Some(shape) => self.value(node, path, shape),
                None => self.expect(node, path, false, shape),
            },
        }
    }

    fn fail(
        &mut self,
        code: &'static Code,
        node: &Node,
        path: &str,
        message: String,
        help: Option<String>,
    ) {
        match help {
            Some(help) => self
                .report
                .error_help(code, Some(node.place), path, message, help),
            None => self.report.error(code, Some(node.place), path, message),
        }
    }

    fn expect(&mut self, node: &Node, path: &str, good: bool, shape: &Shape) {
        if good {
            return;
        }
        let found = match node.scalar_text() {
            Some(text) if text.chars().count() <= 40 => format!("{} ({text})", node.kind()),
            _ => node.kind().to_owned(),
        };
        let message = format!("expected {}, found {found}", wanted(shape));
        self.fail(
            hints::code(node, shape),
            node,
            path,
            message,
            hints::of(node, shape),
        );
    }

    fn list(&mut self, node: &mut Node, path: &str, item: &Shape, shape: &Shape) {
        match &mut node.value {
            Value::List(items) => {
                for (index, node) in items.iter_mut().enumerate() {
                    self.value(node, &format!("{path}[{index}]"), item);
                }
            }
            _ => self.expect(node, path, false, shape),
        }
    }

    fn no_repetition(&mut self, node: &Node, path: &str) {
        let mut seen = std::collections::BTreeSet::new();
        for (index, item) in node.as_list().unwrap_or_default().iter().enumerate() {
            if let Some(text) = item.scalar_text()
                && !seen.insert(text.clone())
            {
                let path = format!("{path}[{index}]");
                let message = format!("{text:?} is in the list twice");
                let help = "remove one of them";
                self.report.error_help(
                    codes::TWICE_IN_LIST,
                    Some(item.place),
                    &path,
                    message,
                    help,
                );
            }
        }
    }

    fn dict(&mut self, node: &mut Node, path: &str, value: &Shape, shape: &Shape) {
        match &mut node.value {
            Value::Map(entries) => {
                for entry in entries {
                    self.value(&mut entry.value, &join(path, &entry.key), value);
                }
            }
            _ => self.expect(node, path, false, shape),
        }
    }

    fn names(&mut self, node: &Node, path: &str) {
        for entry in node.as_map().unwrap_or_default() {
            let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
            if entry.key.is_empty() || !entry.key.chars().all(good) {
                let message = format!("{:?} is not a name", entry.key);
                let help = "a name has letters, digits, `.`, `_` and `-`";
                let path = join(path, &entry.key);
                self.report.error_help(
                    codes::NOT_A_NAME,
                    Some(entry.key_place),
                    &path,
                    message,
                    help,
                );
            }
        }
    }

    fn object(&mut self, node: &mut Node, path: &str, object: &'static Object) {
        let place = node.place;
        let Value::Map(entries) = &mut node.value else {
            return;
        };
        for key in object.required {
            if !entries.iter().any(|e| e.key == *key) {
                let message = format!("{} needs the key `{key}`", object.what);
                self.report
                    .error(codes::MISSING_KEY, Some(place), path, message);
            }
        }
        self.above.push(object);
        for entry in entries {
            let section = path;
            let path = join(path, &entry.key);
            let place = Some(entry.key_place);
            match object.fields.iter().find(|f| f.key == entry.key) {
                Some(field) if field.since > self.minor => {
                    let message = format!(
                        "`{}` came with version 3.{}, and the file says 3.{}",
                        field.key, field.since, self.minor
                    );
                    let help = "write version: \"3.13\", or leave the version out";
                    self.report
                        .error_help(codes::KEY_TOO_NEW, place, &path, message, help);
                }
                Some(field) => self.value(&mut entry.value, &path, &field.shape),
                None if object.extensions && entry.key.starts_with("x-") => {
                    if let Some(ours) = keys::meant(object, &entry.key) {
                        let message =
                            format!("`{}` is a key of your own; `{ours}` is ours", entry.key);
                        self.report.warn(codes::NEARLY_OURS, place, &path, message);
                    }
                }
                None if object.open => {
                    let message =
                        format!("{} has no key `{}`; it is ignored", object.what, entry.key);
                    self.report.warn(codes::IGNORED_KEY, place, &path, message);
                }
                None => {
                    let (code, message, help) = keys::unknown(&self.above, section, entry);
                    match help {
                        Some(help) => self.report.error_help(code, place, &path, message, help),
                        None => self.report.error(code, place, &path, message),
                    }
                }
            }
        }
        self.above.pop();
    }
}

/// Whether a value has the type that a shape is about. Says nothing of content.
fn fits(shape: &Shape, node: &Node) -> bool {
    match shape {
        Shape::Any => true,
        Shape::Null => matches!(node.value, Value::Null),
        Shape::Text | Shape::Duration | Shape::Choice(_) => matches!(node.value, Value::Str(_)),
        Shape::Bool => {
            matches!(node.value, Value::Bool(_)) || node.as_str().and_then(bool_word).is_some()
        }
        Shape::Int => {
            matches!(node.value, Value::Int(_)) || node.as_str().and_then(int_word).is_some()
        }
        Shape::Number => matches!(node.value, Value::Int(_) | Value::Float(_)),
        Shape::Set(_) | Shape::List(_) => matches!(node.value, Value::List(_)),
        Shape::Dict(_) | Shape::Names(_) | Shape::Object(_) => {
            matches!(node.value, Value::Map(_))
        }
        Shape::OneOf(shapes) => shapes.iter().any(|s| fits(s, node)),
    }
}

fn wanted(shape: &Shape) -> String {
    match shape {
        Shape::Any => "anything".to_owned(),
        Shape::Null => "nothing".to_owned(),
        Shape::Text => "text".to_owned(),
        Shape::Duration => "a duration such as 10s".to_owned(),
        Shape::Bool => "true or false".to_owned(),
        Shape::Int => "a whole number".to_owned(),
        Shape::Number => "a number".to_owned(),
        Shape::Choice(words) => words.join(" or "),
        Shape::Set(_) | Shape::List(_) => "a list".to_owned(),
        Shape::Dict(_) | Shape::Names(_) | Shape::Object(_) => "a map".to_owned(),
        Shape::OneOf(shapes) => {
            let all: Vec<_> = shapes.iter().map(wanted).collect();
            match all.split_last() {
                Some((last, [])) => last.clone(),
                Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
                None => String::new(),
            }
        }
    }
}

fn bool_word(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "y" | "yes" | "true" | "on" => Some(true),
        "n" | "no" | "false" | "off" => Some(false),
        _ => None,
    }
}

/// A number in text. A leading zero means octal as it does without quotes:
/// `mode: "0440"` is not four hundred and forty.
fn int_word(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.len() > 1 && digits.starts_with('0') {
        return match crate::scalar::resolve(text) {
            crate::scalar::Scalar::Int(value) => Some(value),
            _ => None,
        };
    }
    text.parse().ok()
}

fn cast_bool(node: &mut Node) {
    if let Some(value) = node.as_str().and_then(bool_word) {
        node.value = Value::Bool(value);
    }
}

fn cast_int(node: &mut Node) {
    if let Some(value) = node.as_str().and_then(int_word) {
        node.value = Value::Int(value);
    }
}

fn cast_number(node: &mut Node) {
    cast_int(node);
    if let Some(value) = node.as_str().and_then(|t| t.parse().ok()) {
        node.value = Value::Float(value);
    }
}

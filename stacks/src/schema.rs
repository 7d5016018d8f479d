//! The shape of a stack file, checked: types, unknown keys, keys without effect.
//!
//! Owns the check and its messages. The tables of keys are in `schema/tables`;
//! what values mean together is left to `convert`. Text that stands for a
//! number or a boolean (as interpolation leaves it) is turned into one here.

mod hints;
mod keys;
mod place;
mod version;
pub use keys::nearest;
pub(crate) mod tables;

use crate::codes::{self, Code};
use crate::diagnostic::Report;
use crate::duration;
use crate::tree::{Entry, Node, Value, join};
use tables::{Effect, Field, Object, Shape, Since};

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
    let minor = version::minor(root, report);
    let mut checker = Checker {
        minor,
        report,
        above: Vec::new(),
        aside: false,
    };
    checker.object(root, "", &tables::FILE);
}

struct Checker<'r> {
    /// The version of format 3 that the file says it is in.
    minor: Option<u8>,
    report: &'r mut Report,
    /// The sections around the one that is checked, and itself.
    above: Vec<&'static Object>,
    /// Inside of a key without effect: there is no more to say about effects.
    aside: bool,
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
                    // `healthy` is less than half of `service_healthy`.
                    let end = words.iter().find(|w| !text.is_empty() && w.ends_with(text));
                    let meant = keys::nearest(text, words.iter().copied()).or(end.copied());
                    let help = meant.map(|w| format!("did you mean {w:?}?"));
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
                Some(field) => self.known(field, entry, &path),
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

    /// A key that there is.
    fn known(&mut self, field: &'static Field, entry: &mut Entry, path: &str) {
        let place = Some(entry.key_place);
        if let Some(said) = self.minor
            && let Since::V3(came) = field.since
            && came > said
        {
            let message = format!(
                "`{}` came with version 3.{came}, and the file says 3.{said}",
                field.key
            );
            let help = "leave the version out; the Docker CLI refuses the file with this one";
            self.report
                .warn_help(codes::KEY_TOO_NEW, place, path, message, help);
        }
        if let Effect::Refused(instead) = field.effect {
            if says_something(&entry.value) {
                let code = match field.since {
                    Since::Old => codes::FOREIGN_KEY,
                    _ => codes::NOT_SUPPORTED,
                };
                let what = self.above.last().map_or("a stack file", |o| o.what);
                let message = format!("`{}` is not supported in {what}", field.key);
                self.report.error_help(code, place, path, message, instead);
            }
            return;
        }
        let outside = std::mem::replace(&mut self.aside, true);
        self.aside = outside || matches!(field.effect, Effect::Nothing { .. });
        self.value(&mut entry.value, path, &field.shape);
        self.aside = outside;
        if let Effect::Nothing { instead, same } = field.effect
            && !outside
            && says_something(&entry.value)
            && !entry
                .value
                .scalar_text()
                .is_some_and(|text| same.contains(&&*text))
        {
            let message = "this key is not supported and has no effect";
            self.report
                .warn_help(codes::KEY_WITHOUT_EFFECT, place, path, message, instead);
        }
    }
}

fn says_something(node: &Node) -> bool {
    match &node.value {
        Value::Null => false,
        Value::Str(text) => !text.is_empty(),
        Value::List(items) => !items.is_empty(),
        Value::Map(entries) => !entries.is_empty(),
        Value::Bool(_) | Value::Int(_) | Value::Float(_) => true,
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

//! Variables in values: `$V`, `${V}`, `${V:-x}`, `${V-x}`, `${V:?e}`, `${V?e}`,
//! `${V:+x}`, `${V+x}`, `$$`, nested.
//!
//! The rules are those of the Compose Specification; where the Docker CLI
//! differs (it takes `$V-x` for a default and cuts `${V:?a-b}` at the dash) it
//! is held to be wrong. Keys are never interpolated.

use crate::codes::{self, Code};
use crate::diagnostic::{Place, Report};
use crate::room::{Left, MOST_TEXT, Room};
use crate::tree::{Node, Value, join};

/// Looks a variable up in the environment.
pub(crate) type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Deepest nesting of `${…}` in defaults.
const MOST_DEPTH: usize = 20;
/// Most names of unset variables that are told of one text.
const MOST_UNSET: usize = 100;

/// Why a text cannot be interpolated.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Invalid {
    pub(crate) code: &'static Code,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
    /// The file demands a variable; otherwise the text has no valid form.
    pub(crate) required: bool,
}

fn invalid(message: impl Into<String>, help: &str) -> Invalid {
    Invalid {
        code: codes::NOT_A_VARIABLE,
        message: message.into(),
        help: Some(help.to_owned()),
        required: false,
    }
}

/// Replaces the variables of every text of a file.
pub(crate) fn tree(root: &mut Node, env: Env<'_>, room: &Room, report: &mut Report) {
    below(root, "", env, &room.replaced, report);
}

fn below(node: &mut Node, path: &str, env: Env<'_>, left: &Left, report: &mut Report) {
    let place = node.place;
    match &mut node.value {
        Value::Str(content) if content.contains('$') => {
            let mut unset = Vec::new();
            let replaced = text(content, env, &mut unset);
            let replaced = replaced.and_then(|value| match left.take(value.len()) {
                true => Ok(value),
                false => Err(too_much()),
            });
            match replaced {
                Ok(value) => *content = value,
                Err(Invalid {
                    code,
                    message,
                    help,
                    ..
                }) => match help {
                    Some(help) => report.error_help(code, Some(place), path, message, help),
                    None => report.error(code, Some(place), path, message),
                },
            }
            warn_of_unset(&unset, place, path, report);
        }
        Value::List(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                below(item, &format!("{path}[{index}]"), env, left, report);
            }
        }
        Value::Map(entries) => {
            for entry in entries {
                below(&mut entry.value, &join(path, &entry.key), env, left, report);
            }
        }
        _ => {}
    }
}

fn bounded(bytes: usize) -> Result<(), Invalid> {
    match bytes <= MOST_TEXT {
        true => Ok(()),
        false => Err(too_much()),
    }
}

fn too_much() -> Invalid {
    Invalid {
        code: codes::VARIABLES_TOO_LARGE,
        message: too_much_text(),
        help: None,
        required: true,
    }
}

/// What is said when there is no room for what variables make.
pub(crate) fn too_much_text() -> String {
    let most = MOST_TEXT >> 20;
    format!("with its variables replaced, the stack has more than {most} MiB of text")
}

fn warn_of_unset(unset: &[String], place: Place, path: &str, report: &mut Report) {
    for name in unset {
        let (message, help) = self::unset(name);
        report.warn_help(codes::UNSET_VARIABLE, Some(place), path, message, help);
    }
}

/// What is said of a variable that is not set, and what to do.
pub(crate) fn unset(name: &str) -> (String, String) {
    (
        format!("the variable {name} is not set; an empty text stands in its place"),
        format!("set it, or write ${{{name}:-default}}; a plain dollar sign is `$$`"),
    )
}

/// `content` with its variables replaced. Names of variables that are not set
/// and have no default go to `unset`.
pub(crate) fn text(
    content: &str,
    env: Env<'_>,
    unset: &mut Vec<String>,
) -> Result<String, Invalid> {
    expand(content, env, unset, 0)
}

fn expand(
    content: &str,
    env: Env<'_>,
    unset: &mut Vec<String>,
    depth: usize,
) -> Result<String, Invalid> {
    if depth > MOST_DEPTH {
        let message = format!("variables are nested deeper than {MOST_DEPTH} levels");
        return Err(Invalid {
            code: codes::VARIABLES_TOO_LARGE,
            message,
            help: None,
            required: true,
        });
    }
    let mut out = String::with_capacity(content.len());
    let mut rest = content;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some(inside) = rest.strip_prefix('{') {
            let end = closing_brace(inside).ok_or_else(|| {
                invalid(
                    format!("`${{{inside}` has no closing brace"),
                    "close it with `}`, or write `$$` for a plain dollar sign",
                )
            })?;
            out.push_str(&braced(&inside[..end], env, unset, depth)?);
            bounded(out.len())?;
            rest = &inside[end + 1..];
        } else {
            let length = name_length(rest);
            if length == 0 {
                return Err(invalid(
                    format!("`${}` is not a variable", first_of(rest)),
                    "write `$$` for a plain dollar sign",
                ));
            }
            let name = &rest[..length];
            match env(name) {
                Some(value) => out.push_str(&value),
                None => remember(unset, name),
            }
            bounded(out.len())?;
            rest = &rest[length..];
        }
    }
    out.push_str(rest);
    Ok(out)
}

fn remember(unset: &mut Vec<String>, name: &str) {
    if unset.len() < MOST_UNSET {
        unset.push(name.to_owned());
    }
}

fn first_of(rest: &str) -> String {
    rest.chars().take(1).collect()
}

fn name_length(text: &str) -> usize {
    let starts = |c: char| c == '_' || c.is_ascii_alphabetic();
    if !text.starts_with(starts) {
        return 0;
    }
    text.find(|c: char| c != '_' && !c.is_ascii_alphanumeric())
        .unwrap_or(text.len())
}

/// The index of the brace that closes, with `${` inside counted.
fn closing_brace(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut open = 0;
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'$' if bytes.get(at + 1) == Some(&b'$') => at += 1,
            b'$' if bytes.get(at + 1) == Some(&b'{') => {
                open += 1;
                at += 1;
            }
            b'}' if open == 0 => return Some(at),
            b'}' => open -= 1,
            _ => {}
        }
        at += 1;
    }
    None
}

fn braced(
    inside: &str,
    env: Env<'_>,
    unset: &mut Vec<String>,
    depth: usize,
) -> Result<String, Invalid> {
    let length = name_length(inside);
    let (name, rest) = inside.split_at(length);
    if name.is_empty() {
        return Err(invalid(
            format!("`${{{inside}}}` does not begin with the name of a variable"),
            "a name has letters, digits and `_`, and does not begin with a digit",
        ));
    }
    let value = env(name);
    let (empty_counts, operator) = match rest.strip_prefix(':') {
        Some(operator) => (true, operator),
        None => (false, rest),
    };
    let present = value
        .as_ref()
        .is_some_and(|v| !empty_counts || !v.is_empty());
    let mut operators = operator.chars();
    match operators.next() {
        None if !empty_counts => Ok(value.unwrap_or_else(|| {
            remember(unset, name);
            String::new()
        })),
        Some('-') if present => Ok(value.unwrap_or_default()),
        Some('-') => default(operators.as_str(), env, unset, depth + 1),
        Some('+') if present => expand(operators.as_str(), env, unset, depth + 1),
        Some('+') => Ok(String::new()),
        Some('?') if present => Ok(value.unwrap_or_default()),
        Some('?') => {
            let reason = expand(operators.as_str(), env, unset, depth + 1)?;
            let state = if value.is_some() { "empty" } else { "not set" };
            let message = if reason.is_empty() {
                format!("the variable {name} is required and {state}")
            } else {
                format!("the variable {name} is required and {state}: {reason}")
            };
            Err(Invalid {
                code: codes::REQUIRED_VARIABLE,
                required: true,
                ..invalid(message, &format!("set {name} in the environment"))
            })
        }
        _ => Err(invalid(
            format!("`${{{inside}}}` is not a form of variable"),
            "the forms are ${V}, ${V:-default}, ${V:?error} and ${V:+instead}",
        )),
    }
}

/// A default. One that has no valid form is taken as it stands, as the Docker
/// CLI takes every default: `${HASH:-$2y$05$abc}` is a password hash.
fn default(
    text: &str,
    env: Env<'_>,
    unset: &mut Vec<String>,
    depth: usize,
) -> Result<String, Invalid> {
    let before = unset.len();
    match expand(text, env, unset, depth) {
        Err(error) if !error.required => {
            unset.truncate(before);
            Ok(text.to_owned())
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "A" => Some("a".to_owned()),
            "E" => Some(String::new()),
            "_b1" => Some("b".to_owned()),
            _ => None,
        }
    }

    fn go(content: &str) -> Result<String, String> {
        text(content, &env, &mut Vec::new()).map_err(|e| e.message)
    }

    #[test]
    fn every_form_gives_what_the_compose_specification_says() {
        let cases = [
            ("$A ${A} $_b1", "a a b"),
            ("$A-web:1", "a-web:1"),
            ("$$A $${A}", "$A ${A}"),
            ("${U:-x} ${E:-x} ${A:-x}", "x x a"),
            ("${U-x} ${E-x} ${A-x}", "x  a"),
            ("${U:+x} ${E:+x} ${A:+x}", "  x"),
            ("${U+x} ${E+x} ${A+x}", " x x"),
            ("${A:?must-be-set} ${E?e}", "a "),
            ("${U:-${A}-${U:-${_b1}}}", "a-b"),
            ("${U:-a}b}", "ab}"),
            ("${U:-{x}}", "{x}"),
            ("${U:-http://h:1/?a=b}", "http://h:1/?a=b"),
            ("${U:-$2y$05$oZc}", "$2y$05$oZc"),
            ("${U:-$$2y$$05}", "$2y$05"),
            ("${U:-${X:?no}}", "error"),
            ("a$", "error"),
        ];
        for (content, expected) in cases {
            let got = go(content).unwrap_or_else(|_| "error".to_owned());
            assert_eq!(got, expected, "{content}");
        }
    }

    #[test]
    fn a_required_variable_says_its_own_reason() {
        assert_eq!(
            go("${U:?must-be-set}"),
            Err("the variable U is required and not set: must-be-set".to_owned())
        );
        assert_eq!(
            go("${E:?}"),
            Err("the variable E is required and empty".to_owned())
        );
    }

    #[test]
    fn what_is_no_variable_is_refused() {
        for content in [
            "$", "$1", "${", "${}", "${1}", "${A", "${A!x}", "${A:}", "$-",
        ] {
            assert!(go(content).is_err(), "{content}");
        }
    }

    #[test]
    fn what_variables_make_is_bounded() {
        let long = |_: &str| Some("x".repeat(64 << 10));
        let often = "$A".repeat(1000);
        let refused = text(&often, &long, &mut Vec::new());
        assert!(refused.is_err_and(|e| e.message.contains("16 MiB")));

        let place = Place::default();
        let items = vec![Node::str(place, "$A$A$A$A"); 100];
        let mut list = Node::new(place, Value::List(items));
        let mut report = Report::new(vec!["f".to_owned()]);
        tree(&mut list, &long, &Room::default(), &mut report);
        assert!(report.failed());
    }

    #[test]
    fn only_unset_variables_without_default_are_named() {
        let mut unset = Vec::new();
        let got = text("$X ${Y} ${Z:-z} ${E}", &env, &mut unset);
        assert_eq!(got.as_deref(), Ok("  z "));
        assert_eq!(unset, ["X", "Y"]);
    }
}

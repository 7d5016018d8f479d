//! A command in one text, split into words as a shell would, without a shell.

use crate::codes;
use crate::diagnostic::Report;
use crate::tree::{Node, Value};

/// Turns a text into a list of words; a list stays as it is.
pub(super) fn split(node: &mut Node, path: &str, report: &mut Report) {
    let Some(text) = node.as_str() else {
        return;
    };
    match words(text) {
        Ok(words) => {
            let place = node.place;
            let items = words.into_iter().map(|w| Node::str(place, w));
            node.value = Value::List(items.collect());
        }
        Err(message) => {
            let help = "close the quote, or write the command as a list";
            report.error_help(codes::COMMAND, Some(node.place), path, message, help);
        }
    }
}

/// Words: quotes join, a backslash takes the next character as it is (also in
/// double quotes), `#` at the start of a word begins a comment.
fn words(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\r' | '\n' => words.extend(word.take()),
            '#' if word.is_none() => {
                chars.by_ref().find(|c| *c == '\n');
            }
            '\\' => {
                let next = chars.next().ok_or("the command ends in a backslash")?;
                word.get_or_insert_default().push(next);
            }
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        Some('\'') => break,
                        Some(c) => word.push(c),
                        None => return Err("a single quote is not closed".to_owned()),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                let open = || "a double quote is not closed".to_owned();
                loop {
                    match chars.next().ok_or_else(open)? {
                        '"' => break,
                        '\\' => word.push(chars.next().ok_or_else(open)?),
                        c => word.push(c),
                    }
                }
            }
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_split_like_a_shell_line() {
        let cases: &[(&str, &[&str])] = &[
            ("a b  c", &["a", "b", "c"]),
            ("sh -c 'echo \"x y\"'", &["sh", "-c", "echo \"x y\""]),
            ("a \"b c\"d e\\ f", &["a", "b cd", "e f"]),
            ("a \"\" b", &["a", "", "b"]),
            ("a # comment\n b", &["a", "b"]),
            ("a#b", &["a#b"]),
            ("\"a\\\"b\"", &["a\"b"]),
            ("a\n  b\n", &["a", "b"]),
            ("", &[]),
        ];
        for (text, expected) in cases {
            let expected = expected.iter().map(|s| (*s).to_owned()).collect();
            assert_eq!(words(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn an_open_quote_is_refused() {
        for text in ["'a", "\"a", "a\\", "\"a\\"] {
            assert!(words(text).is_err(), "{text}");
        }
    }
}

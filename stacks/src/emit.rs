//! YAML as the Docker CLI prints it, byte for byte: block style, indented by
//! two, quoted only where needed.
//!
//! Owns the printing. The general YAML writer of serde quotes by other rules,
//! and a normal form is there to be compared.

use crate::scalar::{self, Scalar};
use serde_yaml::Value;

/// Longest key that is written before a colon on the same line.
const LONGEST_SIMPLE_KEY: usize = 128;

/// The text of a document.
pub(crate) fn document(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Mapping(map) if !map.is_empty() => mapping(&mut out, map, 0),
        Value::Sequence(items) if !items.is_empty() => sequence(&mut out, items, 0),
        other => {
            leaf(&mut out, other, 0);
            out.push('\n');
        }
    }
    out
}

fn indent(out: &mut String, depth: usize) {
    out.extend(std::iter::repeat_n(' ', depth * 2));
}

/// The lines of a map. The first is where the writer stands already.
fn mapping(out: &mut String, map: &serde_yaml::Mapping, depth: usize) {
    for (index, (key, value)) in map.iter().enumerate() {
        if index > 0 {
            indent(out, depth);
        }
        let mut text = String::new();
        scalar(&mut text, key, depth, true);
        if text.len() > LONGEST_SIMPLE_KEY {
            out.push_str("? ");
            out.push_str(&text);
            out.push('\n');
            indent(out, depth);
        } else {
            out.push_str(&text);
        }
        out.push(':');
        below(out, value, depth);
    }
}

/// A value after its key: on the same line, or on the next ones.
fn below(out: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Mapping(map) if !map.is_empty() => {
            out.push('\n');
            indent(out, depth + 1);
            mapping(out, map, depth + 1);
        }
        Value::Sequence(items) if !items.is_empty() => {
            out.push('\n');
            indent(out, depth + 1);
            sequence(out, items, depth + 1);
        }
        other => {
            out.push(' ');
            leaf(out, other, depth);
            out.push('\n');
        }
    }
}

fn sequence(out: &mut String, items: &[Value], depth: usize) {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            indent(out, depth);
        }
        out.push_str("- ");
        match item {
            Value::Mapping(map) if !map.is_empty() => mapping(out, map, depth + 1),
            Value::Sequence(items) if !items.is_empty() => sequence(out, items, depth + 1),
            other => {
                leaf(out, other, depth);
                out.push('\n');
            }
        }
    }
}

fn leaf(out: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Mapping(_) => out.push_str("{}"),
        Value::Sequence(_) => out.push_str("[]"),
        Value::Tagged(tagged) => leaf(out, &tagged.value, depth),
        other => scalar(out, other, depth, false),
    }
}

fn scalar(out: &mut String, value: &Value, depth: usize, is_key: bool) {
    match value {
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Number(number) => match number.as_i64() {
            Some(value) => out.push_str(&value.to_string()),
            None => out.push_str(&float(number.as_f64().unwrap_or_default())),
        },
        Value::String(text) => string(out, text, depth, is_key),
        // Lists and maps never get here as anything but keys, which are text.
        _ => out.push_str("null"),
    }
}

/// The shortest form; with an exponent from a million on.
fn float(value: f64) -> String {
    if value.is_nan() {
        return ".nan".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { ".inf" } else { "-.inf" }.to_owned();
    }
    let digits = format!("{value:e}");
    let (mantissa, exponent) = digits.split_once('e').unwrap_or((&digits, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if value != 0.0 && !(-4..6).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{mantissa}e{sign}{:02}", exponent.abs());
    }
    format!("{value}")
}

fn string(out: &mut String, text: &str, depth: usize, is_key: bool) {
    let traits = Traits::of(text);
    if text.contains('\n') {
        if traits.block && !is_key {
            literal(out, text, depth);
        } else {
            double_quoted(out, text);
        }
    } else if means_something_else(text) {
        double_quoted(out, text);
    } else if traits.plain {
        out.push_str(text);
    } else if traits.single {
        out.push('\'');
        out.push_str(&text.replace('\'', "''"));
        out.push('\'');
    } else {
        double_quoted(out, text);
    }
}

/// Text that would not be read back as text if it were left bare.
fn means_something_else(text: &str) -> bool {
    scalar::resolve(text) != Scalar::Str || old_bool(text) || sexagesimal(text) || timestamp(text)
}

/// Booleans of YAML 1.1.
fn old_bool(text: &str) -> bool {
    const WORDS: &[&str] = &[
        "y", "Y", "yes", "Yes", "YES", "on", "On", "ON", "n", "N", "no", "No", "NO", "off", "Off",
        "OFF",
    ];
    WORDS.contains(&text)
}

/// Numbers to the base of 60, of YAML 1.1: `1:30:00`, and alas `22:22`.
fn sexagesimal(text: &str) -> bool {
    let body = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (whole, fraction) = match body.split_once('.') {
        Some((whole, fraction)) => (whole, fraction),
        None => (body, ""),
    };
    let mut parts = whole.split(':');
    let digits = |t: &str| t.bytes().all(|b| b.is_ascii_digit() || b == b'_');
    let first = parts.next().unwrap_or_default();
    let rest: Vec<&str> = parts.collect();
    first.starts_with(|c: char| c.is_ascii_digit())
        && digits(first)
        && digits(fraction)
        && !rest.is_empty()
        && rest.iter().all(|p| match p.as_bytes() {
            [one] => one.is_ascii_digit(),
            [ten, one] => (b'0'..=b'5').contains(ten) && one.is_ascii_digit(),
            _ => false,
        })
}

/// Dates, with or without a time.
fn timestamp(text: &str) -> bool {
    let (date, time) = match text.find(['T', 't', ' ']) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    let number = |text: &str, width: std::ops::RangeInclusive<usize>, most: u32| {
        width.contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_digit())
            && text.parse::<u32>().is_ok_and(|n| n <= most)
    };
    let mut parts = date.split('-');
    let (Some(year), Some(month), Some(day), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    if !number(year, 4..=4, 9999) || !number(month, 1..=2, 12) || !number(day, 1..=2, 31) {
        return false;
    }
    let Some(time) = time else {
        return true;
    };
    let clock = time.find(['Z', '+', '-']).map_or(time, |at| &time[..at]);
    let clock = clock.split_once('.').map_or(clock, |(clock, _)| clock);
    let mut parts = clock.split(':');
    let (Some(hour), Some(minute), Some(second), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    number(hour, 1..=2, 23) && number(minute, 1..=2, 59) && number(second, 1..=2, 59)
}

/// Which styles can carry a text.
struct Traits {
    plain: bool,
    single: bool,
    block: bool,
}

impl Traits {
    fn of(text: &str) -> Traits {
        let chars: Vec<char> = text.chars().collect();
        let mut traits = Traits {
            plain: !(text.starts_with("---") || text.starts_with("...")),
            single: true,
            block: true,
        };
        let (mut after_space, mut after_break, mut after_blank) = (false, false, true);
        for (at, &c) in chars.iter().enumerate() {
            let blank_follows = chars
                .get(at + 1)
                .is_none_or(|n| *n == ' ' || *n == '\t' || is_break(*n));
            let indicator = if at == 0 {
                match c {
                    '#' | ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\''
                    | '"' | '%' | '@' | '`' => true,
                    '?' | ':' | '-' => blank_follows,
                    _ => false,
                }
            } else {
                (c == ':' && blank_follows) || (c == '#' && after_blank)
            };
            traits.plain &= !indicator;
            if c == '\t' {
                traits.plain = false;
                traits.single = false;
            } else if !is_printable(c) && !is_break(c) {
                traits.plain = false;
                traits.single = false;
                traits.block = false;
            }
            let ends = at == 0 || at + 1 == chars.len();
            if c == ' ' {
                traits.plain &= !ends;
                traits.block &= at + 1 != chars.len();
                if after_break {
                    traits.single = false;
                }
                (after_space, after_break) = (true, false);
            } else if is_break(c) {
                traits.plain = false;
                if c != '\n' {
                    traits.single = false;
                    traits.block = false;
                }
                if after_space {
                    traits.single = false;
                    traits.block = false;
                }
                (after_space, after_break) = (false, true);
            } else {
                (after_space, after_break) = (false, false);
            }
            after_blank = c == ' ' || c == '\t' || is_break(c);
        }
        traits
    }
}

fn is_break(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// What the library writes as it is; it escapes all beyond the first plane.
fn is_printable(c: char) -> bool {
    matches!(c, '\n' | ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}')
        && c != '\u{feff}'
}

/// `|`, with signs for leading blanks and for the end. The Docker CLI loses the
/// first of leading line breaks here; that is not imitated.
fn literal(out: &mut String, text: &str, depth: usize) {
    out.push('|');
    if text.starts_with([' ', '\n']) {
        out.push('2');
    }
    match text.strip_suffix('\n') {
        None => out.push('-'),
        Some(rest) if rest.is_empty() || rest.ends_with('\n') => out.push('+'),
        Some(_) => {}
    }
    let body = text.strip_suffix('\n').unwrap_or(text);
    for line in body.split('\n') {
        out.push('\n');
        if !line.is_empty() {
            indent(out, depth + 1);
            out.push_str(line);
        }
    }
}

fn double_quoted(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\0' => out.push_str("\\0"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            '\u{1b}' => out.push_str("\\e"),
            '\u{85}' => out.push_str("\\N"),
            '\u{2028}' => out.push_str("\\L"),
            '\u{2029}' => out.push_str("\\P"),
            c if is_printable(c) => out.push(c),
            c => match u32::from(c) {
                code @ 0..=0xff => out.push_str(&format!("\\x{code:02X}")),
                code @ 0x100..=0xffff => out.push_str(&format!("\\u{code:04X}")),
                code => out.push_str(&format!("\\U{code:08X}")),
            },
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(text: &str) -> String {
        let mut out = String::new();
        string(&mut out, text, 0, false);
        out
    }

    #[test]
    fn texts_are_quoted_only_where_they_would_be_misread() {
        let cases = [
            ("plain text", "plain text"),
            ("", "\"\""),
            ("yes", "\"yes\""),
            ("80", "\"80\""),
            ("22:22", "\"22:22\""),
            ("8080:80", "8080:80"),
            ("2024-01-02", "\"2024-01-02\""),
            ("1.2.3", "1.2.3"),
            ("a: b", "'a: b'"),
            ("a #b", "'a #b'"),
            ("a#b", "a#b"),
            ("*", "'*'"),
            ("- x", "'- x'"),
            ("-x", "-x"),
            ("it's", "it's"),
            ("'q'", "'''q'''"),
            (" x", "' x'"),
            ("a\tb", "\"a\\tb\""),
            ("a\nb\n", "|\n  a\n  b"),
            ("a\nb", "|-\n  a\n  b"),
            ("a \nb", "\"a \\nb\""),
            ("\u{1f600}", "\"\\U0001F600\""),
            ("é", "é"),
            ("a\r\nb", "\"a\\r\\nb\""),
        ];
        for (text, printed) in cases {
            assert_eq!(print(text), printed, "{text:?}");
        }
    }
}

//! Sizes in bytes and numbers of CPUs.

use crate::codes;
use crate::diagnostic::Report;
use crate::tree::{Node, Value};

const UNITS: &str = "kmgtp";

/// Turns `50M` into a number of bytes.
pub(super) fn bytes(node: &mut Node, path: &str, report: &mut Report) {
    let Some(text) = node.as_str() else {
        return;
    };
    match parse(text) {
        Some(value) => node.value = Value::Int(value),
        None => {
            let message = format!("{text:?} is not a size");
            let help = "a size is a number with a unit of b, k, m, g or t: 512m, 1.5g";
            report.error_help(codes::SIZE, Some(node.place), path, message, help);
        }
    }
}

/// Bytes of `1.5g`, `512MiB`, `100`; units are powers of 1024.
pub(crate) fn parse(text: &str) -> Option<i64> {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = unit.strip_prefix(' ').unwrap_or(unit).to_ascii_lowercase();
    let unit = unit.strip_suffix('b').unwrap_or(&unit);
    let unit = match unit.strip_suffix('i') {
        Some("") => return None,
        Some(rest) => rest,
        None => unit,
    };
    let mut letters = unit.chars();
    let power = match (letters.next(), letters.next()) {
        (None, _) => 0,
        (Some(letter), None) => UNITS.find(letter)? + 1,
        _ => return None,
    };
    if !number.starts_with(|c: char| c.is_ascii_digit()) || number.ends_with('.') {
        return None;
    }
    let value: f64 = number.parse().ok()?;
    let scale = 1024_f64.powi(i32::try_from(power).ok()?);
    let value = value * scale;
    // The largest float below 2^63; the cast cuts the fraction.
    (value < 9_223_372_036_854_774_784.0).then_some(value as i64)
}

/// Billionths of a CPU of `0.5`; at most nine digits after the point.
pub(crate) fn cpus(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |t: &str| t.chars().all(|c| c.is_ascii_digit());
    if whole.is_empty() && fraction.is_empty() || !digits(whole) || !digits(fraction) {
        return None;
    }
    let fraction = fraction.trim_end_matches('0');
    if fraction.len() > 9 {
        return None;
    }
    let whole: u64 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    let nanos: u64 = format!("{fraction:0<9}").parse().ok()?;
    whole.checked_mul(1_000_000_000)?.checked_add(nanos)
}

/// The sizes and places of a cluster volume.
pub(super) fn cluster_spec(node: &mut Node, path: &str, report: &mut Report) {
    if let Some(range) = node.get_mut("capacity_range") {
        for key in ["required_bytes", "limit_bytes"] {
            if let Some(size) = range.get_mut(key) {
                bytes(size, &format!("{path}.capacity_range.{key}"), report);
            }
        }
    }
    for key in ["requisite", "preferred"] {
        let places = node
            .get_mut("accessibility_requirements")
            .and_then(|a| a.get_mut(key));
        if let Some(Value::List(places)) = places.map(|p| &mut p.value) {
            for place in places {
                if let Some(segments) = place.get_mut("segments") {
                    super::pairs(segments, "=", false);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_1024_whatever_their_spelling() {
        let cases = [
            ("50M", Some(50 << 20)),
            ("50mb", Some(50 << 20)),
            ("50MiB", Some(50 << 20)),
            ("1.5g", Some(3 << 29)),
            ("1 k", Some(1024)),
            ("100", Some(100)),
            ("100b", Some(100)),
            ("", None),
            ("M", None),
            ("5x", None),
            ("5 MB x", None),
            ("-1", None),
            ("1.", None),
            ("9999999999g", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text), expected, "{text}");
        }
    }

    #[test]
    fn cpus_are_exact() {
        let cases = [
            ("0.5", Some(500_000_000)),
            ("2", Some(2_000_000_000)),
            (".001", Some(1_000_000)),
            ("0.0000000001", None),
            ("0.5000000000", Some(500_000_000)),
            ("", None),
            (".", None),
            ("-1", None),
            ("1e3", None),
        ];
        for (text, expected) in cases {
            assert_eq!(cpus(text), expected, "{text}");
        }
    }
}

//! The functions that templates may call, and how values print.

use super::TemplateError;
use serde_json::Value;
use std::fmt::Write as _;

/// Calls a function.
pub(super) fn apply(function: &str, arguments: &[Value]) -> Result<Value, TemplateError> {
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

/// Whether a value counts as true.
pub(super) fn truth(value: &Value) -> bool {
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
pub(super) fn show(value: &Value) -> String {
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

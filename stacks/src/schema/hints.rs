//! What to do about a value of the wrong type.

use super::tables::Shape;
use crate::codes::{self, Code};
use crate::tree::{Node, Value};

/// The code of what is wrong with `node`: a number is nearly a duration.
pub(super) fn code(node: &Node, shape: &Shape) -> &'static Code {
    let is_number = matches!(node.value, Value::Int(_) | Value::Float(_));
    if is_number && takes(shape, is_duration) {
        codes::DURATION
    } else {
        codes::WRONG_TYPE
    }
}

/// What was probably meant by `node`, where `shape` is wanted.
pub(super) fn of(node: &Node, shape: &Shape) -> Option<String> {
    let shown = node.scalar_text().unwrap_or_default();
    match &node.value {
        Value::Int(_) | Value::Float(_) if takes(shape, is_duration) => Some(format!(
            "a duration has a unit: did you mean {shown}s, {shown} seconds?"
        )),
        Value::Int(_) | Value::Float(_) | Value::Bool(_) if takes(shape, is_text) => {
            Some(format!("quote it: \"{shown}\""))
        }
        Value::Null if takes(shape, is_map) => {
            Some("is what belongs under it indented less than it should be?".to_owned())
        }
        Value::Str(text) if takes(shape, is_map) => {
            let (key, value) = text.split_once(':')?;
            let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
            let glued = !key.is_empty() && key.chars().all(word) && !value.is_empty();
            glued.then(|| format!("a colon needs a blank after it: `{key}: {value}`"))
        }
        Value::Str(text) if takes(shape, is_list) && text.len() <= 40 => {
            Some(format!("an item of a list begins with a dash: `- {text}`"))
        }
        Value::Map(_) if takes(shape, is_list_of_maps) => {
            Some("an item of a list begins with a dash: `- ` before its first key".to_owned())
        }
        Value::Map(_) if takes(shape, is_text) => {
            Some("it takes one text: write what is under it in one line, in quotes".to_owned())
        }
        Value::List(_) if takes(shape, is_map) => Some(
            "leave the dashes out: a map has `name: value`, or a name and what is under it"
                .to_owned(),
        ),
        _ => None,
    }
}

/// Whether a shape is, or may be, of a kind.
fn takes(shape: &Shape, kind: fn(&Shape) -> bool) -> bool {
    match shape {
        Shape::OneOf(shapes) => shapes.iter().any(|shape| takes(shape, kind)),
        shape => kind(shape),
    }
}

fn is_text(shape: &Shape) -> bool {
    matches!(shape, Shape::Text)
}

fn is_duration(shape: &Shape) -> bool {
    matches!(shape, Shape::Duration)
}

fn is_list(shape: &Shape) -> bool {
    matches!(shape, Shape::List(_) | Shape::Set(_))
}

fn is_list_of_maps(shape: &Shape) -> bool {
    matches!(shape, Shape::List(item) | Shape::Set(item) if takes(item, is_map))
}

fn is_map(shape: &Shape) -> bool {
    matches!(shape, Shape::Dict(_) | Shape::Names(_) | Shape::Object(_))
}

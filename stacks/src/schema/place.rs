//! Where a key that is not known at its place belongs.
//!
//! Owns the search through the tables, up and down. Keys that are only written wrongly are
//! `keys`'.

use super::tables::{self, Effect, Field, Object, Shape};
use crate::tree::Node;

/// Most sections that are gone down.
const MOST_DOWN: usize = 3;

/// The sections that a key stands in, from the file down.
pub(super) type Above<'a> = &'a [&'static Object];

/// What to do about `key` in the last section of `above`, at `path`, when a level around
/// or above it is missing or too much.
pub(super) fn wrong_level(above: Above<'_>, path: &str, key: &str, value: &Node) -> Option<String> {
    // A section that is indented too far is taken for a service.
    if let Some(name) = path.strip_prefix("services.")
        && tables::FILE.fields.iter().any(|f| f.key == name)
    {
        return Some(format!(
            "`{name}` is read as a service here; a section stands at the top of the file, \
             without indentation"
        ));
    }
    if above.len() == 1 && (value.get("image").is_some() || value.get("build").is_some()) {
        return Some(format!(
            "it looks like a service: write `services:` above it, and indent `{key}`"
        ));
    }
    None
}

/// What to do about `key` when it is a key of something else.
pub(super) fn belongs(above: Above<'_>, key: &str) -> Option<String> {
    let (object, outer) = above.split_last()?;
    if let Some(way) = (1..=MOST_DOWN).find_map(|depth| only(down(object, key, depth))) {
        return Some(format!("it belongs under `{way}`"));
    }
    let home = outer.iter().rev().find(|o| has(o, key))?;
    Some(format!("it is a key of {}: indent it less", home.what))
}

fn has(object: &Object, key: &str) -> bool {
    object.fields.iter().any(|f| f.key == key)
}

/// The one that there is; none where it would be a guess.
fn only(ways: Vec<String>) -> Option<String> {
    <[String; 1]>::try_from(ways).ok().map(|[way]| way)
}

/// Every way to sections `depth` levels below `object` that have `key`.
fn down(object: &Object, key: &str, depth: usize) -> Vec<String> {
    let mut ways = Vec::new();
    let leads = |f: &&Field| {
        !f.key.starts_with("x-") && matches!(f.effect, Effect::Honoured | Effect::Partly(_))
    };
    for field in object.fields.iter().filter(leads) {
        let (name, inner) = match &field.shape {
            // Of the sections of a file only this one is what most people forget.
            Shape::Names(Shape::Object(inner)) if field.key == "services" => {
                ("services.NAME".to_owned(), *inner)
            }
            shape => match section(shape) {
                Some(inner) => (field.key.to_owned(), inner),
                None => continue,
            },
        };
        if depth == 1 {
            if has(inner, key) {
                ways.push(name);
            }
        } else {
            let below = down(inner, key, depth - 1).into_iter();
            ways.extend(below.map(|way| format!("{name}.{way}")));
        }
    }
    ways
}

fn section(shape: &Shape) -> Option<&'static Object> {
    match shape {
        Shape::Object(object) => Some(object),
        Shape::OneOf(shapes) => shapes.iter().find_map(section),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(key: &str) -> Option<String> {
        (1..=MOST_DOWN).find_map(|depth| only(down(&tables::FILE, key, depth)))
    }

    #[test]
    fn a_key_is_found_where_it_belongs_or_not_at_all() {
        assert_eq!(way("image").as_deref(), Some("services.NAME"));
        assert_eq!(way("replicas").as_deref(), Some("services.NAME.deploy"));
        // Both kinds of rollout have it.
        assert_eq!(way("parallelism"), None);
        assert_eq!(way("nonsense"), None);
    }
}

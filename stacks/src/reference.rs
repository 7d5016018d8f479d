//! All keys of stack files as a page, made of the tables that files are checked against.

use crate::schema::tables::{Effect, FILE, Field, Object, Shape, Since};
use std::fmt::Write as _;

const HEAD: &str = "# The keys of stack files

This page is made of the tables that `skep` checks files against; `UPDATE_EXPECTED=1 cargo test -p
skep-stacks` writes it. *From* is the version of format 3 that brought a key, *Compose* where only
the Compose Specification has it, *skep* where it is ours. What has no effect is named in a
warning with its place, and is an error with `--strict`. Keys of your own begin with `x-`.
";

/// Every key of a stack file, in Markdown: where it is from, what it says and whether it is
/// honoured.
pub fn reference() -> String {
    let mut out = HEAD.to_owned();
    let mut seen: Vec<(&Object, String)> = Vec::new();
    section(&FILE, String::new(), &mut seen, &mut out);
    out
}

/// Writes a section, then those below it.
fn section(
    object: &'static Object,
    path: String,
    seen: &mut Vec<(&'static Object, String)>,
    out: &mut String,
) {
    let title = if path.is_empty() { "the file" } else { &path };
    let title = match path.is_empty() {
        true => title.to_owned(),
        false => format!("`{title}`"),
    };
    let before = seen.iter().find(|(known, _)| std::ptr::eq(*known, object));
    if let Some((_, first)) = before {
        let _ = write!(out, "\n## {title}\n\nThe keys of `{first}`.\n");
        return;
    }
    let _ = write!(
        out,
        "\n## {title}\n\n| key | from | what it says | here |\n|---|---|---|---|\n"
    );
    for field in object.fields {
        row(field, object, out);
    }
    seen.push((object, path.clone()));
    for field in object.fields {
        let has_effect = matches!(field.effect, Effect::Honoured | Effect::Partly(_));
        if has_effect && let Some((inner, rest)) = below(&field.shape) {
            let dot = if path.is_empty() { "" } else { "." };
            section(inner, format!("{path}{dot}{}{rest}", field.key), seen, out);
        }
    }
}

fn row(field: &Field, object: &Object, out: &mut String) {
    let from = match field.since {
        Since::V3(minor) => format!("3.{minor}"),
        Since::Spec => "Compose".to_owned(),
        Since::Ours => "skep".to_owned(),
        Since::Old => "before 3".to_owned(),
    };
    let needed = match object.required.contains(&field.key) {
        true => ", required",
        false => "",
    };
    let here = match field.effect {
        Effect::Honoured => "yes".to_owned(),
        Effect::Partly(how) => how.to_owned(),
        Effect::Nothing { instead, .. } => format!("no effect: {instead}"),
        Effect::Refused(instead) => format!("refused: {instead}"),
    };
    let _ = writeln!(
        out,
        "| `{}` | {from} | {}{needed} | {here} |",
        field.key, field.doc
    );
}

/// The section that a value is or has, and what stands between.
fn below(shape: &Shape) -> Option<(&'static Object, String)> {
    let with =
        |step: &str, inner: &Shape| below(inner).map(|(o, rest)| (o, format!("{step}{rest}")));
    match shape {
        Shape::Object(object) => Some((object, String::new())),
        Shape::OneOf(shapes) => shapes.iter().find_map(below),
        Shape::List(item) | Shape::Set(item) => with("[]", item),
        Shape::Names(value) | Shape::Dict(value) => with(".NAME", value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::path::Path;

    /// The paths of keys that are not honoured, without the names that a user chose.
    fn unhonoured(object: &'static Object, path: &str, out: &mut BTreeSet<String>) {
        for field in object.fields {
            let path = format!("{path}.{}", field.key);
            match field.effect {
                Effect::Honoured | Effect::Partly(_) => {
                    if let Some((inner, rest)) = below(&field.shape) {
                        unhonoured(inner, &format!("{path}{rest}"), out);
                    }
                }
                Effect::Nothing { .. } | Effect::Refused(_) => {
                    out.insert(path);
                }
            }
        }
    }

    #[test]
    fn every_key_that_is_not_honoured_has_a_file_that_shows_what_is_said() {
        let mut wanted = BTreeSet::new();
        unhonoured(&FILE, "", &mut wanted);
        let testdata = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
        for name in ["good/ignored.expected", "broken/refused-keys.expected"] {
            let text = std::fs::read_to_string(testdata.join(name)).unwrap();
            for line in text.lines().filter(|l| l.contains("is not supported")) {
                // `warning[SK0701]: file:1:2: the.path: message`
                let path = line.split(": ").nth(2).unwrap();
                wanted.retain(|pattern| !fits(pattern, path));
            }
        }
        assert_eq!(wanted, BTreeSet::new());
    }

    /// Whether `services.web.ports[0].name` is `.services.NAME.ports[].name`.
    fn fits(pattern: &str, path: &str) -> bool {
        let without = |step: &str| step.split('[').next().unwrap_or_default().to_owned();
        let pattern: Vec<_> = pattern.split('.').skip(1).map(without).collect();
        let path: Vec<_> = path.split('.').map(without).collect();
        pattern.len() == path.len()
            && pattern
                .iter()
                .zip(path)
                .all(|(p, step)| p == "NAME" || *p == step)
    }

    #[test]
    fn the_page_of_keys_is_that_of_the_tables() {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/stack-files.md");
        let found = reference();
        if std::env::var_os("UPDATE_EXPECTED").is_some() {
            std::fs::create_dir_all(page.parent().unwrap()).unwrap();
            std::fs::write(&page, &found).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&page).unwrap(), found);
    }
}

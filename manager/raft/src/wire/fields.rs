//! Which fields the messages and records of `wire.rs` hold, and under which
//! numbers: none is added, taken away, numbered or typed anew in silence.
//!
//! Derived messages have no description to ask for, so this reads what they are
//! derived from. A message that is new is in the list by itself.

use expect_test::expect_file;

/// A line for each field and each kind.
fn fields(source: &str) -> String {
    let mut parts = source.split("#[prost(");
    let mut owner = parts.next().and_then(last_type).unwrap_or_default();
    let mut lines = Vec::new();
    for part in parts {
        let (attribute, rest) = part.split_once(")]").unwrap_or((part, ""));
        let attribute: Vec<_> = attribute.split_whitespace().collect();
        let field = rest.trim_start().lines().next().unwrap_or_default();
        let field = field.trim_start_matches("pub ").trim_end_matches(',');
        lines.push(format!("{owner}.{field} = {}\n", attribute.join(" ")));
        owner = last_type(rest).unwrap_or(owner);
    }
    lines.concat()
}

/// The name of the last type that begins in this text.
fn last_type(text: &str) -> Option<&str> {
    let mut names = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let first = words.find(|word| !word.starts_with("pub"))?;
        words.next().filter(|_| matches!(first, "struct" | "enum"))
    });
    names.next_back()
}

/// Members of two versions of skep send each other these messages, and a member reads
/// the log of the version before: when this fails because of a field that was there
/// before, undo that. A new one is passed over by who does not know it, a new kind is
/// an error there: where that does no harm, or an upgrade was thought of,
/// `UPDATE_EXPECT=1 cargo test -p skep-manager-raft fields` writes the list anew.
#[test]
fn every_field_keeps_its_number_and_type() {
    expect_file!["fields.txt"].assert_eq(&fields(include_str!("../wire.rs")));
}

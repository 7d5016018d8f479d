//! What most likely makes a file unreadable.
//!
//! The YAML reader says what it did not expect, in its own words and often one line too
//! late; this looks at the lines for the mistakes that people make.

use crate::codes::{self, Code};

/// The code, and what to do about it, for what the reader `said` at `line` (from 1).
pub(super) fn of(text: &str, line: u32, said: &str) -> (&'static Code, Option<String>) {
    let at = (line as usize).saturating_sub(1);
    let upto: Vec<&str> = text
        .lines()
        .skip(at.saturating_sub(MOST_BACK))
        .take(at.min(MOST_BACK) + 1)
        .filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'))
        .collect();
    let Some((here, above)) = upto.split_last() else {
        return (codes::NOT_YAML, None);
    };
    let before = above.last().copied().unwrap_or_default();
    if [before, here].iter().any(|line| begins_with_tab(line)) {
        let help = "YAML is indented with blanks; replace the tab";
        return (codes::TAB, Some(help.to_owned()));
    }
    let glued = [here, before].into_iter().find_map(glued);
    (
        codes::NOT_YAML,
        glued.or_else(|| said_of(said, here, before)),
    )
}

/// Where to point for what was found at a line and column: an empty line, such as the end
/// of the file, tells nothing, but the end of the last line before it does.
pub(super) fn place(text: &str, at: (u32, u32)) -> (u32, u32) {
    let upto = (1..).zip(text.lines()).take(at.0 as usize);
    let full = upto.filter(|(_, line)| !line.trim().is_empty()).last();
    match full {
        Some((line, content)) if line < at.0 => {
            let length = content.trim_end().chars().count();
            (line, u32::try_from(length).unwrap_or(u32::MAX))
        }
        _ => at,
    }
}

/// Most lines above the place that are looked at.
const MOST_BACK: usize = 10;

fn begins_with_tab(line: &str) -> bool {
    line.trim_start_matches(' ').starts_with('\t')
}

/// `image:nginx` for `image: nginx`.
fn glued(line: &str) -> Option<String> {
    let content = line.trim().trim_start_matches("- ");
    let (key, value) = content.split_once(':')?;
    let word = |c: char| c.is_ascii_lowercase() || c == '_';
    let is_key = key.len() > 1 && key.chars().all(word);
    let is_value = !value.is_empty() && !value.starts_with([' ', '/']) && !value.contains(": ");
    (is_key && is_value).then(|| format!("a colon needs a blank after it: `{key}: {value}`"))
}

fn said_of(said: &str, here: &str, before: &str) -> Option<String> {
    let deeper = indent(here) > indent(before);
    let help = if said.contains("mapping values are not allowed") {
        if here.matches(": ").count() + usize::from(here.trim_end().ends_with(':')) > 1 {
            "put the value in quotes: it has a colon of its own"
        } else if deeper && before.contains(": ") {
            "this line is indented under one that has a value already; indent both alike"
        } else {
            return None;
        }
    } else if said.contains("did not find expected key") {
        "begin every key of a map, and every `-` of a list, in the same column"
    } else if said.contains("quoted scalar") {
        "is a quote open? each has its partner, and a text over several lines is indented"
    } else if said.contains("unexpected character") {
        "put a value that begins with a special character in quotes"
    } else if said.contains("unknown anchor") {
        "`*name` needs `&name` earlier in the file; a text that begins with `*` needs quotes"
    } else if said.contains("invalid indentation") || said.contains("bracket") {
        "does every bracket and brace have its partner?"
    } else {
        return None;
    };
    Some(help.to_owned())
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

//! What to say about a key that is not known: where it belongs, or which one was meant.

use super::place::{self, Above};
use super::tables::Object;
use crate::codes::{self, Code};
use crate::tree::Entry;

/// What is to be said of an entry that the last of the sections `above` does not know;
/// `path` is that section's.
pub(super) fn unknown(
    above: Above<'_>,
    path: &str,
    entry: &Entry,
) -> (&'static Code, String, Option<String>) {
    let object = above.last().copied().unwrap_or(&super::tables::FILE);
    let (what, key) = (object.what, entry.key.as_str());
    let message = format!("{what} has no key `{key}`");
    let known = object.fields.iter().map(|f| f.key);
    let place = place::wrong_level(above, path, key, &entry.value);
    if let Some(help) = place.or_else(|| place::belongs(above, key)) {
        return (codes::MISPLACED_KEY, message, Some(help));
    }
    if let Some(meant) = nearest(key, known) {
        let help = format!("did you mean `{meant}`?");
        return (codes::UNKNOWN_KEY, message, Some(help));
    }
    let all: Vec<_> = object.fields.iter().map(|f| f.key).collect();
    let help = match (all.len() <= 8, object.extensions) {
        (true, _) => Some(format!("its keys are {}", all.join(", "))),
        (false, true) => Some("keys of your own begin with `x-`".to_owned()),
        (false, false) => None,
    };
    (codes::UNKNOWN_KEY, message, help)
}

/// The key of ours that one of the user's own was probably meant to be.
pub(super) fn meant(object: &Object, key: &str) -> Option<&'static str> {
    let plain = key.strip_prefix("x-")?;
    let ours = object
        .fields
        .iter()
        .filter_map(|f| f.key.strip_prefix("x-"));
    let near = nearest(&plain.replace('-', "_"), ours)?;
    object
        .fields
        .iter()
        .map(|f| f.key)
        .find(|key| key.strip_prefix("x-") == Some(near))
}

/// The word of `known` that `word` was probably meant to be.
pub fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_ascii_lowercase().replace('-', "_");
    let allowed = match lower.len() {
        0..=2 => 0,
        3..=5 => 1,
        6..=9 => 2,
        _ => 3,
    };
    known
        .map(|k| (distance(&lower, &k.to_ascii_lowercase()), k))
        .filter(|(d, _)| *d <= allowed)
        .min_by_key(|(d, _)| *d)
        .map(|(_, k)| k)
}

/// Edits (insert, remove, change, swap of neighbours) from `a` to `b`.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len().abs_diff(b.len()) > 3 || a.len() > 64 {
        return usize::MAX;
    }
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    for (j, cell) in rows[0].iter_mut().enumerate() {
        *cell = j;
    }
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let change = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (rows[i - 1][j] + 1)
                .min(rows[i][j - 1] + 1)
                .min(rows[i - 1][j - 1] + change);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_finds_the_key_that_was_meant() {
        let known = ["image", "environment", "ports", "replicas", "env_file"];
        let meant = |word| nearest(word, known.into_iter());
        assert_eq!(meant("imgae"), Some("image"));
        assert_eq!(meant("enviroment"), Some("environment"));
        assert_eq!(meant("env-file"), Some("env_file"));
        assert_eq!(meant("port"), Some("ports"));
        assert_eq!(meant("replica"), Some("replicas"));
        assert_eq!(meant("zebra"), None);
        assert_eq!(meant("x"), None);
    }
}

//! Order of map keys in printed YAML: letters by code, runs of digits by value,
//! as the Docker CLI's YAML library sorts them (`a2` before `a10`).

use std::cmp::Ordering;

/// Compares two keys.
pub(crate) fn compare(a: &str, b: &str) -> Ordering {
    let same = a
        .char_indices()
        .zip(b.chars())
        .find(|((_, x), y)| x != y)
        .map(|((at, x), y)| (at, x, y));
    let Some((at, x, y)) = same else {
        return a.len().cmp(&b.len());
    };
    let after_digit = a[..at].ends_with(|c: char| c.is_ascii_digit());
    match (x.is_alphabetic(), y.is_alphabetic()) {
        (true, true) => x.cmp(&y),
        // A letter comes after everything else, but first where a run of
        // digits ends: `v1a` before `v1-`.
        (true, false) if after_digit => Ordering::Less,
        (true, false) => Ordering::Greater,
        (false, true) if after_digit => Ordering::Greater,
        (false, true) => Ordering::Less,
        (false, false) => {
            // A zero counts as a digit of the number before it, not as padding.
            let before = a[..at].bytes().rev().take_while(u8::is_ascii_digit);
            let significant = (x == '0' || y == '0') && before.into_iter().any(|c| c != b'0');
            let (a, b) = (run(&a[at..], significant), run(&b[at..], significant));
            a.cmp(&b).then(x.cmp(&y))
        }
    }
}

/// Value and length of the digits that `text` begins with.
fn run(text: &str, significant: bool) -> (u64, usize) {
    let digits = text.bytes().take_while(u8::is_ascii_digit);
    digits.fold((u64::from(significant), 0), |(value, length), digit| {
        let value = value
            .saturating_mul(10)
            .saturating_add(u64::from(digit - b'0'));
        (value, length + 1)
    })
}

/// Sorts by key. A merge sort of our own, because the order is not total for
/// contrived keys and the standard sort may panic on such.
pub(crate) fn sorted<T>(mut items: Vec<T>, key: impl Fn(&T) -> &str + Copy) -> Vec<T> {
    if items.len() < 2 {
        return items;
    }
    let right = sorted(items.split_off(items.len() / 2), key);
    let left = sorted(items, key);
    let mut out = Vec::with_capacity(left.len() + right.len());
    let (mut left, mut right) = (left.into_iter().peekable(), right.into_iter().peekable());
    while let (Some(l), Some(r)) = (left.peek(), right.peek()) {
        let next = match compare(key(l), key(r)) {
            Ordering::Greater => right.next(),
            _ => left.next(),
        };
        out.extend(next);
    }
    out.extend(left);
    out.extend(right);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_ordered_by_value_and_letters_by_code() {
        let keys = vec!["b", "a10", "a2", "a", "_x", "B", "a01", "a1"];
        let keys = sorted(keys, |k| k);
        assert_eq!(keys, ["_x", "B", "a", "a1", "a01", "a2", "a10", "b"]);
    }
}

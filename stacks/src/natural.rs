//! Order of map keys in printed YAML: letters by code, runs of digits by value,
//! as the Docker CLI's YAML library sorts them (`a2` before `a10`).

use std::cmp::Ordering;

/// Compares two keys.
pub(crate) fn compare(a: &str, b: &str) -> Ordering {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut after_digit = false;
    for at in 0..a.len().min(b.len()) {
        let (x, y) = (a[at], b[at]);
        if x == y {
            after_digit = x.is_ascii_digit();
            continue;
        }
        return match (x.is_alphabetic(), y.is_alphabetic()) {
            (true, true) => x.cmp(&y),
            // A letter comes after everything else, but first where a run of
            // digits ends: `v1a` before `v1-`.
            (true, false) if after_digit => Ordering::Less,
            (true, false) => Ordering::Greater,
            (false, true) if after_digit => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) => runs(&a, &b, at),
        };
    }
    a.len().cmp(&b.len())
}

/// Compares the digit runs that begin at `at`, where the keys differ.
fn runs(a: &[char], b: &[char], at: usize) -> Ordering {
    // A zero counts as a digit of the number before it, not as padding.
    let significant = (a[at] == '0' || b[at] == '0')
        && a[..at]
            .iter()
            .rev()
            .take_while(|c| c.is_ascii_digit())
            .any(|c| *c != '0');
    let run = |chars: &[char]| {
        let digits = chars[at..].iter().take_while(|c| c.is_ascii_digit());
        let mut value = u64::from(significant);
        let mut length = 0;
        for digit in digits {
            let digit = u64::from(digit.to_digit(10).unwrap_or_default());
            value = value.saturating_mul(10).saturating_add(digit);
            length += 1;
        }
        (value, length)
    };
    run(a).cmp(&run(b)).then(a[at].cmp(&b[at]))
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

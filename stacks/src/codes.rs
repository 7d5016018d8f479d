//! The codes of findings: a stable name for each kind of mistake, and its explanation.
//!
//! Owns the texts that `skep help SK0301` prints. Codes are moderately coarse: one a kind
//! of mistake, not one a place in this crate. A number is never given to something else:
//! `testdata/codes.txt` holds those that were given.
//!
//! SK01 YAML, SK02 variables, SK03 the shape of a file, SK04 values, SK05 references between
//! sections, SK06 files that are read, SK07 what is understood and has no effect.

mod files;
mod shape;
mod values;
mod yaml;

pub(crate) use files::*;
pub(crate) use shape::*;
pub(crate) use values::*;
pub(crate) use yaml::*;

use std::fmt;

/// A kind of finding.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Code {
    /// Its name, such as `SK0301`.
    pub id: &'static str,
    /// What is wrong, in a few words.
    pub title: &'static str,
    /// What it means, why it is said and what to do: a few sentences.
    pub explanation: &'static str,
    /// Lines of a file that have the mistake; may be empty.
    pub wrong: &'static str,
    /// The same lines without it; may be empty.
    pub right: &'static str,
}

/// A code without an example.
const fn code(id: &'static str, title: &'static str, explanation: &'static str) -> Code {
    Code {
        id,
        title,
        explanation,
        wrong: "",
        right: "",
    }
}

impl Code {
    const fn example(self, wrong: &'static str, right: &'static str) -> Code {
        Code {
            wrong,
            right,
            ..self
        }
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id)
    }
}

/// Every code, in order.
pub fn codes() -> impl Iterator<Item = &'static Code> {
    let groups = [yaml::ALL, shape::ALL, values::ALL, files::ALL];
    groups.into_iter().flatten().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_in_order_and_explained() {
        let all: Vec<_> = codes().collect();
        assert!(all.is_sorted_by(|a, b| a.id < b.id));
        for code in all {
            assert!(code.id.len() == 6 && code.id.starts_with("SK0"), "{code:?}");
            assert!(!code.title.is_empty() && !code.title.ends_with('.'));
            let sentences = code.explanation.split_inclusive(". ").count();
            assert!((2..=5).contains(&sentences), "{code:?}: {sentences}");
            assert!(code.explanation.ends_with('.'), "{code:?}");
            assert_eq!(code.wrong.is_empty(), code.right.is_empty(), "{code:?}");
        }
    }
}

//! The tables of keys, and what their rows are made of.
//!
//! One row a key: where it comes from, its type, whether it is honoured, and what it says.
//! The rows of format 3 are those of the published schemas 3.0 to 3.13, the others those of
//! the Compose Specification. What is said about a key that is not honoured is in its row;
//! values that are not are `convert/ignored`'s.

mod aside;
mod cluster;
mod deploy;
mod file;
mod parts;
mod service;

pub(crate) use file::FILE;

use Shape::{Bool, Dict, List, Null, Number, OneOf, Set, Text};

/// What a value may be.
pub(crate) enum Shape {
    /// Anything.
    Any,
    /// Null.
    Null,
    /// Text.
    Text,
    /// Text that Go's durations are written in.
    Duration,
    /// `true` or `false`.
    Bool,
    /// A whole number.
    Int,
    /// A number.
    Number,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A list without repetitions.
    Set(&'static Shape),
    /// A list.
    List(&'static Shape),
    /// A map with any keys.
    Dict(&'static Shape),
    /// A map whose keys are names that the user chose.
    Names(&'static Shape),
    /// A map with known keys.
    Object(&'static Object),
    /// One of these, told apart by type.
    OneOf(&'static [Shape]),
}

/// A map with known keys.
pub(crate) struct Object {
    /// What it is, for messages: `a service`.
    pub(crate) what: &'static str,
    /// The keys.
    pub(crate) fields: &'static [Field],
    /// Keys that must be there.
    pub(crate) required: &'static [&'static str],
    /// `x-…` keys are allowed.
    pub(crate) extensions: bool,
    /// Other keys are allowed; Docker ignores them in silence, we with a warning.
    pub(crate) open: bool,
}

/// A known key: all that there is to know of it.
pub(crate) struct Field {
    /// The key.
    pub(crate) key: &'static str,
    /// The format that has it.
    pub(crate) since: Since,
    /// Its value.
    pub(crate) shape: Shape,
    /// What comes of it.
    pub(crate) effect: Effect,
    /// What it says, in a few words.
    pub(crate) doc: &'static str,
}

/// The format that brought a key.
#[derive(Clone, Copy)]
pub(crate) enum Since {
    /// Format 3, with this minor version.
    V3(u8),
    /// The Compose Specification.
    Spec,
    /// Ours.
    Ours,
    /// Formats before 3; they alone.
    Old,
}

/// What comes of a key.
#[derive(Clone, Copy)]
pub(crate) enum Effect {
    /// What it says is done.
    Honoured,
    /// With some values; what is said of the others depends on them.
    Partly(&'static str),
    /// Nothing, and a warning says so.
    Nothing {
        /// What to do instead, or why nothing is.
        instead: &'static str,
        /// Values that ask for what is so anyway.
        same: &'static [&'static str],
    },
    /// The file is refused: without the key something else would run.
    Refused(&'static str),
}

impl Field {
    /// With minor version `minor` of format 3.
    const fn since(mut self, minor: u8) -> Field {
        self.since = Since::V3(minor);
        self
    }

    /// Of the Compose Specification alone.
    const fn spec(mut self) -> Field {
        self.since = Since::Spec;
        self
    }

    const fn ours(mut self) -> Field {
        self.since = Since::Ours;
        self
    }

    const fn old(mut self, instead: &'static str) -> Field {
        self.since = Since::Old;
        self.refused(instead)
    }

    const fn partly(mut self, how: &'static str) -> Field {
        self.effect = Effect::Partly(how);
        self
    }

    const fn none(mut self, instead: &'static str) -> Field {
        let same = &["false"];
        self.effect = Effect::Nothing { instead, same };
        self
    }

    /// As [`Field::none`], and without a word where the value is one of `same`.
    const fn none_but(mut self, same: &'static [&'static str], instead: &'static str) -> Field {
        self.effect = Effect::Nothing { instead, same };
        self
    }

    const fn refused(mut self, instead: &'static str) -> Field {
        self.effect = Effect::Refused(instead);
        self
    }
}

/// A key of format 3.0 that is honoured.
const fn key(key: &'static str, shape: Shape, doc: &'static str) -> Field {
    Field {
        key,
        since: Since::V3(0),
        shape,
        effect: Effect::Honoured,
        doc,
    }
}

/// A section that takes `x-…` keys, as all of the Compose Specification do.
const fn object(what: &'static str, fields: &'static [Field]) -> Object {
    Object {
        what,
        fields,
        required: &[],
        extensions: true,
        open: false,
    }
}

const TEXTS: Shape = Set(&Text);
const TEXT_OR_LIST: Shape = OneOf(&[Text, TEXTS]);
const WORDS: Shape = OneOf(&[Text, List(&Text), Null]);
const SCALAR: Shape = OneOf(&[Text, Number]);
const SCALAR_OR_NULL: Shape = OneOf(&[Text, Number, Null]);
const TEXT_OR_BOOL: Shape = OneOf(&[Text, Bool]);
/// `KEY: value`, or a list of `KEY=value`.
const PAIRS: Shape = OneOf(&[Dict(&OneOf(&[Text, Number, Bool, Null])), TEXTS]);
const OPTIONS: Shape = Dict(&SCALAR);

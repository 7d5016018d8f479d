//! A table of nftables as a value: chains, sets and maps that can be compared, and written by
//! [`super::batch`].

use std::collections::BTreeMap;

use super::expr::{Expr, Verdict};

/// A whole table of the IPv4 family.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Table {
    pub(crate) name: String,
    pub(crate) chains: BTreeMap<String, Chain>,
    pub(crate) sets: BTreeMap<String, Set>,
}

/// A chain and its rules, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Chain {
    /// Where the kernel enters it; none for a chain that is only gone to.
    pub(crate) base: Option<Base>,
    pub(crate) rules: Vec<Vec<Expr>>,
}

/// The place of a base chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Base {
    pub(crate) kind: Kind,
    pub(crate) hook: Hook,
    pub(crate) priority: i32,
}

/// What a base chain may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Filter,
    Nat,
    /// Output only: a changed mark makes the kernel route again.
    Route,
}

/// The kernel's hooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hook {
    Prerouting = 0,
    Forward = 2,
    Output = 3,
    Postrouting = 4,
}

/// A field of a key, or the type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    Ipv4,
    Ether,
    Protocol,
    Service,
    Mark,
    InterfaceName,
}

impl Type {
    /// nft's own number of the type, for those who list the table.
    pub(crate) fn number(self) -> u32 {
        match self {
            Type::Ipv4 => 7,
            Type::Ether => 9,
            Type::Protocol => 12,
            Type::Service => 13,
            Type::Mark => 19,
            Type::InterfaceName => 41,
        }
    }

    /// Length in bytes, unpadded.
    pub(crate) fn length(self) -> usize {
        match self {
            Type::Ipv4 | Type::Mark => 4,
            Type::Ether => 6,
            Type::Protocol => 1,
            Type::Service => 2,
            Type::InterfaceName => 16,
        }
    }
}

/// What a map's entries lead to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Values {
    /// A plain set.
    None,
    /// Values of these fields.
    Data(Vec<Type>),
    Verdicts,
}

/// A named set or map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Set {
    pub(crate) key: Vec<Type>,
    pub(crate) values: Values,
    /// Keys are ranges.
    pub(crate) ranges: bool,
    pub(crate) elements: BTreeMap<Key, Value>,
}

impl Set {
    /// An empty set of these key fields.
    pub(crate) fn new(key: &[Type]) -> Self {
        Set {
            key: key.to_vec(),
            values: Values::None,
            ranges: false,
            elements: BTreeMap::new(),
        }
    }

    /// An empty set of ranges of these key fields.
    pub(crate) fn ranges(key: &[Type]) -> Self {
        Set {
            ranges: true,
            ..Set::new(key)
        }
    }

    /// An empty map to values of these fields.
    pub(crate) fn map(key: &[Type], value: &[Type]) -> Self {
        Set {
            values: Values::Data(value.to_vec()),
            ..Set::new(key)
        }
    }

    /// An empty map to verdicts.
    pub(crate) fn verdicts(key: &[Type]) -> Self {
        Set {
            values: Values::Verdicts,
            ..Set::new(key)
        }
    }

    /// Adds a key to a plain set.
    pub(crate) fn add(&mut self, key: Vec<u8>) {
        self.elements.insert(
            Key {
                start: key,
                end: None,
            },
            Value::None,
        );
    }

    /// Adds an inclusive range.
    pub(crate) fn add_range(&mut self, start: Vec<u8>, end: Vec<u8>) {
        self.elements.insert(
            Key {
                start,
                end: Some(end),
            },
            Value::None,
        );
    }

    /// Maps a key to a value.
    pub(crate) fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.elements.insert(
            Key {
                start: key,
                end: None,
            },
            Value::Data(value),
        );
    }

    /// Maps a key to a verdict.
    pub(crate) fn put_verdict(&mut self, key: Vec<u8>, verdict: Verdict) {
        self.elements.insert(
            Key {
                start: key,
                end: None,
            },
            Value::Verdict(verdict),
        );
    }

    /// Whether only the elements can differ.
    pub(crate) fn same_shape(&self, other: &Set) -> bool {
        self.key == other.key && self.values == other.values && self.ranges == other.ranges
    }
}

/// The key of an element: one value or an inclusive range.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) start: Vec<u8>,
    pub(crate) end: Option<Vec<u8>>,
}

/// What an element holds beside its key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Value {
    None,
    Data(Vec<u8>),
    Verdict(Verdict),
}

/// Joins fields to one key or value: each is padded to four bytes, as the kernel wants.
pub(crate) fn concat(fields: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for field in fields {
        bytes.extend_from_slice(field);
        while bytes.len() % 4 != 0 {
            bytes.push(0);
        }
    }
    bytes
}

/// An interface name as the kernel compares it: 16 bytes, padded with NUL.
pub(crate) fn interface(name: &str) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.resize(16, 0);
    bytes
}

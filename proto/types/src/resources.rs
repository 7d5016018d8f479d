//! Amounts of the things a node has and a task takes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

/// Bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ByteCount(pub u64);

/// Billionths of a CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct NanoCpus(pub u64);

/// Limits and reservations of one task. Zero or `None` means not set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Resources {
    /// CPU time the container may use.
    pub cpu_limit: NanoCpus,
    /// Memory the container may use.
    pub memory_limit: ByteCount,
    /// Number of processes and threads.
    pub pids_limit: Option<u64>,
    /// CPU kept free for the task by the scheduler.
    pub cpu_reservation: NanoCpus,
    /// Memory kept free for the task by the scheduler.
    pub memory_reservation: ByteCount,
    /// How many of each other kind it needs for itself, e.g. 1 of `gpu`.
    pub generic: BTreeMap<String, u64>,
}

/// What there is of a kind that only who set the node up knows, e.g. of `gpu`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GenericResource {
    /// So many, all alike.
    Count(u64),
    /// These, told apart by name.
    Named(BTreeSet<String>),
}

/// Generic resources by kind.
pub type Generics = BTreeMap<String, GenericResource>;

impl GenericResource {
    /// Most kinds that a node has or a service asks for.
    pub const KINDS_MAX: usize = 64;
    /// Most names of all kinds of a node.
    pub const NAMES_MAX: usize = 1024;
    /// Longest kind or name, in bytes.
    pub const NAME_MAX: usize = 64;

    /// How many there are.
    pub fn amount(&self) -> u64 {
        match self {
            GenericResource::Count(count) => *count,
            GenericResource::Named(names) => names.len() as u64,
        }
    }

    /// Whether a text can be a kind, or a name of one. Both go into a variable of the
    /// container, names in a list with commas.
    pub fn is_name(text: &str) -> bool {
        let fits = |c: char| c.is_ascii_alphanumeric() || "._-:/".contains(c);
        text.len() <= GenericResource::NAME_MAX
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.chars().all(fits)
    }

    /// Two kinds that differ in case alone, if there are any. Kinds have a case, and the
    /// variables of containers that are named after them do not.
    pub fn alike<'a>(kinds: impl IntoIterator<Item = &'a String>) -> Option<(&'a str, &'a str)> {
        let mut seen: BTreeMap<String, &str> = BTreeMap::new();
        let mut kinds = kinds.into_iter();
        kinds.find_map(|kind| Some((seen.insert(kind.to_ascii_uppercase(), kind)?, &**kind)))
    }

    /// Whether a text can be a kind.
    pub fn is_kind(text: &str) -> bool {
        GenericResource::is_name(text) && !text.contains([':', '/'])
    }
}

impl fmt::Display for GenericResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GenericResource::Count(count) => write!(f, "{count}"),
            GenericResource::Named(names) => {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                f.write_str(&names.join(","))
            }
        }
    }
}

/// What is no amount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidAmount(String);

impl fmt::Display for InvalidAmount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InvalidAmount {}

impl FromStr for ByteCount {
    type Err = InvalidAmount;

    /// Reads `512m` or `1.5g`; units are powers of 1024.
    fn from_str(text: &str) -> Result<ByteCount, InvalidAmount> {
        let bad = || InvalidAmount(format!("{text:?} is not a size such as 512m or 1.5g"));
        let lower = text.trim().to_ascii_lowercase();
        let end = lower
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(lower.len());
        let (number, unit) = lower.split_at(end);
        let power = match unit.trim() {
            "" | "b" => 0,
            "k" | "kb" | "kib" => 1,
            "m" | "mb" | "mib" => 2,
            "g" | "gb" | "gib" => 3,
            "t" | "tb" | "tib" => 4,
            "p" | "pb" | "pib" => 5,
            _ => return Err(bad()),
        };
        let number: f64 = number.parse().map_err(|_| bad())?;
        let value = number * 1024_f64.powi(power);
        // Above this, floats no longer fit.
        if !value.is_finite() || value >= 9.2e18 {
            return Err(bad());
        }
        Ok(ByteCount(value as u64))
    }
}

impl FromStr for NanoCpus {
    type Err = InvalidAmount;

    /// Reads a number of CPUs such as `0.5`.
    fn from_str(text: &str) -> Result<NanoCpus, InvalidAmount> {
        let bad = || InvalidAmount(format!("{text:?} is not a number of CPUs such as 0.5"));
        let number: f64 = text.parse().map_err(|_| bad())?;
        if !(0.0..=1e9).contains(&number) {
            return Err(bad());
        }
        Ok(NanoCpus((number * 1e9).round() as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_and_names_have_their_letters() {
        for kind in ["gpu", "NVIDIA-GPU", "a.b_c", "0"] {
            assert!(GenericResource::is_kind(kind), "{kind}");
        }
        let long = "a".repeat(65);
        for none in ["", "-gpu", "g pu", "gpu=1", "a,b", "gpü", &long, "pci/1"] {
            assert!(!GenericResource::is_kind(none), "{none}");
        }
        assert!(GenericResource::is_name("0000:01:00.0"));
        assert!(GenericResource::is_name("pci/1"));
        assert!(!GenericResource::is_name("/dev/x"));
    }
}

//! What a daemon is told of its machine's resources: what tasks do not get, and what it
//! has of kinds that nobody else knows.

use anyhow::{Result, bail};
use skep_types::{ByteCount, GenericResource, Generics, NanoCpus};
use std::collections::BTreeSet;

/// Reads `cpus=0.5,memory=512m`; either may be left out.
pub(crate) fn system_reserve(text: &str) -> Result<(NanoCpus, ByteCount)> {
    let (mut cpus, mut memory) = (None, None);
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let wrong = |what: String| Err(anyhow::anyhow!("--system-reserve {part:?}: {what}"));
        let fresh = match part.trim().split_once('=') {
            Some(("cpus", value)) => match value.parse() {
                Ok(value) => cpus.replace(value).is_none(),
                Err(invalid) => return wrong(format!("{invalid}")),
            },
            Some(("memory", value)) => match value.parse() {
                Ok(value) => memory.replace(value).is_none(),
                Err(invalid) => return wrong(format!("{invalid}")),
            },
            _ => return wrong("write cpus=NUMBER or memory=SIZE".to_owned()),
        };
        if !fresh {
            return wrong("it is there twice".to_owned());
        }
    }
    Ok((cpus.unwrap_or_default(), memory.unwrap_or_default()))
}

/// Reads `gpu=2`, or one `gpu=NAME` for each that has a name.
pub(crate) fn generic(given: &[String]) -> Result<Generics> {
    let mut generics = Generics::new();
    for text in given {
        let Some((kind, value)) = text.split_once('=') else {
            bail!("--node-generic-resource {text:?} is not of the form KIND=NUMBER or KIND=NAME");
        };
        let wrong = |what: &str| Err(anyhow::anyhow!("--node-generic-resource {text:?}: {what}"));
        if !GenericResource::is_kind(kind) {
            return wrong("a kind has letters, digits, '.', '_' and '-', 64 at most");
        }
        if let Ok(count) = value.parse() {
            match generics.insert(kind.to_owned(), GenericResource::Count(count)) {
                None => continue,
                Some(GenericResource::Count(_)) => return wrong("its number is there twice"),
                Some(GenericResource::Named(_)) => return wrong(MIXED),
            }
        }
        if !GenericResource::is_name(value) {
            return wrong("a name has letters, digits and . _ - : /, 64 at most");
        }
        let named = GenericResource::Named(BTreeSet::new());
        let fresh = match generics.entry(kind.to_owned()).or_insert(named) {
            GenericResource::Named(names) => names.insert(value.to_owned()),
            GenericResource::Count(_) => return wrong(MIXED),
        };
        if !fresh {
            return wrong("this name is there twice");
        }
    }
    if let Some((one, other)) = GenericResource::alike(generics.keys()) {
        bail!(
            "--node-generic-resource: {one:?} and {other:?} would have the same variable in a \
             container; use one kind"
        );
    }
    Ok(generics)
}

const MIXED: &str = "a kind has either a number or names";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserve_is_read_part_by_part() {
        let read = |text: &str| match system_reserve(text) {
            Ok((NanoCpus(cpus), ByteCount(memory))) => format!("{cpus} {memory}"),
            Err(error) => error.to_string(),
        };
        assert_eq!(read(""), "0 0");
        assert_eq!(read("cpus=0.5,memory=512m"), "500000000 536870912");
        assert_eq!(read("memory=1g"), "0 1073741824");
        for (text, said) in [
            ("0.5", "write cpus=NUMBER or memory=SIZE"),
            ("cpus=many", "is not a number of CPUs"),
            ("memory=-1", "is not a size"),
            ("cpus=1,cpus=2", "it is there twice"),
        ] {
            assert!(read(text).contains(said), "{text}: {}", read(text));
        }
    }

    #[test]
    fn generic_resources_are_counts_or_names() {
        let read = |given: &[&str]| {
            let given: Vec<String> = given.iter().map(|&text| text.to_owned()).collect();
            match generic(&given) {
                Ok(generics) => {
                    let parts = generics.iter().map(|(kind, has)| format!("{kind}={has}"));
                    parts.collect::<Vec<_>>().join(" ")
                }
                Err(error) => error.to_string(),
            }
        };
        assert_eq!(read(&["gpu=b", "ssd=2", "gpu=a"]), "gpu=a,b ssd=2");
        for (given, said) in [
            (&["gpu"][..], "is not of the form"),
            (&["g pu=1"], "a kind has letters"),
            (&["gpu=a b"], "a name has letters"),
            (&["gpu="], "a name has letters"),
            (&["gpu=1", "gpu=a"], MIXED),
            (&["gpu=a", "gpu=1"], MIXED),
            (&["gpu=1", "gpu=1"], "its number is there twice"),
            (&["gpu=a", "gpu=a"], "this name is there twice"),
            (&["gpu=1", "GPU=1"], "would have the same variable"),
        ] {
            assert!(read(given).contains(said), "{given:?}: {}", read(given));
        }
    }
}

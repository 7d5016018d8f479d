//! The floors of the house, and the one home of each dependency.

use skep_tidy::{Kind, Package, built_from, packages};
use std::collections::BTreeMap;

/// Floors, from the ground up. A crate names crates of lower floors only.
const FLOORS: &[(&str, &[&str])] = &[
    ("nouns", &["skep-types"]),
    (
        "pure",
        &[
            "skep-stacks",
            "skep-manager-store",
            "skep-manager-planner",
            "skep-agent-planner",
        ],
    ),
    (
        "adapters",
        &[
            "skep-proto",
            "skep-transport",
            "skep-manager-raft",
            "skep-manager-ca",
            "skep-engine-api",
            "skep-agent-runtime",
            "skep-agent-images",
            "skep-agent-dataplane",
            "skep-agent-wireguard",
            "skep-agent-shim-api",
        ],
    ),
    ("roles", &["skep-manager", "skep-agent"]),
    ("binaries", &["skep-daemon", "skep-cli", "skep-agent-shim"]),
    (
        "tests",
        &[
            "skep-tidy",
            "skep-sim",
            "skep-versions",
            "skep-fuzz",
            "skep-e2e",
            "skep-bench",
            "skep-compat",
        ],
    ),
];

/// Arrows within a floor: the first names the second.
const ARROWS: &[(&str, &str)] = &[
    ("skep-manager-planner", "skep-manager-store"),
    ("skep-manager-raft", "skep-proto"),
    ("skep-agent-runtime", "skep-agent-shim-api"),
    ("skep-agent-dataplane", "skep-agent-wireguard"),
    // The daemon is a library that the binary holds.
    ("skep-cli", "skep-daemon"),
    // The benchmarks measure the clusters that the tests hold.
    ("skep-bench", "skep-e2e"),
];

/// Dependencies that have one home, or few: everything else goes through it.
const HOMES: &[(&str, &[&str])] = &[
    ("openraft", &["skep-manager-raft"]),
    ("libcontainer", &["skep-agent-shim"]),
    ("libcgroups", &["skep-agent-shim"]),
    ("libseccomp", &["skep-agent-shim"]),
    ("wireguard-control", &["skep-agent-dataplane"]),
    ("rtnetlink", &["skep-agent-dataplane"]),
    ("hickory-proto", &["skep-agent-dataplane"]),
    ("boringtun", &["skep-agent-wireguard"]),
    ("tun-rs", &["skep-agent-wireguard"]),
    ("oci-client", &["skep-agent-images"]),
    ("reqwest", &["skep-agent-images"]),
    ("serde_yaml", &["skep-stacks"]),
    ("serde_norway", &["skep-stacks"]),
    ("saphyr-parser", &["skep-stacks"]),
    ("imbl", &["skep-manager-store"]),
    ("jiff", &["skep-manager-store"]),
    ("x509-parser", &["skep-manager-ca"]),
    ("protox", &["skep-proto"]),
    ("tonic-prost-build", &["skep-proto"]),
    ("clap", &["skep-cli", "skep-daemon", "skep-sim"]),
    ("clap_complete", &["skep-cli"]),
    ("clap_mangen", &["skep-cli"]),
];

/// What a crate must not name, and why.
const NEVER: &[(&str, &[&str], &str)] = &[
    (
        "skep-types",
        &["tokio", "serde", "serde_json", "prost", "tonic"],
        "the nouns carry no wire or disk format",
    ),
    (
        "skep-stacks",
        &["tokio", "prost", "tonic"],
        "a pure crate does nothing",
    ),
    (
        "skep-manager-store",
        &["tokio", "serde", "prost", "tonic", "rand"],
        "a pure crate does nothing",
    ),
    (
        "skep-manager-planner",
        &["tokio", "serde", "prost", "tonic", "rand"],
        "a planner gets time and chance as arguments",
    ),
    (
        "skep-agent-planner",
        &["tokio", "serde", "prost", "tonic", "rand"],
        "a planner gets time and chance as arguments",
    ),
];

/// What a program must not be built from, however far down.
const NEVER_INSIDE: &[(&str, &[&str])] = &[
    // One thread, for libcontainer clones its caller; and small.
    (
        "skep-agent-shim",
        &["tokio", "async-std", "smol", "tonic", "hyper"],
    ),
    ("skep-types", &["tokio", "serde", "prost"]),
    ("skep-agent-planner", &["tokio"]),
    ("skep-manager-planner", &["tokio"]),
    ("skep-stacks", &["tokio"]),
];

fn floor(name: &str) -> Option<usize> {
    FLOORS.iter().position(|(_, crates)| crates.contains(&name))
}

fn ours() -> BTreeMap<String, Package> {
    packages()
        .into_iter()
        .map(|p| (p.name.clone(), p))
        .collect()
}

#[test]
fn every_crate_has_a_floor() {
    let homeless: Vec<_> = ours().into_keys().filter(|n| floor(n).is_none()).collect();
    assert!(homeless.is_empty(), "give {homeless:?} a floor in FLOORS");
}

#[test]
fn imports_go_down_only() {
    let ours = ours();
    let mut wrong = Vec::new();
    for package in ours.values() {
        for dependency in &package.dependencies {
            if !ours.contains_key(&dependency.package) {
                continue;
            }
            let (from, to) = (floor(&package.name), floor(&dependency.package));
            // A crate may be tested with its neighbours, never with what is above.
            let neighbours = dependency.kind == Kind::Dev && from == to;
            let arrow = (package.name.as_str(), dependency.package.as_str());
            if to >= from && !neighbours && !ARROWS.contains(&arrow) {
                wrong.push(format!("{} -> {}", package.name, dependency.package));
            }
        }
    }
    assert!(wrong.is_empty(), "upward or sideways imports: {wrong:#?}");
}

#[test]
fn arrows_within_a_floor_stay_within_it() {
    for (from, to) in ARROWS {
        assert_eq!(floor(from), floor(to), "{from} -> {to}");
        assert!(!ARROWS.contains(&(to, from)), "{from} <-> {to}");
    }
}

#[test]
fn manager_and_agent_do_not_know_each_other() {
    let ours = ours();
    let side = |package: &Package| match package.folder.split('/').next() {
        Some(side @ ("manager" | "agent")) => Some(side.to_owned()),
        _ => None,
    };
    for package in ours.values() {
        for dependency in &package.dependencies {
            let other = ours.get(&dependency.package).and_then(side);
            if let (Some(own), Some(other)) = (side(package), other) {
                assert_eq!(own, other, "{} -> {}", package.name, dependency.package);
            }
        }
    }
}

#[test]
fn every_dependency_is_at_home() {
    let mut wrong = Vec::new();
    for package in ours().values() {
        for dependency in &package.dependencies {
            let homes = HOMES.iter().find(|(name, _)| *name == dependency.package);
            if let Some((name, homes)) = homes
                && !homes.contains(&package.name.as_str())
            {
                wrong.push(format!(
                    "{} names {name}; its home is {homes:?}",
                    package.name
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_crate_names_what_it_must_not() {
    let ours = ours();
    for (name, never, why) in NEVER {
        let package = ours.get(*name).unwrap_or_else(|| panic!("no crate {name}"));
        for dependency in &package.dependencies {
            let shipped = dependency.kind != Kind::Dev;
            let bad = shipped && never.contains(&dependency.package.as_str());
            assert!(!bad, "{name} names {}: {why}", dependency.package);
        }
    }
}

#[test]
fn programs_and_planners_stay_free_of_what_they_must_not_hold() {
    for (name, never) in NEVER_INSIDE {
        let inside = built_from(name);
        assert!(inside.iter().any(|n| n == name), "cargo tree shows {name}");
        let found: Vec<_> = inside
            .iter()
            .filter(|n| never.contains(&n.as_str()))
            .collect();
        assert!(found.is_empty(), "{name} is built from {found:?}");
    }
}

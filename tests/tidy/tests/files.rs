//! Where files are, how long they may be, and what must not be in them.

use skep_tidy::code::{bare, has_word};
use skep_tidy::{files, sources};

/// What may lie at the top of the repository.
const TOP: &[&str] = &[
    // The house.
    "Cargo.toml",
    "proto",
    "manager",
    "agent",
    "cli",
    "stacks",
    "tests",
    "deploy",
    "README.md",
    // Papers and tool files.
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "docs",
    ".ci",
    ".cargo",
    ".gitattributes",
    ".gitignore",
    "Cargo.lock",
    "clippy.toml",
    "deny.toml",
    "rust-toolchain.toml",
    "rustfmt.toml",
];

/// The folders that code may be in.
const CODE: &[&str] = &[
    "proto", "manager", "agent", "cli", "stacks", "tests", "deploy",
];

/// Longest file, in lines.
const LONGEST: usize = 600;
/// Above this a file is named when the test runs.
const LONG: usize = 500;

/// The files that may hold `unsafe`: thin wrappers of the kernel's calls, and in
/// the simulation what takes their place.
const UNSAFE: &[&str] = &[
    "agent/runtime/src/watch.rs",
    "agent/shim/src/sys.rs",
    "agent/wireguard/src/sys.rs",
    "tests/sim/src/kernel.rs",
];

/// Marks of unfinished work.
const UNFINISHED: &[&str] = &["todo", "unimplemented", "dbg"];

#[test]
fn only_what_belongs_there_lies_at_the_top() {
    let mut found: Vec<String> = files()
        .iter()
        .filter_map(|f| f.split('/').next().map(str::to_owned))
        .filter(|name| !TOP.contains(&name.as_str()))
        .collect();
    found.dedup();
    assert!(found.is_empty(), "{found:?} must not lie at the top");
}

#[test]
fn code_lies_in_the_folders_for_code() {
    let code = [".rs", ".proto", ".c", ".go", ".js", ".ts"];
    for file in files() {
        let top = file.split('/').next().unwrap_or_default();
        let is_code = code.iter().any(|ending| file.ends_with(ending));
        assert!(!is_code || CODE.contains(&top), "{file}");
    }
}

#[test]
fn every_file_opens_with_what_it_owns() {
    let silent: Vec<_> = sources()
        .into_iter()
        .filter(|(_, text)| !text.starts_with("//!"))
        .map(|(name, _)| name)
        .collect();
    assert!(silent.is_empty(), "begin with `//!`: {silent:#?}");
}

#[test]
fn no_file_is_too_long() {
    let mut wrong = Vec::new();
    for (name, text) in sources() {
        let lines = text.lines().count();
        if lines > LONGEST {
            wrong.push(format!("{name} has {lines} lines; at most {LONGEST}"));
        } else if lines > LONG {
            println!("warning: {name} has {lines} lines");
        }
    }
    assert!(wrong.is_empty(), "split them: {wrong:#?}");
}

#[test]
fn nothing_is_left_unfinished() {
    let mut wrong = Vec::new();
    for (name, text) in sources() {
        let code = bare(&text);
        for (number, line) in code.lines().enumerate() {
            for mark in UNFINISHED {
                if has_word(line, mark) && line.contains(&format!("{mark}!")) {
                    wrong.push(format!("{name}:{} {mark}!", number + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn unsafe_code_is_where_it_is_known_to_be_and_says_why_it_is_sound() {
    let mut wrong = Vec::new();
    for (name, text) in sources() {
        let code = bare(&text);
        let listed = UNSAFE.contains(&name.as_str());
        let lines: Vec<&str> = text.lines().collect();
        for (number, line) in code.lines().enumerate() {
            if !has_word(line, "unsafe") {
                continue;
            }
            if !listed {
                wrong.push(format!("{name}:{} is not in the list", number + 1));
            }
            // The reason stands on the line or shortly above it.
            let near = &lines[number.saturating_sub(8)..=number];
            let is_block = line.contains("unsafe {") || line.contains("unsafe impl");
            if is_block && !near.iter().any(|l| l.contains("SAFETY")) {
                wrong.push(format!("{name}:{} has no SAFETY comment", number + 1));
            }
        }
        if !listed && has_word(&code, "unsafe_code") && code.contains("allow(unsafe_code)") {
            wrong.push(format!("{name} allows unsafe code"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

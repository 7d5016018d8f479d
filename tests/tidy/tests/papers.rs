//! Papers that must be there, and links that must lead somewhere.

use skep_tidy::{files, read, root};
use std::path::{Component, Path, PathBuf};

const PAPERS: &[&str] = &[
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "deny.toml",
];

#[test]
fn the_papers_are_there() {
    let missing: Vec<_> = PAPERS
        .iter()
        .filter(|name| !root().join(name).is_file())
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn links_between_files_lead_somewhere() {
    let mut wrong = Vec::new();
    for name in files().into_iter().filter(|f| f.ends_with(".md")) {
        let (name, text) = read(name);
        for (line, target) in links(&text) {
            let path = target.split(['#', '?']).next().unwrap_or_default();
            let elsewhere = target.contains("://") || target.starts_with("mailto:");
            if elsewhere || path.is_empty() {
                continue;
            }
            let base = if path.starts_with('/') {
                Path::new("")
            } else {
                Path::new(&name).parent().unwrap_or(Path::new(""))
            };
            let inside = clean(&base.join(path.trim_start_matches('/')));
            if !inside.is_some_and(|p| root().join(p).exists()) {
                wrong.push(format!("{name}:{line}: {target}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A path without `..`; `None` when it leaves the repository.
fn clean(path: &Path) -> Option<PathBuf> {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                if !out.pop() {
                    return None;
                }
            }
            Component::CurDir => {}
            part => out.push(part),
        }
    }
    Some(out)
}

/// Targets of `](…)` and `[x]: …` outside of code, with their lines.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut out = Vec::new();
    let mut fenced = false;
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        let plain = without_code(line);
        let mut rest = plain.as_str();
        while let Some((_, after)) = rest.split_once("](") {
            let target = after.split([')', ' ']).next().unwrap_or_default();
            out.push((number + 1, target.to_owned()));
            rest = after;
        }
        let reference = plain.strip_prefix('[').and_then(|l| l.split_once("]: "));
        if let Some((_, target)) = reference {
            let target = target.split(' ').next().unwrap_or_default();
            out.push((number + 1, target.to_owned()));
        }
    }
    out
}

/// A line without what stands between backticks.
fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect::<Vec<_>>().join(" ")
}

#[test]
fn links_are_found_where_they_are() {
    let text = "a [x](y.md) [z](w.md#part \"title\")\n```\n[no](no.md)\n```\n`[no](no.md)` [r]: q\n[ref]: r.md\n";
    let found: Vec<_> = links(text).into_iter().map(|(_, t)| t).collect();
    assert_eq!(found, ["y.md", "w.md#part", "r.md"]);
}

//! What the architecture tests look at: the crates of the workspace with their
//! dependencies, and the files of the repository.
//!
//! Owns the looking only. The rules are tables in `tests/`, one file a subject;
//! the reasons for them are in ARCHITECTURE.md.

#![forbid(unsafe_code)]

pub mod code;

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .map(Path::to_owned)
        .unwrap_or_default()
}

/// What a dependency is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The crate itself.
    Normal,
    /// Its build script.
    Build,
    /// Its tests.
    Dev,
}

/// A dependency as a manifest has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// Name of the package in its registry, whatever it is called here.
    pub package: String,
    /// What for.
    pub kind: Kind,
}

/// A crate of the workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// Name.
    pub name: String,
    /// Directory, from the root.
    pub folder: String,
    /// What its manifest names.
    pub dependencies: Vec<Dependency>,
}

/// The crates of the workspace, as cargo sees them.
///
/// # Panics
/// When cargo cannot read the workspace.
pub fn packages() -> Vec<Package> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo metadata: {error}");
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo prints JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    packages.iter().map(package).collect()
}

fn package(value: &Value) -> Package {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let manifest = PathBuf::from(text(&value["manifest_path"]));
    let folder = manifest.parent().and_then(|p| p.strip_prefix(root()).ok());
    let dependencies = value["dependencies"].as_array().expect("dependencies");
    Package {
        name: text(&value["name"]),
        folder: folder.unwrap_or(Path::new("")).display().to_string(),
        dependencies: dependencies
            .iter()
            .map(|d| Dependency {
                package: text(&d["name"]),
                kind: match d["kind"].as_str() {
                    Some("build") => Kind::Build,
                    Some("dev") => Kind::Dev,
                    _ => Kind::Normal,
                },
            })
            .collect(),
    }
}

/// The packages that the shipped part of `package` is built from, itself
/// included, as `cargo tree` resolves them for this platform.
///
/// # Panics
/// When cargo cannot resolve the workspace.
pub fn built_from(package: &str) -> Vec<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args([
            "tree",
            "--edges",
            "normal",
            "--prefix",
            "none",
            "--package",
            package,
        ])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo tree: {error}");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut names: Vec<String> = text
        .lines()
        .filter_map(|line| line.split(' ').next())
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect();
    names.sort();
    names.dedup();
    names
}

/// The files of the repository, from the root: what git tracks, or without git
/// (an unpacked source archive) all that is there beside build results.
pub fn files() -> Vec<String> {
    let listed = Command::new("git")
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .current_dir(root())
        .output();
    if let Ok(output) = listed
        && output.status.success()
    {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let names = text.split('\0').filter(|name| !name.is_empty());
        // A file that is deleted but not committed is still listed.
        let there = |name: &&str| root().join(name).is_file();
        return names.filter(there).map(str::to_owned).collect();
    }
    let mut found = Vec::new();
    walk(&root(), &mut found);
    found.sort();
    found
}

fn walk(folder: &Path, found: &mut Vec<String>) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if name == ".git" || name.starts_with("target") {
            continue;
        }
        if path.is_dir() {
            walk(&path, found);
        } else if let Ok(inside) = path.strip_prefix(root()) {
            found.push(inside.display().to_string());
        }
    }
}

/// The Rust files that people wrote, with their text.
///
/// # Panics
/// When one cannot be read.
pub fn sources() -> Vec<(String, String)> {
    let written = |name: &String| {
        name.ends_with(".rs") && !name.contains("/generated/") && !name.contains("/testdata/")
    };
    files().into_iter().filter(written).map(read).collect()
}

/// A file of the repository with its text.
///
/// # Panics
/// When it cannot be read as text.
pub fn read(name: String) -> (String, String) {
    let text = std::fs::read_to_string(root().join(&name));
    let text = text.unwrap_or_else(|error| panic!("{name}: {error}"));
    (name, text)
}

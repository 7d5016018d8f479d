//! The normal form beside that of the genuine Docker CLI, byte for byte.
//!
//! Needs a `docker` that knows `stack config` (it asks no daemon). Without one
//! the comparison is skipped, and says so. `SKEP_ORACLE_DIR` names a further
//! directory of stack files to compare.

mod common;

use common::{Case, cases, testdata};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Files whose normal form differs on purpose, and why.
const DIFFERENT: &[(&str, &str)] = &[
    ("beside-deploy.yml", "Docker knows format 3 alone"),
    ("compose-keys.yml", "Docker knows format 3 alone"),
    ("compose-spec.yml", "Docker knows format 3 alone"),
    ("contents.yml", "Docker knows format 3 alone"),
    ("depends-on.yml", "Docker knows format 3 alone"),
    ("env-file-long.yml", "Docker knows format 3 alone"),
    ("extends.yml", "Docker knows format 3 alone"),
    ("ignored.yml", "Docker knows format 3 alone"),
    ("include.yml", "Docker knows format 3 alone"),
    ("named.yml", "Docker knows format 3 alone"),
    ("namespaces.yml", "Docker knows format 3 alone"),
    ("profiles.yml", "Docker knows format 3 alone"),
    ("profiles-all.yml", "Docker knows format 3 alone"),
    ("profiles-variable.yml", "Docker knows format 3 alone"),
    ("security.yml", "Docker knows format 3 alone"),
    ("version-2.yml", "Docker knows format 3 alone"),
    (
        "version-too-new.yml",
        "Docker refuses a file for its version",
    ),
    (
        "version-too-old-for-key.yml",
        "Docker refuses a file for its version",
    ),
    (
        "versions-differ.yml",
        "Docker refuses files for their versions",
    ),
    ("jobs.yml", "Docker refuses keys of ours below `deploy`"),
    ("progress.yml", "Docker refuses keys of ours below `deploy`"),
    (
        "spreading.yml",
        "Docker refuses keys of ours below `deploy`",
    ),
    (
        "rebalance.yml",
        "Docker refuses keys of ours below `deploy`",
    ),
    (
        "interpolation.yml",
        "`$V-x` and nested forms follow the Compose Specification",
    ),
    (
        "merge.yml",
        "udp and tcp twins stay apart, a health check replaces",
    ),
    (
        "merge-says.yml",
        "what a later file says counts, also no, nothing and zero; networks are united",
    ),
    ("marks.yml", "Docker knows neither `!reset` nor `!override`"),
    ("marks-alone.yml", "as marks.yml"),
    (
        "readiness.yml",
        "Docker reads over `x-readiness`: it has no normal form there",
    ),
    ("oom.yml", "Docker loses oom_score_adj and limits of zero"),
    (
        "octal-text.yml",
        "a mode in quotes with a leading zero is octal",
    ),
    (
        "casts.yml",
        "Docker takes typed text only where a variable stood",
    ),
];

/// Variables that files from elsewhere ask for.
const SITE: [(&str, &str); 6] = [
    ("DOMAIN", "example.com"),
    ("EMAIL", "me@example.com"),
    ("USERNAME", "me"),
    ("HASHED_PASSWORD", "$apr1$abc$def"),
    ("ADMIN_USER", "me"),
    ("ADMIN_PASSWORD", "secret"),
];

/// What the Docker CLI prints; `None` when it refuses the file.
fn docker(files: &[PathBuf], env: &[(&str, &str)]) -> Option<String> {
    let mut command = Command::new("docker");
    command.args(["stack", "config"]);
    for file in files {
        command.arg("-c").arg(file);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    command
        .env_clear()
        .env("PATH", path)
        .env("HOME", "/nonexistent");
    command.envs(env.iter().copied());
    let output = command.output().expect("docker runs");
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

fn docker_is_here() -> bool {
    let found = Command::new("docker")
        .args(["stack", "config", "--help"])
        .output()
        .is_ok_and(|o| o.status.success());
    if !found {
        let message = "SKIPPED: there is no docker CLI to compare normal forms with\n";
        // Past the capture of the test harness: a skip must be seen.
        let _ = std::io::stderr().lock().write_all(message.as_bytes());
    }
    found
}

fn ours(files: &[PathBuf], env: &[(&str, &str)]) -> Result<String, String> {
    let texts: Vec<(String, String)> = files
        .iter()
        .map(|f| (f.display().to_string(), std::fs::read_to_string(f).unwrap()))
        .collect();
    let borrowed: Vec<(&str, &str)> = texts
        .iter()
        .map(|(n, t)| (n.as_str(), t.as_str()))
        .collect();
    let lookup = |name: &str| {
        let own = env
            .iter()
            .find(|(n, _)| *n == name)
            .map(|(_, v)| (*v).to_owned());
        own.or_else(|| (name == "HOME").then(|| "/nonexistent".to_owned()))
    };
    let input = skep_stacks::LoadInput {
        files: &borrowed,
        stack: Some("st"),
        profiles: &[],
        env: &lookup,
        env_files: &[],
        read: &|path: &Path| std::fs::read(path),
        workdir: files[0].parent().unwrap(),
    };
    skep_stacks::normalize(input, true)
        .map(|n| n.yaml)
        .map_err(|d| d.to_string())
}

/// `None`: Docker refuses the file, so that there is nothing to compare.
fn compare(files: &[PathBuf], env: &[(&str, &str)]) -> Option<Result<(), String>> {
    let theirs = docker(files, env)?;
    Some(same(files, theirs, ours(files, env)))
}

fn same(files: &[PathBuf], theirs: String, ours: Result<String, String>) -> Result<(), String> {
    let shown = files[0].display();
    let ours = ours.map_err(|diagnostics| format!("{shown} is refused:\n{diagnostics}"))?;
    if theirs == ours {
        return Ok(());
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let name = files[0].file_name().unwrap_or_default().to_string_lossy();
    let (docker, skep) = (
        folder.join(format!("{name}.docker")),
        folder.join(format!("{name}.skep")),
    );
    std::fs::write(&docker, theirs).unwrap();
    std::fs::write(&skep, ours).unwrap();
    let difference = Command::new("diff").arg("-u").args([docker, skep]).output();
    let text = difference.map(|o| String::from_utf8_lossy(&o.stdout).into_owned());
    Err(format!("{shown} differs\n{}", text.unwrap_or_default()))
}

#[test]
fn the_normal_form_is_that_of_the_docker_cli() {
    if !docker_is_here() {
        return;
    }
    let mut wrong = Vec::new();
    let mut compared = 0;
    let all: Vec<Case> = ["good", "normal"].iter().flat_map(|f| cases(f)).collect();
    for case in &all {
        let name = case.path.file_name().unwrap().to_string_lossy();
        if DIFFERENT.iter().any(|(n, _)| *n == name) {
            continue;
        }
        let files: Vec<PathBuf> = case
            .files
            .iter()
            .map(|(n, _)| case.workdir.join(n))
            .collect();
        let env: Vec<(&str, &str)> = case
            .env
            .iter()
            .map(|(k, v)| (k.as_str(), v.as_str()))
            .collect();
        compared += 1;
        match compare(&files, &env) {
            Some(result) => wrong.extend(result.err()),
            None => wrong.push(format!("{name} is refused by docker")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(
        compared > 0,
        "nothing under {} was compared",
        testdata().display()
    );
}

#[test]
fn files_from_elsewhere_have_the_normal_form_of_the_docker_cli() {
    let Some(folder) = std::env::var_os("SKEP_ORACLE_DIR").filter(|_| docker_is_here()) else {
        return;
    };
    let mut wrong = Vec::new();
    let mut all: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "yml" || e == "yaml"))
        .collect();
    all.sort();
    for file in &all {
        match compare(std::slice::from_ref(file), &SITE) {
            Some(result) => wrong.extend(result.err()),
            None => eprintln!("{} is refused by docker", file.display()),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_from_elsewhere_load() {
    let Some(folder) = std::env::var_os("SKEP_ORACLE_DIR") else {
        return;
    };
    let mut wrong = Vec::new();
    let mut all: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "yml" || e == "yaml"))
        .collect();
    all.sort();
    for file in &all {
        let text = std::fs::read_to_string(file).unwrap();
        let name = file
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let files = [(name.as_str(), text.as_str())];
        let lookup = |name: &str| {
            let found = SITE.iter().find(|(n, _)| *n == name);
            found.map(|(_, v)| (*v).to_owned())
        };
        let input = skep_stacks::LoadInput {
            files: &files,
            stack: Some("st"),
            profiles: &[],
            env: &lookup,
            env_files: &[],
            // What the files name is not beside them.
            read: &|_: &Path| Ok(b"CONTENT=x".to_vec()),
            workdir: file.parent().unwrap(),
        };
        match skep_stacks::load(input) {
            Ok(loaded) => {
                println!("== {name}: {} services", loaded.stack.services.len());
                for warning in &loaded.warnings {
                    println!("{warning}");
                }
            }
            Err(diagnostics) => wrong.push(format!("== {name}\n{diagnostics}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

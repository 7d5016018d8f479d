//! Golden tests: every file under `testdata/good` gives the specs and warnings
//! beside it, every file under `testdata/broken` the diagnostics beside it, every file under
//! `testdata/normal` the normal form beside it.
//!
//! `UPDATE_EXPECTED=1` writes what is found; read the diff before believing it.
//! Lines of the form `# env: NAME=value` set the environment of a file, `# env-file: NAME.env`
//! gives it a `.env` file, `# with: OTHER.yml` puts another file on top.

mod common;

use common::{Case, cases};
use skep_types::StackSpec;
use std::fmt::Write as _;
use std::fs;
use std::sync::Arc;

fn found(case: &Case) -> Result<String, String> {
    let mut out = String::new();
    match skep_stacks::load(case.input()) {
        Ok(loaded) => {
            for warning in &loaded.warnings {
                let _ = writeln!(out, "{warning}");
            }
            // The normal form has tests of its own.
            let stack = StackSpec {
                source: Arc::default(),
                ..loaded.stack
            };
            out.push_str(&said(&format!("{stack:#?}")));
            Ok(out)
        }
        Err(diagnostics) => Err(format!("{diagnostics}\n")),
    }
}

/// What a debug text says beyond defaults: a new field that nobody sets shows
/// in no expectation.
fn said(debug: &str) -> String {
    const NOTHING: [&str; 7] = ["[],", "{},", "None,", "\"\",", "false,", "0,", "Private,"];
    let lines = debug.lines().filter(|line| {
        let value = line.split_once(": ").map(|(_, value)| value);
        !value.is_some_and(|v| NOTHING.contains(&v))
    });
    lines.fold(String::new(), |out, line| out + line + "\n")
}

fn normal(case: &Case) -> Result<String, String> {
    let normal = skep_stacks::normalize(case.input(), true);
    let normal = normal.map_err(|diagnostics| format!("{diagnostics}\n"))?;
    let warnings = normal.warnings.iter().map(|w| format!("{w}\n"));
    Ok(warnings.collect::<String>() + &normal.yaml)
}

fn check(folder: &str, least: usize, good: bool, found: impl Fn(&Case) -> Result<String, String>) {
    let cases = cases(folder);
    assert!(
        cases.len() >= least,
        "{folder} has only {} files",
        cases.len()
    );
    let mut wrong = Vec::new();
    for case in &cases {
        let (text, ok) = match found(case) {
            Ok(text) => (text, true),
            Err(text) => (text, false),
        };
        if ok != good {
            let state = if ok { "loads" } else { "does not load" };
            wrong.push(format!("{} {state}:\n{text}", case.path.display()));
            continue;
        }
        let expected = case.path.with_extension("expected");
        if std::env::var_os("UPDATE_EXPECTED").is_some() {
            fs::write(&expected, &text).unwrap();
        }
        let wanted = fs::read_to_string(&expected).unwrap_or_default();
        if text != wanted {
            wrong.push(format!(
                "{}\n--- expected\n{wanted}\n--- found\n{text}",
                case.path.display()
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn good_files_give_the_specs_and_warnings_beside_them() {
    check("good", 25, true, found);
}

#[test]
fn broken_files_give_the_diagnostics_beside_them() {
    check("broken", 100, false, found);
}

#[test]
fn files_have_the_normal_form_beside_them() {
    check("normal", 5, true, normal);
}

#[test]
fn every_error_says_where() {
    for case in cases("broken") {
        let Err(diagnostics) = skep_stacks::load(case.input()) else {
            continue;
        };
        assert!(diagnostics.errors().count() > 0, "{}", case.path.display());
        for error in diagnostics.errors() {
            let placed = error.location.is_some() || !error.path.is_empty();
            assert!(placed, "{}: {error}", case.path.display());
        }
    }
}

/// The codes of the lines that are findings.
fn codes_of(text: &str) -> Vec<String> {
    let found = text.lines().filter_map(|line| {
        let rest = line
            .strip_prefix("error")
            .or_else(|| line.strip_prefix("warning"))?;
        let code = rest.strip_prefix('[').and_then(|r| r.split_once("]: "));
        Some(
            code.unwrap_or_else(|| panic!("no code: {line}"))
                .0
                .to_owned(),
        )
    });
    found.collect()
}

#[test]
fn every_code_is_known_and_has_a_file_that_shows_it() {
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        // Others write now what this reads.
        return;
    }
    let mut shown = std::collections::BTreeSet::new();
    for folder in ["good", "broken", "normal"] {
        for case in cases(folder) {
            let expected = case.path.with_extension("expected");
            let text = fs::read_to_string(&expected).unwrap();
            let codes = codes_of(&text);
            assert!(folder != "broken" || !codes.is_empty(), "{expected:?}");
            shown.extend(codes);
        }
    }
    let known = skep_stacks::codes()
        .map(|code| code.id.to_owned())
        .collect();
    assert_eq!(shown, known);
}

/// A number that was given once means the same for ever: lines are only added. The title
/// may be worded better, and a code that is no longer used keeps its line.
#[test]
fn codes_mean_what_they_always_meant() {
    let path = common::testdata().join("codes.txt");
    let lines = skep_stacks::codes().map(|code| format!("{} {}\n", code.id, code.title));
    let found: String = lines.collect();
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        fs::write(&path, &found).unwrap();
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), found);
}

//! The variables that stand for `$NAME`: the caller's, then those of its `.env` files.
//!
//! Owns which of them wins and what is said of the files. Their grammar is `dotenv`'s; the
//! environment of containers is `normal/env`'s.

use crate::codes;
use crate::diagnostic::{Place, Report, Severity};
use crate::dotenv;
use crate::interpolate::Env;
use crate::parse::MOST_BYTES;
use std::collections::BTreeMap;

/// The variables of files, later ones on top. The first of the files is number `first` of
/// those that findings are about.
pub(crate) fn read(
    files: &[(&str, &str)],
    first: usize,
    env: Env<'_>,
    report: &mut Report,
) -> BTreeMap<String, String> {
    let mut variables: BTreeMap<String, String> = BTreeMap::new();
    for (number, (path, text)) in files.iter().enumerate() {
        if text.len() > MOST_BYTES {
            let message =
                format!("the file {path} is too large; at most {MOST_BYTES} bytes are read");
            report.error(codes::FILE_SIZE, None, "", message);
            continue;
        }
        let known = |name: &str| env(name).or_else(|| variables.get(name).cloned());
        let parsed = dotenv::parse(text, &known);
        for fault in parsed.faults {
            let place = Some(Place {
                // More files than that have been refused.
                file: u16::try_from(first + number).unwrap_or(u16::MAX),
                line: fault.line,
                column: fault.column,
                width: 1,
            });
            let (code, message) = (fault.code, fault.message);
            match (fault.severity, fault.help) {
                (Severity::Error, Some(help)) => {
                    report.error_help(code, place, "", message, help);
                }
                (Severity::Error, None) => report.error(code, place, "", message),
                (Severity::Warning, Some(help)) => report.warn_help(code, place, "", message, help),
                (Severity::Warning, None) => report.warn(code, place, "", message),
            }
        }
        variables.extend(parsed.variables);
    }
    variables
}

//! What a file says about the version of its format: information, no more.

use crate::codes;
use crate::diagnostic::Report;
use crate::tree::Node;

/// The newest minor version of format 3.
const NEWEST: u8 = 13;
/// The newest minor version of format 2, whose keys the Compose Specification has.
const NEWEST_OF_2: u8 = 4;

/// The minor version of format 3 that a file says it is in, if it says one that there is.
pub(super) fn minor(root: &Node, report: &mut Report) -> Option<u8> {
    let node = root.get("version")?;
    let place = Some(node.place);
    let Some(text) = node.as_str() else {
        let shown = node.scalar_text().unwrap_or_else(|| "3.13".to_owned());
        let message = format!("the version is {}, not text", node.kind());
        let help = format!("write version: \"{shown}\"");
        report.error_help(codes::WRONG_TYPE, place, "version", message, help);
        return None;
    };
    let (major, minor) = text.split_once('.').unwrap_or((text, ""));
    let number = match minor {
        "" => None,
        minor => minor.parse::<u8>().ok(),
    };
    match (major, minor, number) {
        ("" | "2" | "3", "", None) => None,
        ("3", _, Some(number)) if number <= NEWEST => Some(number),
        ("2", _, Some(number)) if number <= NEWEST_OF_2 => None,
        _ => {
            let message = format!("version {text:?} is not known; the newest rules apply");
            let help = "leave the key out: it changes nothing";
            report.warn_help(codes::VERSION, place, "version", message, help);
            None
        }
    }
}

//! `!reset` and `!override`: what a file takes away from those before it.
//!
//! Both come to the same: a path that is cleared before the file is put on top. What is
//! reset is not in the file itself, either.

use crate::codes;
use crate::diagnostic::Report;
use crate::tree::{Mark, Node, Value, join};

/// Keys from the top of a file down.
pub(crate) type Path = Vec<String>;

/// Takes the marks of a file off, and what is reset out of it. Gives the paths to be
/// cleared in the files before it.
pub(crate) fn take(root: &mut Node, report: &mut Report) -> Vec<Path> {
    let mut cleared = Vec::new();
    below(root, &mut Vec::new(), &mut cleared, report);
    cleared
}

fn below(node: &mut Node, path: &mut Path, cleared: &mut Vec<Path>, report: &mut Report) {
    match &mut node.value {
        Value::Map(entries) => entries.retain_mut(|entry| {
            path.push(entry.key.clone());
            let mark = std::mem::take(&mut entry.value.mark);
            if mark != Mark::None {
                cleared.push(path.clone());
            }
            if mark != Mark::Reset {
                below(&mut entry.value, path, cleared, report);
            }
            path.pop();
            mark != Mark::Reset
        }),
        Value::List(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                if item.mark != Mark::None {
                    let path = path.iter().fold(String::new(), |all, key| join(&all, key));
                    let path = format!("{path}[{index}]");
                    let message = "an item of a list cannot be reset or overridden by itself";
                    let help = "mark the whole list, and write again what is to stay of it";
                    report.error_help(codes::MARK_IN_LIST, Some(item.place), &path, message, help);
                }
                item.mark = Mark::None;
                below(item, path, cleared, report);
            }
        }
        _ => {}
    }
}

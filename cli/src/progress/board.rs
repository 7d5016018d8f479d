//! Lines that change: drawn over one another on a terminal, said once each elsewhere.

use crate::human::ellipsis;
use crate::output::{is_terminal, raw, terminal_size};
use anyhow::Result;
use std::fmt::Write as _;

/// Where lines are drawn.
#[derive(Debug, Default)]
pub struct Board {
    /// What was shown last.
    shown: Vec<String>,
    /// Lines of the terminal that it took.
    drawn: usize,
}

impl Board {
    /// Shows these lines in place of those before.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub fn show(&mut self, lines: Vec<String>) -> Result<()> {
        if lines == self.shown {
            return Ok(());
        }
        let text = if is_terminal() {
            let fitted = fit(&lines, terminal_size());
            let text = redraw(self.drawn, &fitted);
            self.drawn = fitted.len();
            text
        } else {
            let new = lines.iter().filter(|line| !self.shown.contains(line));
            new.map(|line| format!("{line}\n")).collect()
        };
        self.shown = lines;
        Ok(raw(text.as_bytes())?)
    }
}

/// What of the lines a terminal of so many columns and rows can show. What is longer or
/// more would move what was drawn before out of reach of the next drawing.
fn fit(lines: &[String], (columns, rows): (usize, usize)) -> Vec<String> {
    // The cursor is on a line of its own below them.
    let room = rows.saturating_sub(1).max(1);
    let mut out: Vec<String> = lines
        .iter()
        .map(|line| ellipsis(line, columns.max(20)))
        .collect();
    if out.len() > room {
        out.truncate(room - 1);
        out.push(format!("... {} more", lines.len() - out.len()));
    }
    out
}

/// Draws over the lines drawn before.
fn redraw(before: usize, lines: &[String]) -> String {
    let mut text = String::new();
    if before > 0 {
        // Writing to a string cannot fail.
        let _ = write!(text, "\x1b[{before}A");
    }
    for line in lines {
        let _ = writeln!(text, "\x1b[2K{line}");
    }
    // Lines that are left of a longer drawing.
    text.push_str("\x1b[J");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drawing_covers_the_one_before() {
        let lines = ["a".to_owned(), "b".to_owned()];
        assert_eq!(redraw(0, &lines), "\x1b[2Ka\n\x1b[2Kb\n\x1b[J");
        assert!(redraw(3, &lines).starts_with("\x1b[3A\x1b[2Ka\n"));
    }

    #[test]
    fn a_drawing_never_outgrows_the_terminal() {
        let lines: Vec<String> = (1..=30).map(|n| format!("line {n}")).collect();
        assert_eq!(fit(&lines, (80, 31)), lines);
        let fitted = fit(&lines, (80, 5));
        assert_eq!(fitted, ["line 1", "line 2", "line 3", "... 27 more"]);
        assert_eq!(fit(&lines, (80, 1)), ["... 30 more"]);
        let long = ["x".repeat(100)];
        assert_eq!(fit(&long, (30, 24))[0].chars().count(), 30);
    }
}

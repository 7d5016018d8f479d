//! Lines that change: drawn over one another on a terminal, said once each elsewhere.

use crate::human::ellipsis;
use crate::output::{raw, terminal_size};
use crate::style::{Style, Tone, stdout_draws};
use anyhow::Result;
use std::fmt::Write as _;
use std::ops::Range;

/// A line, and which of its characters have a colour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    text: String,
    toned: Option<(Range<usize>, Tone)>,
}

impl From<String> for Line {
    fn from(text: String) -> Self {
        Line { text, toned: None }
    }
}

impl Line {
    /// With a colour for these characters.
    #[must_use]
    pub fn toned(self, characters: Range<usize>, tone: Tone) -> Self {
        let toned = Some((characters, tone));
        Line { toned, ..self }
    }

    /// Cut to so many characters.
    #[must_use]
    pub fn cut(self, columns: usize) -> Self {
        let text = ellipsis(&self.text, columns.max(20));
        Line { text, ..self }
    }

    /// As it goes to the terminal.
    fn painted(&self, style: Style) -> String {
        let Some((Range { start, end }, tone)) = self.toned.clone() else {
            return self.text.clone();
        };
        let part = |from: usize, to: usize| -> String {
            let rest = self.text.chars().skip(from);
            rest.take(to.saturating_sub(from)).collect()
        };
        let toned = style.paint(tone, &part(start, end));
        format!("{}{toned}{}", part(0, start), part(end, usize::MAX))
    }
}

#[cfg(test)]
impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

/// Where lines are drawn.
#[derive(Debug, Default)]
pub struct Board {
    /// What was shown last.
    shown: Vec<Line>,
    /// Lines of the terminal that it took.
    drawn: usize,
}

impl Board {
    /// Shows these lines in place of those before.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub fn show(&mut self, lines: Vec<Line>) -> Result<()> {
        if lines == self.shown {
            return Ok(());
        }
        let text = if stdout_draws() {
            let fitted = fit(&lines, terminal_size());
            let text = redraw(self.drawn, &fitted, Style::stdout());
            self.drawn = fitted.len();
            text
        } else {
            let new = lines.iter().filter(|line| !self.shown.contains(line));
            new.map(|line| format!("{}\n", line.text)).collect()
        };
        self.shown = lines;
        Ok(raw(text.as_bytes())?)
    }
}

/// What of the lines a terminal of so many columns and rows can show. What is longer or
/// more would move what was drawn before out of reach of the next drawing.
fn fit(lines: &[Line], (columns, rows): (usize, usize)) -> Vec<Line> {
    // The cursor is on a line of its own below them.
    let room = rows.saturating_sub(1).max(1);
    let cut = lines.iter().map(|line| line.clone().cut(columns));
    let mut out: Vec<Line> = cut.collect();
    if out.len() > room {
        out.truncate(room - 1);
        out.push(format!("... {} more", lines.len() - out.len()).into());
    }
    out
}

/// Draws over the lines drawn before.
fn redraw(before: usize, lines: &[Line], style: Style) -> String {
    let mut text = String::new();
    if before > 0 {
        // Writing to a string cannot fail.
        let _ = write!(text, "\x1b[{before}A");
    }
    for line in lines {
        let _ = writeln!(text, "\x1b[2K{}", line.painted(style));
    }
    // Lines that are left of a longer drawing.
    text.push_str("\x1b[J");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(texts: &[&str]) -> Vec<Line> {
        let texts = texts.iter().map(|text| (*text).to_owned());
        texts.map(Line::from).collect()
    }

    #[test]
    fn a_drawing_covers_the_one_before() {
        let lines = lines(&["a", "b"]);
        let plain = Style::default();
        assert_eq!(redraw(0, &lines, plain), "\x1b[2Ka\n\x1b[2Kb\n\x1b[J");
        assert!(redraw(3, &lines, plain).starts_with("\x1b[3A\x1b[2Ka\n"));
    }

    #[test]
    fn a_drawing_never_outgrows_the_terminal() {
        let texts: Vec<String> = (1..=30).map(|n| format!("line {n}")).collect();
        let all: Vec<Line> = texts.into_iter().map(Line::from).collect();
        assert_eq!(fit(&all, (80, 31)), all);
        let shown = lines(&["line 1", "line 2", "line 3", "... 27 more"]);
        assert_eq!(fit(&all, (80, 5)), shown);
        assert_eq!(fit(&all, (80, 1)), lines(&["... 30 more"]));
        let long = [Line::from("x".repeat(100))];
        assert_eq!(fit(&long, (30, 24))[0].text.chars().count(), 30);
    }

    #[test]
    fn colours_take_no_room() {
        let line = Line::from("wéb  failed  exit code 3".to_owned()).toned(5..11, Tone::Bad);
        let cut = line.clone().cut(22).painted(Style::COLOURED);
        assert_eq!(cut, "wéb  \x1b[31mfailed\x1b[0m  exit cod…");
        assert_eq!(line.painted(Style::default()), "wéb  failed  exit code 3");
        let line = Line::from("a".repeat(30)).toned(18..25, Tone::Bad).cut(20);
        let cut = line.painted(Style::COLOURED);
        assert_eq!(cut, format!("{}\x1b[31ma…\x1b[0m", "a".repeat(18)));
    }
}

//! The line of a file that a finding is about.
//!
//! Owns how lines are counted (as the YAML reader counts them), and how one is cut and made
//! fit to be shown. How it is laid out is `render`'s.

use crate::diagnostic::{Diagnostic, Place};
use std::collections::HashMap;

/// Most characters of a line that are shown.
const MOST_SHOWN: usize = 160;
/// Characters that are kept before the place when a line is cut.
const BEFORE: usize = 60;

/// A line of a file and the part of it that a finding is about, in characters from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excerpt {
    /// The line: one cell a character, cut around the place when it is long.
    pub text: String,
    /// Where the part begins.
    pub start: usize,
    /// How long it is, at least 1.
    pub width: usize,
}

/// Gives each finding with a place its line of `files`, each a number and a text.
pub(crate) fn attach<'t>(
    found: &mut [(Option<Place>, Diagnostic)],
    files: impl Iterator<Item = (usize, &'t str)>,
) {
    for (number, text) in files {
        let mut wanted: HashMap<usize, Vec<&mut (Option<Place>, Diagnostic)>> = HashMap::new();
        for finding in found.iter_mut() {
            if let Some(place) = finding.0
                && usize::from(place.file) == number
            {
                wanted.entry(place.line as usize).or_default().push(finding);
            }
        }
        if wanted.is_empty() {
            continue;
        }
        for (index, line) in lines(text).enumerate() {
            let Some(findings) = wanted.remove(&(index + 1)) else {
                continue;
            };
            let line = Line::new(line);
            for (place, diagnostic) in findings {
                diagnostic.excerpt = place.map(|place| line.cut(place));
            }
        }
    }
}

/// Lines end with a line feed, a carriage return, or both.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    text.split('\n')
        .flat_map(|line| line.strip_suffix('\r').unwrap_or(line).split('\r'))
}

/// A line that is cut in many places: where every so many characters begin, so that a line
/// of megabytes is counted once.
struct Line<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

/// Characters between two starts.
const STRIDE: usize = 1024;

impl<'a> Line<'a> {
    fn new(text: &'a str) -> Self {
        let text = text.trim_end();
        let starts = text.char_indices().step_by(STRIDE).map(|(at, _)| at);
        let starts = starts.collect();
        Line { text, starts }
    }

    /// The characters from that number on.
    fn from(&self, number: usize) -> impl Iterator<Item = char> {
        let start = self.starts.get(number / STRIDE);
        let rest = start.map_or("", |start| &self.text[*start..]);
        rest.chars().skip(number % STRIDE)
    }

    fn cut(&self, place: Place) -> Excerpt {
        let column = (place.column as usize).saturating_sub(1);
        let from = match self.from(MOST_SHOWN).next() {
            None => 0,
            Some(_) => column.saturating_sub(BEFORE),
        };
        let mut text = String::new();
        if from > 0 {
            text.push('…');
        }
        text.extend(self.from(from).take(MOST_SHOWN).map(visible));
        let start = column - from + usize::from(from > 0);
        let left = text.chars().count().saturating_sub(start);
        if self.from(from + MOST_SHOWN).next().is_some() {
            text.push('…');
        }
        Excerpt {
            text,
            start,
            width: usize::from(place.width).clamp(1, left.max(1)),
        }
    }
}

/// Tabs are one cell; what would move the cursor of a terminal is not shown.
pub(crate) fn visible(c: char) -> char {
    match c {
        '\t' => ' ',
        c if c.is_control()
            || matches!(c, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') =>
        {
            '\u{fffd}'
        }
        c => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(column: u32, width: u16) -> Place {
        Place {
            file: 0,
            line: 1,
            column,
            width,
        }
    }

    fn cut(line: &str, place: Place) -> Excerpt {
        Line::new(line).cut(place)
    }

    #[test]
    fn lines_end_as_yaml_ends_them() {
        let all: Vec<&str> = lines("\u{feff}a\nb\r\nc\rd\n").collect();
        assert_eq!(all, ["a", "b", "c", "d", ""]);
    }

    #[test]
    fn a_short_line_is_shown_whole() {
        let found = cut("\timage:\u{1b} nginx  ", at(2, 99));
        assert_eq!(found.text, " image:\u{fffd} nginx");
        assert_eq!((found.start, found.width), (1, 13));
    }

    #[test]
    fn a_place_behind_the_line_has_a_width_of_one() {
        let found = cut("a", at(9, 4));
        assert_eq!((found.start, found.width), (8, 1));
    }

    #[test]
    fn a_long_line_is_cut_around_the_place() {
        let line = format!("{}X{}", "a".repeat(500), "b".repeat(500));
        let found = cut(&line, at(501, 400));
        assert_eq!(found.text.chars().count(), MOST_SHOWN + 2);
        assert_eq!(found.text.chars().nth(found.start), Some('X'));
        assert_eq!(found.start + found.width, MOST_SHOWN + 1);
        assert!(found.text.starts_with('…') && found.text.ends_with('…'));

        let far = format!("{}Ä", "ä".repeat(5000));
        let found = cut(&far, at(5001, 9));
        assert_eq!(found.text.chars().nth(found.start), Some('Ä'));
        assert_eq!((found.start, found.width), (BEFORE + 1, 1));

        let found = cut(&line, at(1, 1));
        assert_eq!(found.start, 0);
        assert!(found.text.starts_with('a') && found.text.ends_with('…'));
    }
}

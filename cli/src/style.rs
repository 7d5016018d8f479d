//! Colours: where there are any, and what they mean.
//!
//! They only say once more what the words say. Those of findings about stack files are
//! `skep_stacks`'s, those of usage errors the argument parser's, by the same rule.

use std::ffi::OsStr;
use std::io::{self, IsTerminal};

/// What a colour says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// As it should be.
    Good,
    /// On its way, or not quite as it should be.
    Busy,
    /// Wrong.
    Bad,
    /// Of the past.
    Faint,
}

/// Whether text has colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Style(bool);

impl Style {
    /// That of standard output.
    pub fn stdout() -> Self {
        Style(draws(io::stdout().is_terminal()) && wanted())
    }

    /// That of standard error.
    pub fn stderr() -> Self {
        Style(draws(io::stderr().is_terminal()) && wanted())
    }

    /// Whether there are colours.
    pub fn is_coloured(self) -> bool {
        self.0
    }

    /// The text in its colour.
    pub fn paint(self, tone: Tone, text: &str) -> String {
        if !self.0 || text.is_empty() {
            return text.to_owned();
        }
        let code = match tone {
            Tone::Good => "32",
            Tone::Busy => "33",
            Tone::Bad => "31",
            Tone::Faint => "2",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// Whether standard output is a terminal that can be drawn on.
pub fn stdout_draws() -> bool {
    draws(io::stdout().is_terminal())
}

/// A terminal that calls itself dumb knows neither colours nor a way up.
fn draws(is_terminal: bool) -> bool {
    is_terminal && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// `NO_COLOR` set to anything but nothing speaks against colours (no-color.org).
fn wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value == OsStr::new(""))
}

#[cfg(test)]
impl Style {
    /// As on a terminal.
    pub const COLOURED: Style = Style(true);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_stays_as_it_is() {
        assert_eq!(Style::default().paint(Tone::Bad, "failed"), "failed");
        let style = Style::COLOURED;
        assert_eq!(style.paint(Tone::Bad, "failed"), "\x1b[31mfailed\x1b[0m");
        assert_eq!(style.paint(Tone::Good, ""), "");
    }
}

//! Asking a person for something that nobody else may see.
//!
//! Keys are read one by one, so that Ctrl-C comes here and the terminal is left
//! as it was found.

use anyhow::{Context as _, Result, bail};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use std::fs::{File, OpenOptions};
use std::io::{BufReader, Read as _, Write as _};

/// A terminal that does not show what is typed, until it is dropped.
struct Silent<'a> {
    terminal: &'a File,
    before: Termios,
}

impl<'a> Silent<'a> {
    fn new(terminal: &'a File) -> Result<Self> {
        let before = tcgetattr(terminal).context("cannot ask on this terminal")?;
        let mut modes = before.clone();
        let hidden = LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG;
        modes.local_modes.remove(hidden);
        tcsetattr(terminal, OptionalActions::Flush, &modes).context("cannot hide what is typed")?;
        Ok(Silent { terminal, before })
    }
}

impl Drop for Silent<'_> {
    fn drop(&mut self) {
        // A terminal that has gone away shows nothing.
        let _ = tcsetattr(self.terminal, OptionalActions::Flush, &self.before);
    }
}

/// Asks on the terminal for one line, which is not shown.
///
/// # Errors
/// When there is no terminal; `instead` says what to do then.
pub fn hidden(question: &str, instead: &str) -> Result<String> {
    let opened = OpenOptions::new().read(true).write(true).open("/dev/tty");
    let Ok(mut terminal) = opened else {
        bail!("there is no terminal to ask on: {instead}");
    };
    let asked = terminal
        .try_clone()
        .context("cannot ask on this terminal")?;
    let _silent = Silent::new(&asked)?;
    write!(terminal, "{question}: ").context("cannot ask on this terminal")?;
    let line = typed(&asked);
    writeln!(terminal).context("cannot ask on this terminal")?;
    line
}

/// Says what is about to be done, and reads from standard input whether it may be.
/// Only `y` is a yes.
///
/// # Errors
/// When the terminal cannot be written to or read from.
pub fn agreed(warning: &str) -> Result<bool> {
    let question = format!("{warning}\nAre you sure you want to continue? [y/N] ");
    crate::output::raw(question.as_bytes())?;
    let mut line = String::new();
    std::io::stdin()
        .read_line(&mut line)
        .context("cannot read the answer")?;
    Ok(is_yes(&line))
}

fn is_yes(line: &str) -> bool {
    line.trim().eq_ignore_ascii_case("y")
}

/// The keys up to the end of the line.
fn typed(keys: impl std::io::Read) -> Result<String> {
    const INTERRUPT: u8 = 0x03;
    const END: u8 = 0x04;
    const BACKSPACE: [u8; 2] = [0x08, 0x7f];
    const CLEAR: u8 = 0x15;
    let mut line = Vec::new();
    for key in BufReader::new(keys).bytes() {
        match key.context("cannot read the answer")? {
            b'\r' | b'\n' | END => break,
            INTERRUPT => bail!("cancelled"),
            CLEAR => line.clear(),
            key if BACKSPACE.contains(&key) => {
                // A character may be several bytes.
                while line.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {}
            }
            key => line.push(key),
        }
    }
    String::from_utf8(line).context("the answer is not UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_y_is_a_yes() {
        assert!(is_yes("y\n") && is_yes(" Y "));
        assert!(!["", "\n", "n\n", "yes, no"].into_iter().any(is_yes));
    }

    #[test]
    fn keys_make_a_line_until_its_end() {
        let line = |keys: &str| typed(keys.as_bytes()).ok();
        assert_eq!(line("secret\r\nmore").as_deref(), Some("secret"));
        assert_eq!(line("aé\u{7f}b\u{8}c\n").as_deref(), Some("ac"));
        assert_eq!(line("wrong\u{15}right\n").as_deref(), Some("right"));
        assert_eq!(line("half\u{3}"), None, "cancelled");
    }
}

//! Signals by name or number, as Docker takes them.

use nix::libc;
use std::fmt;
use std::str::FromStr;

/// A signal number from 1 to 64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StopSignal(i32);

/// Text that names no signal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseSignalError {
    /// The text as given.
    pub text: String,
}

impl fmt::Display for ParseSignalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not a signal", self.text)
    }
}

impl std::error::Error for ParseSignalError {}

impl StopSignal {
    /// Asks to end.
    pub const TERM: Self = Self(libc::SIGTERM);
    /// Ends.
    pub const KILL: Self = Self(libc::SIGKILL);

    /// The number.
    pub fn number(self) -> i32 {
        self.0
    }
}

impl FromStr for StopSignal {
    type Err = ParseSignalError;

    /// Reads `SIGTERM`, `term`, `15`, `SIGRTMIN+3` or `RTMAX-1`.
    fn from_str(text: &str) -> Result<Self, ParseSignalError> {
        let error = || ParseSignalError {
            text: text.to_owned(),
        };
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        let number = if let Ok(number) = name.parse::<i32>() {
            number
        } else if let Some(rest) = name.strip_prefix("RTMIN") {
            // The kernel's 32 and 33 belong to the C library.
            34 + offset(rest, '+').ok_or_else(error)?
        } else if let Some(rest) = name.strip_prefix("RTMAX") {
            64 - offset(rest, '-').ok_or_else(error)?
        } else {
            nix::sys::signal::Signal::from_str(&format!("SIG{name}")).map_err(|_| error())? as i32
        };
        if (1..=64).contains(&number) {
            Ok(Self(number))
        } else {
            Err(error())
        }
    }
}

/// `""` is 0, `"+3"` with the sign `+` is 3.
fn offset(text: &str, sign: char) -> Option<i32> {
    if text.is_empty() {
        return Some(0);
    }
    let number = text.strip_prefix(sign)?.parse().ok()?;
    (0..=30).contains(&number).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_read_by_name_and_number() {
        for (text, number) in [
            ("SIGTERM", 15),
            ("quit", 3),
            ("9", 9),
            ("SIGRTMIN+3", 37),
            ("RTMAX-1", 63),
            ("SIGWINCH", 28),
        ] {
            assert_eq!(text.parse(), Ok(StopSignal(number)), "{text}");
        }
        for text in ["", "SIGFOO", "0", "65", "RTMIN-3", "SIGRTMAX+99"] {
            assert!(text.parse::<StopSignal>().is_err(), "{text}");
        }
    }
}

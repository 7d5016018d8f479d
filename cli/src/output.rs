//! Standard output and standard error. `println!` would panic when the reader
//! goes away; these return the error, or drop it where nobody could hear it.

use std::fmt;
use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

/// Writes a line to standard output; `?` it.
macro_rules! say {
    ($($text:tt)*) => { $crate::output::out(format_args!($($text)*)) };
}

/// Writes a line to standard error.
macro_rules! note {
    ($($text:tt)*) => { $crate::output::err(format_args!($($text)*)) };
}

pub(crate) use {note, say};

/// Writes a line to standard output.
///
/// # Errors
/// When the reader is gone or the disk is full.
pub fn out(text: fmt::Arguments<'_>) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{text}")
}

/// Writes bytes as they are to standard output.
///
/// # Errors
/// As [`out`].
pub fn raw(bytes: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes)?;
    stdout.flush()
}

/// Writes a line to standard error. Where that fails there is nobody to tell.
pub fn err(text: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Columns of the terminal; 80 where it does not say.
pub fn terminal_width() -> usize {
    terminal_size().0
}

/// Columns and rows of the terminal; 80 and 24 where it does not say.
pub fn terminal_size() -> (usize, usize) {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok();
    let or = |said: Option<u16>, usual| match said {
        Some(said) if said > 0 => usize::from(said),
        _ => usual,
    };
    let columns = size.as_ref().map(|size| size.ws_col);
    let rows = size.as_ref().map(|size| size.ws_row);
    (or(columns, 80), or(rows, 24))
}

/// Milliseconds since the Unix epoch.
pub fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}

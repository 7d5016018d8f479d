//! What happened in a run: every line that a program logged and every note of
//! the simulation, with the simulated time and the host.
//!
//! Its hash tells whether two runs were the same.

use std::cell::RefCell;
use std::fmt::{self, Write as _};
use std::time::Duration;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Longest trace kept, in bytes; the beginning goes first.
const TRACE_MAX: usize = 64 << 20;

thread_local! {
    static TRACE: RefCell<Trace> = const { RefCell::new(Trace::new()) };
}

struct Trace {
    now: Duration,
    host: String,
    text: String,
    hash: u64,
    live: bool,
}

impl Trace {
    const fn new() -> Trace {
        Trace {
            now: Duration::ZERO,
            host: String::new(),
            text: String::new(),
            hash: BASIS,
            live: false,
        }
    }

    fn line(&mut self, what: &str) {
        let from = self.text.len();
        let (seconds, micros) = (self.now.as_secs(), self.now.subsec_micros());
        let _ = writeln!(
            self.text,
            "{seconds:>5}.{micros:06} {:>5} {what}",
            self.host
        );
        self.hash = continued(self.hash, &self.text.as_bytes()[from..]);
        if self.live {
            print!("{}", &self.text[from..]);
        }
        if self.text.len() > TRACE_MAX {
            let half = self.text.len() / 2;
            let cut = self.text[half..]
                .find('\n')
                .map_or(half, |at| half + at + 1);
            self.text.drain(..cut);
        }
    }
}

const BASIS: u64 = 0xcbf2_9ce4_8422_2325;

/// FNV-1a.
fn continued(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// A hash of these bytes.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    continued(BASIS, bytes)
}

/// Writes a line.
pub(crate) fn note(what: &str) {
    TRACE.with_borrow_mut(|trace| trace.line(what));
}

/// What is written from now on happens then, on this host.
pub(crate) fn place(now: Duration, host: &str) {
    TRACE.with_borrow_mut(|trace| {
        trace.now = now;
        host.clone_into(&mut trace.host);
    });
}

/// Prints every line when it is written, too.
pub(crate) fn print_live() {
    TRACE.with_borrow_mut(|trace| trace.live = true);
}

/// All lines, and the hash of all that were ever written.
pub(crate) fn take() -> (String, u64) {
    TRACE.with_borrow_mut(|trace| (std::mem::take(&mut trace.text), trace.hash))
}

/// Has what programs log go to the trace.
pub(crate) fn listen() {
    // One that is set already is this one.
    let _ = tracing::subscriber::set_global_default(Logs);
}

struct Logs;

impl Subscriber for Logs {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let ours = metadata.target().starts_with("skep");
        ours && *metadata.level() <= Level::DEBUG
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(format!("{} ", event.metadata().level()));
        event.record(&mut line);
        note(&line.0);
    }
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = if field.name() == "message" {
            write!(self.0, "{value:?}")
        } else {
            write!(self.0, " {}={value:?}", field.name())
        };
    }
}

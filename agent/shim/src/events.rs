//! Keeps the errors that libcontainer only tells to `tracing`.
//!
//! Its error values lose their cause ("failed to prepare rootfs"), and its
//! child processes must not write to the standard error that is the
//! container's already. So events go to an anonymous file that all of them
//! share and that closes itself when the container's program runs.

use std::fmt::{Debug, Write as _};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// More of a line does not help a user.
const LINE_MAX_BYTES: usize = 500;

/// A subscriber that writes errors to a file, one line each.
pub struct ErrorsTo(pub File);

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // Writing to a string does not fail.
        let _infallible = match field.name() {
            "message" => write!(self.0, "{value:?}"),
            name => write!(self.0, " ({name}: {value:?})"),
        };
    }
}

impl Subscriber for ErrorsTo {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::ERROR
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        line.0.push('\n');
        // There is nobody to tell that the explanation is lost.
        let _lost = (&self.0).write_all(line.0.as_bytes());
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// The first line written so far, which is nearest to the cause, without the
/// innards of error values that some lines repeat.
pub fn written(mut file: &File) -> String {
    let mut text = String::new();
    if file.seek(SeekFrom::Start(0)).is_ok() {
        let _partial = file.take(4096).read_to_string(&mut text);
    }
    let line = text.lines().next().unwrap_or_default();
    match line.split_once(" (err:") {
        // The message of a failed mount says it all, and its error is endless.
        Some((message, _)) if message.contains("Mount {") => message,
        _ => line.get(..LINE_MAX_BYTES).unwrap_or(line),
    }
    .to_owned()
}

//! One output of the container, cut into lines for the log.

use crate::log::{Log, PIECE_BYTES, Source};
use nix::errno::Errno;
use nix::unistd;
use skep_agent_shim_api::exit::unix_nanos_now;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The read end of a pipe and the line that has begun.
pub struct Output {
    /// `None` once the other end is closed.
    pipe: Option<OwnedFd>,
    source: Source,
    begun: Vec<u8>,
}

impl Output {
    /// An output on a non-blocking pipe or terminal; none is one that is closed.
    pub fn new(pipe: Option<OwnedFd>, source: Source) -> Self {
        Self {
            pipe,
            source,
            begun: Vec::new(),
        }
    }

    /// What to poll, while it is open.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }

    /// Reads what is there, once, and logs the lines that are complete.
    pub fn read(&mut self, log: &mut Log) {
        let Some(pipe) = &self.pipe else { return };
        let mut buffer = [0; PIECE_BYTES];
        match unistd::read(pipe, &mut buffer) {
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            // A terminal that everybody has closed says EIO.
            Ok(0) | Err(_) => {
                self.pipe = None;
                self.flush(log);
            }
            Ok(count) => self.take(&buffer[..count], log),
        }
    }

    fn take(&mut self, bytes: &[u8], log: &mut Log) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ends_line) = match part.split_last() {
                Some((b'\n', text)) => (text, true),
                _ => (part, false),
            };
            self.begun.extend_from_slice(text);
            let now = unix_nanos_now();
            while self.begun.len() > PIECE_BYTES {
                let cut = character_boundary(&self.begun, PIECE_BYTES);
                // A log that cannot be written must not stop the container.
                let _lost = log.add(self.source, now, &self.begun[..cut], false);
                self.begun.drain(..cut);
            }
            if ends_line {
                let _lost = log.add(self.source, now, &self.begun, true);
                self.begun.clear();
            }
        }
        if self.begun.is_empty() && self.begun.capacity() > 1024 {
            self.begun = Vec::new();
        }
    }

    /// Logs a last line that has no end.
    pub fn flush(&mut self, log: &mut Log) {
        if !self.begun.is_empty() {
            let _lost = log.add(self.source, unix_nanos_now(), &self.begun, true);
            self.begun = Vec::new();
        }
    }
}

/// The place nearest below `limit` that does not cut a UTF-8 character.
fn character_boundary(bytes: &[u8], limit: usize) -> usize {
    (limit.saturating_sub(3)..=limit)
        .rev()
        .find(|at| bytes.get(*at).is_none_or(|byte| byte & 0xc0 != 0x80))
        .unwrap_or(limit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use skep_agent_shim_api::LogConfig;
    use std::fs;

    #[test]
    fn a_long_line_is_split_and_only_its_last_piece_ends_it() -> std::io::Result<()> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("container.log");
        let mut log = Log::new(LogConfig {
            path: path.clone(),
            max_bytes: 1 << 20,
            max_files: 1,
        });
        let (read, _write) = unistd::pipe()?;
        let mut output = Output::new(Some(read), Source::Stdout);
        let mut line = "é".repeat(PIECE_BYTES);
        line.insert(0, 'x');
        line.push('\n');
        output.take(line.as_bytes(), &mut log);
        let mut pieces = Vec::new();
        for entry in fs::read_to_string(path)?.lines() {
            let entry: serde_json::Value = serde_json::from_str(entry)?;
            pieces.push(entry["log"].as_str().unwrap_or_default().to_owned());
        }
        assert_eq!(pieces.len(), 3);
        assert!(pieces[..2].iter().all(|piece| !piece.ends_with('\n')));
        assert_eq!(pieces.concat(), line);
        Ok(())
    }
}

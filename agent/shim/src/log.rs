//! Docker's json-file log: one JSON object a line, rotated by size.

use skep_agent_shim_api::{Bundle, LogConfig, time};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;

/// Longest piece of a line in one entry, in bytes; longer lines are split, and
/// only the last piece ends with a newline.
pub const PIECE_BYTES: usize = 16 * 1024;

/// Which of the two outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// The log of one container.
pub struct Log {
    config: LogConfig,
    /// `None` after an error, until the next entry tries again.
    file: Option<File>,
    size: u64,
    entry: Vec<u8>,
}

impl Log {
    /// A log that opens its file with the first entry.
    pub fn new(config: LogConfig) -> Self {
        Self {
            config,
            file: None,
            size: 0,
            entry: Vec::new(),
        }
    }

    /// Adds an entry with the time `at` (nanoseconds since 1970).
    ///
    /// # Errors
    /// The file system's; the entry is lost then, the next is tried anew.
    pub fn add(&mut self, source: Source, at: u64, text: &[u8], ends_line: bool) -> io::Result<()> {
        let mut text = String::from_utf8_lossy(text).into_owned();
        if ends_line {
            text.push('\n');
        }
        self.entry.clear();
        self.entry.extend_from_slice(b"{\"log\":");
        serde_json::to_writer(&mut self.entry, &text)?;
        let stream = match source {
            Source::Stdout => "stdout",
            Source::Stderr => "stderr",
        };
        writeln!(
            self.entry,
            ",\"stream\":\"{stream}\",\"time\":\"{}\"}}",
            time::format(at)
        )?;
        // An entry as long as a line may be is rare: give its memory back.
        let result = self.write_entry();
        if self.entry.capacity() > 4 * 1024 {
            self.entry = Vec::new();
        }
        result
    }

    fn write_entry(&mut self) -> io::Result<()> {
        let length = self.entry.len() as u64;
        if self.file.is_some() && self.size + length > self.config.max_bytes && self.size > 0 {
            self.file = None;
            self.rotate()?;
        }
        if self.file.is_none() {
            let file = OpenOptions::new()
                .append(true)
                .create(true)
                .mode(0o640)
                .open(&self.config.path)?;
            self.size = file.metadata()?.len();
            self.file = Some(file);
        }
        let Some(file) = &mut self.file else {
            return Ok(());
        };
        let result = file.write_all(&self.entry);
        if result.is_err() {
            self.file = None;
        }
        self.size += length;
        result
    }

    fn rotate(&self) -> io::Result<()> {
        let name = |number| Bundle::rotated_log(&self.config.path, number);
        let kept = self.config.max_files.max(1);
        if kept == 1 {
            return fs::remove_file(name(0));
        }
        // The files before the first gap move into it.
        let gap = (1..kept - 1).find(|number| !name(*number).exists());
        for number in (0..gap.unwrap_or(kept - 1)).rev() {
            match fs::rename(name(number), name(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_one_line_of_json() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("container.log");
        let mut log = Log::new(LogConfig {
            path: path.clone(),
            max_bytes: 1 << 20,
            max_files: 3,
        });
        log.add(Source::Stderr, 0, b"say \"hi\"\xff", true)?;
        assert_eq!(
            fs::read_to_string(path)?,
            "{\"log\":\"say \\\"hi\\\"\u{fffd}\\n\",\"stream\":\"stderr\",\
             \"time\":\"1970-01-01T00:00:00.000000000Z\"}\n"
        );
        Ok(())
    }

    #[test]
    fn files_without_limit_cost_no_more_than_there_are() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("container.log");
        let mut log = Log::new(LogConfig {
            path: path.clone(),
            max_bytes: 1,
            max_files: u32::MAX,
        });
        for number in 0..5 {
            log.add(Source::Stdout, 0, format!("line {number}").as_bytes(), true)?;
        }
        for number in 0..5 {
            let text = fs::read_to_string(Bundle::rotated_log(&path, 4 - number))?;
            assert!(text.contains(&format!("line {number}")), "{text}");
        }
        Ok(())
    }

    #[test]
    fn the_oldest_file_goes_when_there_are_enough() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("container.log");
        let mut log = Log::new(LogConfig {
            path: path.clone(),
            max_bytes: 200,
            max_files: 3,
        });
        for number in 0..20 {
            log.add(Source::Stdout, 0, format!("line {number}").as_bytes(), true)?;
        }
        let mut names: Vec<_> = fs::read_dir(dir.path())?
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        assert_eq!(
            names,
            ["container.log", "container.log.1", "container.log.2"]
        );
        let newest = fs::read_to_string(&path)?;
        assert!(newest.contains("line 19"), "{newest}");
        for name in names {
            assert!(fs::metadata(dir.path().join(name))?.len() <= 200);
        }
        Ok(())
    }
}

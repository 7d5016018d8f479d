//! Reads the log of a container: rotated files first, then the current one, and
//! what comes while following.

use crate::runtime::LOG_FILES_MAX;
use crate::watch::Watch;
use crate::{Error, Result, Runtime};
use serde::Deserialize;
use skep_agent_shim_api::{Bundle, time};
use skep_types::TaskId;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::mpsc;
use tokio_stream::Stream;

/// Entries read at once where it may block.
const BATCH: usize = 256;
/// The most text of a tail that is held in memory, in bytes.
const TAIL_BYTES_MAX: usize = 64 << 20;

/// Which lines are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Go on with new lines until the container has ended.
    pub follow: bool,
    /// Only the last so many of the lines that are there, and no more of them
    /// than make 64 MiB.
    pub tail: Option<usize>,
    /// Only lines after this time, in nanoseconds since 1970.
    pub since_unix_nanos: Option<u64>,
    /// Only lines up to this time, in nanoseconds since 1970.
    pub until_unix_nanos: Option<u64>,
}

/// One entry of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Whether it was written to standard error.
    pub is_stderr: bool,
    /// When, in nanoseconds since 1970.
    pub at_unix_nanos: u64,
    /// What, with its newline; a line longer than 16 KiB comes in pieces of
    /// which only the last has one.
    pub text: String,
}

/// The lines of a log as they come. Dropping it ends the reading.
pub struct LogStream {
    lines: mpsc::Receiver<Result<LogLine>>,
}

impl Stream for LogStream {
    type Item = Result<LogLine>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.lines.poll_recv(cx)
    }
}

impl Runtime {
    /// The log of a container that runs or has ended.
    ///
    /// # Errors
    /// [`Error::NotFound`]; errors of reading come as items of the stream.
    pub fn logs(&self, task: &TaskId, options: LogOptions) -> Result<LogStream> {
        let bundle = self.existing(task)?;
        let (sender, lines) = mpsc::channel(256);
        tokio::spawn(async move {
            if let Err(error) = read(&bundle, &options, &sender).await {
                let error = Error::file("read", bundle.log())(error);
                // Whoever asked may have left.
                let _left = sender.send(Err(error)).await;
            }
        });
        Ok(LogStream { lines })
    }
}

#[derive(Deserialize)]
struct Entry {
    log: String,
    stream: String,
    time: String,
}

fn parse(line: &str) -> Option<LogLine> {
    let entry: Entry = serde_json::from_str(line).ok()?;
    Some(LogLine {
        is_stderr: entry.stream == "stderr",
        at_unix_nanos: time::parse(&entry.time)?,
        text: entry.log,
    })
}

type Sender = mpsc::Sender<Result<LogLine>>;

async fn read(bundle: &Bundle, options: &LogOptions, sender: &Sender) -> io::Result<()> {
    // Watched before the first reading, so that no change is missed.
    let watch = match options.follow {
        true => Some(Watch::new(bundle.dir())?),
        false => None,
    };
    let mut reader = Reader::new(bundle.log());
    let mut tail = options.tail.map(Tail::new);
    let wanted = |line: &LogLine| {
        options
            .since_unix_nanos
            .is_none_or(|since| line.at_unix_nanos > since)
            && options
                .until_unix_nanos
                .is_none_or(|until| line.at_unix_nanos <= until)
    };
    loop {
        let (back, lines) = next_batch(reader).await?;
        reader = back;
        let all = lines.len() < BATCH;
        for line in lines.into_iter().filter(wanted) {
            match &mut tail {
                Some(tail) => tail.push(line),
                None if sender.send(Ok(line)).await.is_err() => return Ok(()),
                None => {}
            }
        }
        if all || sender.is_closed() {
            break;
        }
    }
    for line in tail.map(|tail| tail.lines).unwrap_or_default() {
        if sender.send(Ok(line)).await.is_err() {
            return Ok(());
        }
    }
    let Some(watch) = watch else { return Ok(()) };
    loop {
        // Looked at before reading: what is written before the end is read.
        let ended = bundle.exit().exists() || !bundle.dir().exists();
        loop {
            let (back, lines) = next_batch(reader).await?;
            reader = back;
            let all = lines.len() < BATCH;
            for line in lines.into_iter().filter(wanted) {
                if sender.send(Ok(line)).await.is_err() {
                    return Ok(());
                }
            }
            if all {
                break;
            }
        }
        if ended {
            return Ok(());
        }
        tokio::select! {
            () = sender.closed() => return Ok(()),
            changed = watch.changed() => changed?,
        }
    }
}

/// The next entries, with the reader; fewer than [`BATCH`] when there are no more
/// yet.
async fn next_batch(mut reader: Reader) -> io::Result<(Reader, Vec<LogLine>)> {
    let work = tokio::task::spawn_blocking(move || {
        let mut lines = Vec::new();
        while lines.len() < BATCH
            && let Some(line) = reader.next()?
        {
            lines.push(line);
        }
        Ok((reader, lines))
    });
    work.await.map_err(io::Error::other)?
}

/// The last of the lines that went by.
struct Tail {
    count: usize,
    bytes: usize,
    lines: VecDeque<LogLine>,
}

impl Tail {
    fn new(count: usize) -> Self {
        Self {
            count,
            bytes: 0,
            lines: VecDeque::new(),
        }
    }

    fn push(&mut self, line: LogLine) {
        self.bytes += line.text.len();
        self.lines.push_back(line);
        while (self.lines.len() > self.count || self.bytes > TAIL_BYTES_MAX)
            && let Some(line) = self.lines.pop_front()
        {
            self.bytes -= line.text.len();
        }
    }
}

/// Reads entries in order across rotation.
struct Reader {
    log: PathBuf,
    current: Option<BufReader<File>>,
    /// A line of which the end is not written yet.
    begun: String,
    /// The current file is known to be rotated away and is read once more.
    last_look: bool,
}

impl Reader {
    fn new(log: PathBuf) -> Self {
        Self {
            log,
            current: None,
            begun: String::new(),
            last_look: false,
        }
    }

    /// The next entry; `None` when there is none yet.
    fn next(&mut self) -> io::Result<Option<LogLine>> {
        loop {
            if self.current.is_none() && !self.open_oldest()? {
                return Ok(None);
            }
            let Some(current) = &mut self.current else {
                return Ok(None);
            };
            let mut bytes = Vec::new();
            current.read_until(b'\n', &mut bytes)?;
            self.begun.push_str(&String::from_utf8_lossy(&bytes));
            if self.begun.ends_with('\n') {
                let line = std::mem::take(&mut self.begun);
                // A line that a full disk cut short is skipped.
                if let Some(line) = parse(&line) {
                    return Ok(Some(line));
                }
            } else if !self.open_following()? {
                return Ok(None);
            }
        }
    }

    fn open_oldest(&mut self) -> io::Result<bool> {
        let oldest = (1..LOG_FILES_MAX)
            .take_while(|number| Bundle::rotated_log(&self.log, *number).exists())
            .last()
            .unwrap_or(0);
        self.open(oldest)
    }

    /// At the end of a file that is not the newest any more: opens the one that
    /// came after it.
    fn open_following(&mut self) -> io::Result<bool> {
        let Some(current) = &self.current else {
            return Ok(false);
        };
        let ours = inode(current.get_ref())?;
        let mut number = 0;
        while number < LOG_FILES_MAX {
            let path = Bundle::rotated_log(&self.log, number);
            match File::open(&path).and_then(|file| inode(&file)) {
                Ok(found) if found == ours => break,
                Ok(_) => number += 1,
                Err(error) if error.kind() == io::ErrorKind::NotFound && number == 0 => {
                    // Between two files; the new one will be announced.
                    if !Bundle::rotated_log(&self.log, 1).exists() {
                        return Ok(false);
                    }
                    number += 1;
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                Err(error) => return Err(error),
            }
        }
        if number == 0 {
            return Ok(false);
        }
        // It may have grown between our reading and its rotation.
        if !self.last_look {
            self.last_look = true;
            return Ok(true);
        }
        self.begun.clear();
        self.open(number - 1)
    }

    fn open(&mut self, number: u32) -> io::Result<bool> {
        match File::open(Bundle::rotated_log(&self.log, number)) {
            Ok(file) => {
                self.current = Some(BufReader::new(file));
                self.last_look = false;
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn inode(file: &File) -> io::Result<(u64, u64)> {
    let metadata = file.metadata()?;
    Ok((metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_holds_as_many_lines_as_asked_and_no_more_than_its_bytes() {
        let line = |number, length| LogLine {
            is_stderr: false,
            at_unix_nanos: number,
            text: "x".repeat(length),
        };
        let kept = |tail: &Tail| -> Vec<u64> {
            tail.lines.iter().map(|line| line.at_unix_nanos).collect()
        };
        let mut few = Tail::new(2);
        (0..5).for_each(|number| few.push(line(number, 1)));
        assert_eq!(kept(&few), [3, 4]);
        let mut large = Tail::new(usize::MAX);
        (0..5).for_each(|number| large.push(line(number, TAIL_BYTES_MAX / 3)));
        assert_eq!(kept(&large), [2, 3, 4]);
        let mut none = Tail::new(0);
        none.push(line(0, 1));
        assert_eq!((kept(&none), none.bytes), (vec![], 0));
    }
}

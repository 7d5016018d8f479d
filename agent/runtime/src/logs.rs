//! Reads the log of a container: rotated files first, then the current one, and
//! what comes while following.

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

/// More rotated files than this are not looked for.
const FILES_MAX: u32 = 1000;

/// Which lines are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Go on with new lines until the container has ended.
    pub follow: bool,
    /// Only the last so many of the lines that are there.
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
    let mut last: VecDeque<LogLine> = VecDeque::new();
    let wanted = |line: &LogLine| {
        options
            .since_unix_nanos
            .is_none_or(|since| line.at_unix_nanos > since)
            && options
                .until_unix_nanos
                .is_none_or(|until| line.at_unix_nanos <= until)
    };
    while let Some(line) = reader.next()? {
        if !wanted(&line) {
            continue;
        }
        match options.tail {
            None => {
                if sender.send(Ok(line)).await.is_err() {
                    return Ok(());
                }
            }
            Some(count) => {
                last.push_back(line);
                if last.len() > count {
                    last.pop_front();
                }
            }
        }
    }
    for line in last {
        if sender.send(Ok(line)).await.is_err() {
            return Ok(());
        }
    }
    let Some(watch) = watch else { return Ok(()) };
    loop {
        // Looked at before reading: what is written before the end is read.
        let ended = bundle.exit().exists() || !bundle.dir().exists();
        while let Some(line) = reader.next()? {
            if wanted(&line) && sender.send(Ok(line)).await.is_err() {
                return Ok(());
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
        let oldest = (1..FILES_MAX)
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
        while number < FILES_MAX {
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

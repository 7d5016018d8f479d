//! Running a program to its end within a deadline, with all that it says.

use std::fmt;
use std::io::{Read, Write as _};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// What a program left behind.
#[derive(Debug, Clone)]
pub struct Output {
    /// The command line.
    pub command: String,
    /// Its exit code; 128 + signal when a signal ended it.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
    /// How long it ran.
    pub took: Duration,
}

impl Output {
    /// Itself, if the program succeeded.
    ///
    /// # Panics
    /// If it did not.
    pub fn succeeds(self) -> Self {
        assert!(self.code == 0, "{self}");
        self
    }

    /// Itself, if the program ended with `code` and its standard error holds every
    /// one of `words`.
    ///
    /// # Panics
    /// If not.
    pub fn fails(self, code: i32, words: &[&str]) -> Self {
        assert!(self.code == code, "exit code {code} was expected: {self}");
        for word in words {
            assert!(self.err.contains(word), "{word:?} must be said: {self}");
        }
        self
    }

    /// Standard output without the last line's end.
    pub fn text(&self) -> &str {
        self.out.trim_end()
    }

    /// The lines of standard output.
    pub fn lines(&self) -> Vec<String> {
        self.out.lines().map(str::to_owned).collect()
    }

    /// Standard output, if the program succeeded; else what went wrong.
    ///
    /// # Errors
    /// The whole output as text.
    pub fn checked(self) -> Result<String, String> {
        if self.code == 0 {
            Ok(self.out)
        } else {
            Err(self.to_string())
        }
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` ended with {} after {:?}\n--- stdout\n{}--- stderr\n{}",
            self.command, self.code, self.took, self.out, self.err
        )
    }
}

/// Runs `command` without standard input. After `limit` it is killed, and its exit
/// code is 137.
///
/// # Panics
/// When it cannot be started.
pub fn run(command: &mut Command, limit: Duration) -> Output {
    command.stdin(Stdio::null());
    run_with(command, limit, |child| child.stdout.take().map(collect))
}

/// [`run`], for a program that asks: `answer` is typed once it has said `question`.
///
/// # Panics
/// When it cannot be started.
pub fn converse(command: &mut Command, question: &str, answer: &str, limit: Duration) -> Output {
    command.stdin(Stdio::piped());
    let (question, answer) = (question.to_owned(), answer.to_owned());
    run_with(command, limit, |child| {
        let (mut out, mut keys) = (child.stdout.take()?, child.stdin.take()?);
        Some(thread::spawn(move || {
            let (mut said, mut byte, mut asked) = (Vec::new(), [0], false);
            while out.read(&mut byte).is_ok_and(|count| count > 0) {
                said.push(byte[0]);
                if !asked && said.ends_with(question.as_bytes()) {
                    asked = true;
                    // Who has ended meanwhile is not told.
                    let _ = keys.write_all(answer.as_bytes());
                }
            }
            said
        }))
    })
}

type Said = thread::JoinHandle<Vec<u8>>;

/// Runs `command`; `listen` takes what it says on standard output.
fn run_with(
    command: &mut Command,
    limit: Duration,
    listen: impl FnOnce(&mut Child) -> Option<Said>,
) -> Output {
    let line = shown(command);
    let begun = Instant::now();
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("`{line}` does not start: {error}"));
    let out = listen(&mut child);
    let err = child.stderr.take().map(collect);
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if begun.elapsed() < limit => thread::sleep(Duration::from_millis(2)),
            Ok(None) => {
                // It may have ended in between.
                let _ = child.kill();
                break child.wait().expect("a child of ours can be waited for");
            }
            Err(error) => panic!("`{line}`: {error}"),
        }
    };
    let text = |reader: Option<Said>| {
        let bytes = reader.and_then(|r| r.join().ok()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    use std::os::unix::process::ExitStatusExt;
    Output {
        command: line,
        code: status
            .code()
            .unwrap_or_else(|| 128 + status.signal().unwrap_or_default()),
        out: text(out),
        err: text(err),
        took: begun.elapsed(),
    }
}

fn collect(mut pipe: impl Read + Send + 'static) -> Said {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read until an error is what there is to show.
        let _ = pipe.read_to_end(&mut bytes);
        bytes
    })
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(|w| w.to_string_lossy()).collect();
    words.join(" ")
}

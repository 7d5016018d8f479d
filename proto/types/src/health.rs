//! How to find out whether a container works.

use std::time::Duration;

/// How the runtime finds out whether a container works.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HealthCheck {
    /// What is done.
    pub test: HealthTest,
    /// Time between checks; 30 s when not set.
    pub interval: Option<Duration>,
    /// Longest time of one check; 30 s when not set.
    pub timeout: Option<Duration>,
    /// Failures in a row that make it unhealthy; 3 when not set.
    pub retries: Option<u32>,
    /// Time at the start in which failures do not count.
    pub start_period: Option<Duration>,
    /// Interval within the start period; 5 s when not set.
    pub start_interval: Option<Duration>,
}

/// What a health check does.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum HealthTest {
    /// As the image says.
    #[default]
    Inherit,
    /// None, even where the image has one.
    Disabled,
    /// A program and its arguments.
    Command(Vec<String>),
    /// A line for the image's shell.
    Shell(String),
    /// A GET of this path on this port of the container that is answered with a
    /// status from 200 to 399.
    Http {
        /// Where the container listens.
        port: u16,
        /// Path and query, beginning with `/`.
        path: String,
    },
    /// A connection that this port of the container takes.
    Tcp {
        /// Where the container listens.
        port: u16,
    },
}

impl HealthCheck {
    /// Least time between two checks, and for one.
    pub const MIN: Duration = Duration::from_millis(1);
    /// Least time between two checks of readiness: every node is told of a change.
    pub const READINESS_MIN: Duration = Duration::from_millis(100);
}

impl HealthTest {
    /// Reads `PORT` or `PORT/PATH`, as in `8080/healthz`.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn http(text: &str) -> Result<HealthTest, String> {
        let (number, path) = match text.find('/') {
            Some(at) => text.split_at(at),
            None => (text, "/"),
        };
        let test = HealthTest::Http {
            port: port(number)?,
            path: path.to_owned(),
        };
        test.check().map(|()| test)
    }

    /// Reads a port.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn tcp(text: &str) -> Result<HealthTest, String> {
        Ok(HealthTest::Tcp { port: port(text)? })
    }

    /// Whether it can be done at all.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self) -> Result<(), String> {
        match self {
            HealthTest::Http { port: 0, .. } | HealthTest::Tcp { port: 0 } => {
                Err(NO_PORT.to_owned())
            }
            HealthTest::Http { path, .. } if path.len() > PATH_MAX => Err(format!(
                "the path is {} bytes long; {PATH_MAX} is the most",
                path.len()
            )),
            HealthTest::Http { path, .. } if !is_path(path) => Err(format!(
                "{path:?} is not a path: it begins with `/` and has neither blanks nor any of \
                 # < > \" `; write these as %XX"
            )),
            _ => Ok(()),
        }
    }

    /// As Docker writes tests: the kind, then what it needs.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        let of = |kind: &str, rest: &[String]| [&[kind.to_owned()], rest].concat();
        match self {
            HealthTest::Inherit => Vec::new(),
            HealthTest::Disabled => of("NONE", &[]),
            HealthTest::Command(words) => of("CMD", words),
            HealthTest::Shell(line) => of("CMD-SHELL", std::slice::from_ref(line)),
            HealthTest::Http { port, path } => of("HTTP", &[format!("{port}{path}")]),
            HealthTest::Tcp { port } => of("TCP", &[port.to_string()]),
        }
    }
}

const NO_PORT: &str = "a port is a number from 1 to 65535";
/// Longest path of a check, in bytes.
const PATH_MAX: usize = 2000;

/// A path, and maybe a query, as they are written in a request.
fn is_path(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_graphic() && !b"#<>\"`".contains(&byte);
    text.starts_with('/') && text.bytes().all(fits)
}

fn port(text: &str) -> Result<u16, String> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| format!("{text:?}: {NO_PORT}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_over_http_and_tcp() {
        let http = |port, path: &str| {
            Ok(HealthTest::Http {
                port,
                path: path.to_owned(),
            })
        };
        assert_eq!(HealthTest::http("80"), http(80, "/"));
        assert_eq!(HealthTest::http("8080/a?b=/c"), http(8080, "/a?b=/c"));
        assert_eq!(HealthTest::tcp("5432"), Ok(HealthTest::Tcp { port: 5432 }));
        for wrong in [
            "",
            "0",
            "/x",
            "65536/",
            "80 /",
            "80/a b",
            "80/\r\nX: y",
            "80/a#b",
            "80/a<b",
            "80/\u{e4}",
        ] {
            assert!(HealthTest::http(wrong).is_err(), "{wrong:?}");
        }
        assert!(HealthTest::http(&format!("80/{}", "a".repeat(PATH_MAX))).is_err());
        assert!(HealthTest::tcp("80/").is_err());
    }
}

//! What ends a command otherwise than well. The exit codes are `exit`'s.
//!
//! Commands pass `anyhow` errors up; the ones here are those whose kind decides
//! about the exit code or the words. Everything else is a failure.

use crate::exit::Exit;
use skep_types::with_causes;
use std::error::Error as _;
use std::fmt::Write as _;
use std::io;
use tonic::{Code, Status};

/// What ends a command otherwise than well.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// What was asked for makes no sense, or a file is invalid.
    #[error("{0}")]
    Usage(String),
    /// Everything there is to say has been said on standard error already.
    #[error("failed")]
    Reported,
    /// As [`CliError::Reported`], for an invalid file or command line.
    #[error("invalid file")]
    ReportedInvalid,
    /// What was asked about would change something, as the output says.
    #[error("something would change")]
    WouldChange,
    /// Services went back to what they were, for the reasons it tells.
    #[error("{0}")]
    RolledBack(String),
    /// The user's time is over; it tells what is not done.
    #[error("{0}")]
    TimedOut(String),
    /// The user pressed Ctrl-C.
    #[error("interrupted")]
    Interrupted,
    /// No daemon listens at the socket.
    #[error(
        "cannot reach the skep daemon at {host}: is it running? start it with `skep daemon`{hint}"
    )]
    Unreachable {
        /// The socket as asked for.
        host: String,
        /// A further sentence for a known cause.
        hint: &'static str,
        /// What connecting said.
        #[source]
        source: io::Error,
    },
    /// No manager of the swarm lets us in.
    #[error("cannot reach a manager at {host}: {reason}")]
    NoManager {
        /// Where they were looked for.
        host: String,
        /// What each of them said.
        reason: String,
    },
    /// A manager or the daemon said no, in words meant for the user.
    #[error("{message}")]
    Refused {
        /// Its kind.
        code: Code,
        /// The words.
        message: String,
    },
}

/// What a node answers that is in no swarm, or takes no part in deciding.
const NOT_A_MANAGER: &str = "This node is not a swarm manager. Use \"skep swarm init\" or \
    \"skep swarm join\" to connect this node to a swarm, or run the command on a manager";

impl From<Status> for CliError {
    fn from(status: Status) -> Self {
        let said = match (status.code(), status.message()) {
            (Code::Unimplemented, _) => NOT_A_MANAGER.to_owned(),
            (code, "") => format!("the daemon answered: {}", code.description()),
            (_, said) => said.to_owned(),
        };
        // Only errors of the connection have a source; they say little without it.
        let message = with_causes(said, status.source());
        CliError::Refused {
            code: status.code(),
            message,
        }
    }
}

/// A usage error.
pub fn usage(message: impl Into<String>) -> anyhow::Error {
    CliError::Usage(message.into()).into()
}

/// The kind of a refusal, where the error is one.
pub fn refusal(error: &anyhow::Error) -> Option<Code> {
    match error.downcast_ref() {
        Some(CliError::Refused { code, .. }) => Some(*code),
        _ => None,
    }
}

/// Whether the object was changed by somebody else since it was read.
pub fn is_stale(error: &anyhow::Error) -> bool {
    refusal(error) == Some(Code::Aborted)
}

/// Whether asking again may help: the swarm has no leader now, or the daemon went
/// away in the middle.
pub fn is_passing(error: &anyhow::Error) -> bool {
    refusal(error) == Some(Code::Unavailable)
}

/// The end that an error is.
pub fn exit(error: &anyhow::Error) -> Exit {
    match error.downcast_ref::<CliError>() {
        Some(CliError::Usage(_) | CliError::ReportedInvalid) => Exit::Usage,
        Some(CliError::WouldChange) => Exit::Changes,
        Some(CliError::RolledBack(_)) => Exit::RolledBack,
        Some(CliError::TimedOut(_)) => Exit::TimedOut,
        Some(CliError::Interrupted) => Exit::Interrupted,
        Some(
            CliError::Reported
            | CliError::Unreachable { .. }
            | CliError::NoManager { .. }
            | CliError::Refused { .. },
        )
        | None => Exit::Failed,
    }
}

/// The one line for the user; `None` where there is nothing (more) to say.
pub fn message(error: &anyhow::Error) -> Option<String> {
    if is_broken_pipe(error) {
        return None;
    }
    if let Some(
        CliError::Reported
        | CliError::ReportedInvalid
        | CliError::WouldChange
        | CliError::Interrupted,
    ) = error.downcast_ref()
    {
        return None;
    }
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if text.is_empty() {
            text = cause;
        } else if !text.ends_with(&cause) {
            // Writing to a string cannot fail.
            let _ = write!(text, ": {cause}");
        }
    }
    Some(text)
}

/// The reader of our output went away, as `head` does: no reason to speak.
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context as _;

    fn refused() -> anyhow::Error {
        CliError::from(Status::not_found("service x not found")).into()
    }

    #[test]
    fn causes_are_joined_once_each() {
        let error = Err::<(), _>(refused())
            .context("failed to create service x")
            .unwrap_err();
        let text = message(&error).unwrap_or_default();
        assert_eq!(text, "failed to create service x: service x not found");
    }

    #[test]
    fn a_closed_pipe_is_not_spoken_of() {
        let error = anyhow::Error::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!(message(&error.context("failed to print")), None);
    }

    #[test]
    fn a_stale_change_is_told_from_other_refusals() {
        let stale = anyhow::Error::from(CliError::from(Status::aborted("update out of sequence")));
        assert!(is_stale(&stale));
        assert!(!is_stale(&refused()));
    }
}

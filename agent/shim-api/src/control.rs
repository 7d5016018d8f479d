//! The messages of a shim's control socket and how they are framed: a length
//! (4 bytes, big endian), then JSON. A client sends one request a connection
//! and reads one response.

use crate::ExitRecord;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::io;

/// Largest message, in bytes. Longer ones are refused, so that a broken peer
/// cannot make the other side allocate.
pub const MESSAGE_MAX_BYTES: usize = 64 * 1024;

/// Asked of a shim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ControlRequest {
    /// Run the program; answered when the kernel runs it or refused to.
    Start,
    /// Send a signal to process 1 of the container.
    Kill {
        /// Signal number.
        signal: i32,
    },
    /// How the container is.
    State,
    /// Answered when the container has ended.
    Wait,
    /// Kill the container, of which no record is wanted any more; answered when
    /// it has ended.
    Delete,
}

/// Answered by a shim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ControlResponse {
    /// Done.
    Done,
    /// How the container is.
    State(Status),
    /// The container has ended. The record is on the disk already.
    Exited(ExitRecord),
    /// Not done, and why.
    Failed {
        /// One line for the user.
        reason: String,
    },
}

/// How a container with a living shim is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Process 1 of the container as the host sees it.
    pub pid: i32,
    /// Whether the program was started; otherwise the container is created.
    pub started: bool,
}

/// A message with its length in front.
///
/// # Errors
/// A message that is too long.
pub fn encode<T: Serialize>(message: &T) -> io::Result<Vec<u8>> {
    let body = serde_json::to_vec(message)?;
    if body.len() > MESSAGE_MAX_BYTES {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "message is too long",
        ));
    }
    let mut frame = Vec::with_capacity(4 + body.len());
    frame.extend_from_slice(&(body.len() as u32).to_be_bytes());
    frame.extend_from_slice(&body);
    Ok(frame)
}

/// The message at the start of `buffer`; `None` while it is not complete.
///
/// # Errors
/// A length beyond [`MESSAGE_MAX_BYTES`], or JSON that is no such message.
pub fn decode<T: DeserializeOwned>(buffer: &[u8]) -> io::Result<Option<T>> {
    let Some((length, rest)) = buffer.split_first_chunk::<4>() else {
        return Ok(None);
    };
    let length = u32::from_be_bytes(*length) as usize;
    if length > MESSAGE_MAX_BYTES {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "message is too long",
        ));
    }
    match rest.get(..length) {
        Some(body) => Ok(Some(serde_json::from_slice(body)?)),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_only_when_complete() -> io::Result<()> {
        let frame = encode(&ControlRequest::Kill { signal: 15 })?;
        for cut in 0..frame.len() {
            assert_eq!(decode::<ControlRequest>(&frame[..cut])?, None);
        }
        assert_eq!(
            decode::<ControlRequest>(&frame)?,
            Some(ControlRequest::Kill { signal: 15 })
        );
        Ok(())
    }

    #[test]
    fn a_length_beyond_the_limit_is_refused() {
        assert!(decode::<ControlRequest>(&[0xff; 8]).is_err());
    }
}

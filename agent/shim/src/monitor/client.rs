//! One connection of the control socket.

use skep_agent_shim_api::control::{self, ControlRequest, ControlResponse, MESSAGE_MAX_BYTES};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

/// A client; it sends one request and gets one response.
pub struct Client {
    stream: UnixStream,
    received: Vec<u8>,
    /// To be answered when the program runs.
    pub waits_for_start: bool,
    /// To be answered when the container has ended.
    pub waits_for_exit: bool,
}

impl Client {
    /// A client on a non-blocking stream.
    pub fn new(stream: UnixStream) -> Self {
        Self {
            stream,
            received: Vec::new(),
            waits_for_start: false,
            waits_for_exit: false,
        }
    }

    /// What to poll.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    /// The request, once it is complete.
    ///
    /// # Errors
    /// A client that has left or speaks something else.
    pub fn receive(&mut self) -> io::Result<Option<ControlRequest>> {
        let mut buffer = [0; 512];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.received.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            if self.received.len() > MESSAGE_MAX_BYTES {
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
        let request = control::decode(&self.received)?;
        if request.is_some() {
            self.received = Vec::new();
        }
        Ok(request)
    }

    /// Sends the response. It fits into the socket's buffer, so a client that
    /// does not read cannot stop the monitor; one that has left is no error.
    pub fn send(&mut self, response: &ControlResponse) {
        if let Ok(frame) = control::encode(response) {
            let _left = self.stream.write_all(&frame);
        }
    }
}

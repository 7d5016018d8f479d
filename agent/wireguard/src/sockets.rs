//! The engine's UDP sockets: one port on IPv4 and, where the host has it, IPv6.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::error::EngineError;
use crate::sys::{self, Message};

/// What the socket buffers hold: half a second of 100 Mbit/s, or 7 ms of 8 Gbit/s.
const BUFFER_BYTES: i32 = 7 << 20;

/// Both sockets, bound to the same port.
#[derive(Debug)]
pub(crate) struct Sockets {
    v4: OwnedFd,
    v6: Option<OwnedFd>,
    port: u16,
}

impl Sockets {
    /// Binds in the network namespace of the calling thread.
    pub(crate) fn bind(port: u16) -> Result<Self, EngineError> {
        // A free port of IPv4 may be taken on IPv6: another one is tried then.
        let mut attempts = if port == 0 { 16 } else { 1 };
        loop {
            attempts -= 1;
            match Self::bind_once(port) {
                Err(EngineError::BindUdp { source, .. })
                    if attempts > 0 && source.kind() == io::ErrorKind::AddrInUse => {}
                result => return result,
            }
        }
    }

    fn bind_once(port: u16) -> Result<Self, EngineError> {
        let failed = |family| {
            move |source| EngineError::BindUdp {
                family,
                port,
                source,
            }
        };
        let v4 = sys::bind_udp(sys::any(false, port), BUFFER_BYTES).map_err(failed("IPv4"))?;
        let bound = sys::local_address(v4.as_fd()).map_err(failed("IPv4"))?;
        let v6 = match sys::bind_udp(sys::any(true, bound.port()), BUFFER_BYTES) {
            Ok(fd) => Some(fd),
            Err(error)
                if matches!(
                    error.raw_os_error(),
                    Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL)
                ) =>
            {
                None
            }
            Err(error) => return Err(failed("IPv6")(error)),
        };
        Ok(Self {
            v4,
            v6,
            port: bound.port(),
        })
    }

    /// The port both listen on.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn v4(&self) -> BorrowedFd<'_> {
        self.v4.as_fd()
    }

    pub(crate) fn v6(&self) -> Option<BorrowedFd<'_>> {
        self.v6.as_ref().map(AsFd::as_fd)
    }

    fn towards(&self, to: SocketAddr) -> Option<BorrowedFd<'_>> {
        match to {
            SocketAddr::V4(_) => Some(self.v4()),
            SocketAddr::V6(_) => self.v6(),
        }
    }

    /// Sends messages in order and returns how many datagrams could not be sent. What the kernel
    /// refuses to cut into segments (a path narrower than a segment, a device without checksums)
    /// is sent datagram by datagram.
    pub(crate) fn send(&self, mut messages: &[Message<'_>], block: bool) -> u64 {
        let mut lost = 0;
        while let Some(first) = messages.first() {
            let v4 = first.to.is_ipv4();
            let run = messages.iter().take_while(|m| m.to.is_ipv4() == v4).count();
            let sent = match self.towards(first.to) {
                Some(fd) => sys::send_messages(fd, &messages[..run], block),
                None => Err(io::Error::from_raw_os_error(libc::EAFNOSUPPORT)),
            };
            let done = match sent {
                Ok(sent) => sent,
                Err(error) => {
                    lost += self.send_apart(first, &error, block);
                    1
                }
            };
            messages = &messages[done.min(messages.len())..];
        }
        lost
    }

    /// Sends one datagram without waiting, for handshakes and keepalives; whether it went out.
    pub(crate) fn send_one(&self, to: SocketAddr, bytes: &[u8]) -> bool {
        let message = Message {
            to,
            bytes,
            segment: bytes.len(),
        };
        self.send(&[message], false) == 0
    }

    /// The datagrams of a refused message one by one, where that can help.
    fn send_apart(&self, message: &Message<'_>, error: &io::Error, block: bool) -> u64 {
        let segments = message.bytes.chunks(message.segment.max(1));
        let count = segments.len() as u64;
        let refused_whole = matches!(
            error.raw_os_error(),
            Some(libc::EINVAL | libc::EMSGSIZE | libc::EIO)
        );
        let Some(fd) = self
            .towards(message.to)
            .filter(|_| refused_whole && count > 1)
        else {
            return count;
        };
        let mut lost = 0;
        for bytes in segments {
            let single = Message {
                to: message.to,
                bytes,
                segment: bytes.len(),
            };
            if sys::send_messages(fd, &[single], block).is_err() {
                lost += 1;
            }
        }
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_free_port_is_the_same_on_both_families() {
        let sockets = Sockets::bind(0).expect("a free port");
        assert_ne!(sockets.port(), 0);
        if let Some(v6) = sockets.v6() {
            let bound = sys::local_address(v6).expect("it is bound");
            assert_eq!(bound.port(), sockets.port());
        }
    }

    #[test]
    fn a_port_that_is_taken_is_refused_with_its_number() {
        let first = Sockets::bind(0).expect("a free port");
        let second = Sockets::bind(first.port()).expect_err("it is taken");
        assert!(second.to_string().contains(&first.port().to_string()));
    }

    #[test]
    fn a_message_the_kernel_cannot_cut_is_sent_datagram_by_datagram() {
        let sockets = Sockets::bind(0).expect("a free port");
        let to = SocketAddr::new("127.0.0.1".parse().expect("an address"), sockets.port());
        // More segments than any kernel takes in one message (128), each small.
        let bytes = vec![7u8; 300 * 10];
        let message = Message {
            to,
            bytes: &bytes,
            segment: 10,
        };
        assert_eq!(sockets.send(&[message], true), 0);
        let mut received = sys::Received::new();
        let mut total = 0;
        while total < bytes.len() {
            let ready = sys::wait_readable(
                [Some(sockets.v4())],
                Some(std::time::Duration::from_secs(5)),
            );
            assert_eq!(ready.expect("poll works"), [true]);
            received.receive(sockets.v4()).expect("receiving works");
            total += received
                .messages()
                .flatten()
                .map(|(_, bytes, _)| bytes.len())
                .sum::<usize>();
        }
        assert_eq!(total, bytes.len());
    }
}

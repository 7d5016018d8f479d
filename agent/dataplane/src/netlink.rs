//! The byte level of netlink that nftables and conntrack need: messages, attributes and a blocking
//! socket of the netfilter family. What the bytes mean belongs to [`crate::nft`] and
//! [`crate::conntrack`]; links, addresses and routes go through the rtnetlink crate instead.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, connect, recv,
    send, setsockopt, socket, sockopt,
};

/// Length of a netlink message header in bytes.
const HEADER: usize = 16;
/// Length of the netfilter header that follows it.
const NFGEN: usize = 4;

pub(crate) const NLM_F_REQUEST: u16 = 0x01;
pub(crate) const NLM_F_ACK: u16 = 0x04;
pub(crate) const NLM_F_DUMP: u16 = 0x300;
pub(crate) const NLM_F_CREATE: u16 = 0x400;
pub(crate) const NLM_F_APPEND: u16 = 0x800;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLA_F_NESTED: u16 = 0x8000;
const NLA_TYPE_MASK: u16 = 0x3fff;

/// How much one request may queue in the kernel's buffers, in bytes. A node with 10,000 services of ten
/// endpoints needs about 10 MB.
const BUFFER: usize = 64 << 20;

/// A growing run of netlink messages.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
    message: usize,
}

impl Writer {
    /// The bytes written so far.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Adds one netfilter message; `body` writes its attributes.
    pub(crate) fn message(
        &mut self,
        kind: u16,
        flags: u16,
        sequence: u32,
        family: u8,
        resource: u16,
        body: impl FnOnce(&mut Attributes<'_>),
    ) {
        self.message = self.bytes.len();
        self.bytes.extend_from_slice(&0u32.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes
            .extend_from_slice(&(flags | NLM_F_REQUEST).to_ne_bytes());
        self.bytes.extend_from_slice(&sequence.to_ne_bytes());
        self.bytes.extend_from_slice(&0u32.to_ne_bytes());
        self.bytes.push(family);
        self.bytes.push(0);
        self.bytes.extend_from_slice(&resource.to_be_bytes());
        body(&mut Attributes {
            bytes: &mut self.bytes,
        });
        let length = (self.bytes.len() - self.message) as u32;
        self.bytes[self.message..self.message + 4].copy_from_slice(&length.to_ne_bytes());
    }

    /// Sets flags on the last message written.
    pub(crate) fn flag_last(&mut self, flags: u16) {
        let at = self.message + 6;
        if let Some(field) = self.bytes.get_mut(at..at + 2) {
            let now = u16::from_ne_bytes([field[0], field[1]]);
            field.copy_from_slice(&(now | flags).to_ne_bytes());
        }
    }
}

/// Writes attributes into the message under construction.
pub(crate) struct Attributes<'a> {
    bytes: &'a mut Vec<u8>,
}

impl Attributes<'_> {
    /// An attribute of raw bytes.
    pub(crate) fn bytes(&mut self, kind: u16, value: &[u8]) {
        let length = 4 + value.len();
        self.bytes.extend_from_slice(&(length as u16).to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.pad();
    }

    /// A NUL-terminated string.
    pub(crate) fn string(&mut self, kind: u16, value: &str) {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.bytes(kind, &bytes);
    }

    /// A 32-bit number in network order, as nftables wants all its numbers.
    pub(crate) fn be32(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_be_bytes());
    }

    /// An attribute that holds attributes.
    pub(crate) fn nested(&mut self, kind: u16, body: impl FnOnce(&mut Attributes<'_>)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&0u16.to_ne_bytes());
        self.bytes
            .extend_from_slice(&(kind | NLA_F_NESTED).to_ne_bytes());
        body(&mut Attributes { bytes: self.bytes });
        let length = (self.bytes.len() - start) as u16;
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self.pad();
    }

    fn pad(&mut self) {
        while !self.bytes.len().is_multiple_of(4) {
            self.bytes.push(0);
        }
    }
}

/// Walks the attributes of `bytes`; a malformed tail ends the walk.
pub(crate) fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = u16::from_ne_bytes([*rest.first()?, *rest.get(1)?]) as usize;
        let kind = u16::from_ne_bytes([*rest.get(2)?, *rest.get(3)?]) & NLA_TYPE_MASK;
        let value = rest.get(4..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The first attribute of this kind.
pub(crate) fn attribute(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes)
        .find(|(found, _)| *found == kind)
        .map(|(_, value)| value)
}

/// A message that came back from the kernel, without its headers.
#[derive(Debug)]
pub(crate) struct Reply {
    /// The attributes.
    pub(crate) body: Vec<u8>,
}

/// Why a request failed: the sequence number of the message that the kernel refused (0 when the exchange
/// itself failed) and the reason.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) sequence: u32,
    pub(crate) source: io::Error,
}

impl From<io::Error> for Refused {
    fn from(source: io::Error) -> Self {
        Refused {
            sequence: 0,
            source,
        }
    }
}

impl From<nix::Error> for Refused {
    fn from(error: nix::Error) -> Self {
        Refused {
            sequence: 0,
            source: error.into(),
        }
    }
}

/// A netfilter netlink socket. It belongs to the network namespace of the thread that opened it, whichever
/// thread uses it later. Calls block for as long as the kernel works, which is not for input/output.
#[derive(Debug)]
pub(crate) struct Socket {
    fd: OwnedFd,
}

impl Socket {
    /// Opens a socket in the calling thread's network namespace.
    pub(crate) fn open() -> io::Result<Self> {
        let fd = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkNetFilter,
        )?;
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
        connect(fd.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
        setsockopt(&fd, sockopt::SndBufForce, &BUFFER)?;
        setsockopt(&fd, sockopt::RcvBufForce, &BUFFER)?;
        Ok(Socket { fd })
    }

    /// Sends `bytes` in one piece and reads every answer up to the acknowledgement of message `last`, which
    /// must carry `NLM_F_ACK` or `NLM_F_DUMP`.
    pub(crate) fn exchange(&self, bytes: &[u8], last: u32) -> Result<Vec<Reply>, Refused> {
        let mut replies = Vec::new();
        self.exchange_each(bytes, last, |body| {
            replies.push(Reply {
                body: body.to_vec(),
            });
        })?;
        Ok(replies)
    }

    /// The same of what may be long: `each` gets the attributes of every answer as it arrives, and nothing is
    /// kept. The kernel goes on with a list only when what there is of it was read.
    pub(crate) fn exchange_each(
        &self,
        bytes: &[u8],
        last: u32,
        mut each: impl FnMut(&[u8]),
    ) -> Result<(), Refused> {
        send(self.fd.as_raw_fd(), bytes, MsgFlags::empty())?;
        let mut buffer = vec![0u8; 64 << 10];
        let mut refused: Option<Refused> = None;
        loop {
            let flags = if refused.is_some() {
                MsgFlags::MSG_DONTWAIT
            } else {
                MsgFlags::empty()
            };
            let length = match recv(self.fd.as_raw_fd(), &mut buffer, flags) {
                Ok(length) => length,
                Err(nix::Error::EINTR) => continue,
                // The kernel answers inside send(): once a refusal was seen nothing more is on its way.
                Err(nix::Error::EAGAIN) => break,
                Err(error) => return Err(error.into()),
            };
            let mut rest = &buffer[..length];
            while rest.len() >= HEADER {
                let size = u32::from_ne_bytes([rest[0], rest[1], rest[2], rest[3]]) as usize;
                let kind = u16::from_ne_bytes([rest[4], rest[5]]);
                let sequence = u32::from_ne_bytes([rest[8], rest[9], rest[10], rest[11]]);
                let Some(message) = rest.get(HEADER..size) else {
                    break;
                };
                match kind {
                    NLMSG_ERROR | NLMSG_DONE => {
                        let code = message
                            .get(..4)
                            .map_or(0, |c| i32::from_ne_bytes([c[0], c[1], c[2], c[3]]));
                        if code != 0 {
                            refused.get_or_insert(Refused {
                                sequence,
                                source: io::Error::from_raw_os_error(-code),
                            });
                        } else if sequence == last && refused.is_none() {
                            return Ok(());
                        }
                    }
                    _ if message.len() >= NFGEN => each(&message[NFGEN..]),
                    _ => {}
                }
                rest = rest.get(size.next_multiple_of(4)..).unwrap_or_default();
            }
        }
        match refused {
            Some(refused) => Err(refused),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_written_are_read_back() {
        let mut writer = Writer::default();
        writer.message(0x0a00, NLM_F_ACK, 7, 2, 0, |a| {
            a.string(1, "skep");
            a.nested(2, |a| a.be32(3, 9));
        });
        let body = &writer.bytes()[HEADER + NFGEN..];
        assert_eq!(attribute(body, 1), Some(&b"skep\0"[..]));
        let nested = attribute(body, 2).expect("the nested attribute");
        assert_eq!(attribute(nested, 3), Some(&9u32.to_be_bytes()[..]));
        assert_eq!(
            writer.bytes().len(),
            u32::from_ne_bytes(writer.bytes()[..4].try_into().expect("four")) as usize
        );
    }

    #[test]
    fn a_cut_attribute_ends_the_walk() {
        assert_eq!(attributes(&[200, 0, 1, 0, 5]).count(), 0);
        assert_eq!(attributes(&[3]).count(), 0);
        assert_eq!(attributes(&[0, 0, 0, 0]).count(), 0);
    }
}

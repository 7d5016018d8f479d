//! Datagrams on their way out, laid out so that a run of equal ones for one destination becomes a
//! single message the kernel cuts apart.

use std::net::SocketAddr;

use crate::sockets::Sockets;
use crate::sys::{BATCH, Message};

/// The most a message carries: what fits a UDP datagram over IPv4 with room for options.
const MAX_MESSAGE: usize = 65_400;
/// The most segments in one message; older kernels take no more.
const MAX_SEGMENTS: usize = 64;
/// Room for sealed packets before they have to go.
const CAPACITY: usize = 6 * 65_536;
/// The least room a packet is sealed into: the largest packet and its overhead, or a handshake.
pub(crate) const ROOM: usize = 65_536;

#[derive(Debug)]
struct Entry {
    to: SocketAddr,
    start: usize,
    length: usize,
    segment: usize,
    segments: usize,
    /// A shorter datagram ends a message.
    closed: bool,
}

/// Collects datagrams and sends them in order.
#[derive(Debug)]
pub(crate) struct Outbox {
    bytes: Vec<u8>,
    used: usize,
    entries: Vec<Entry>,
    /// Datagrams the kernel did not take.
    lost: u64,
}

impl Outbox {
    pub(crate) fn new() -> Self {
        Self {
            bytes: vec![0; CAPACITY],
            used: 0,
            entries: Vec::with_capacity(BATCH * 2),
            lost: 0,
        }
    }

    /// Where the next datagram is to be written, always [`ROOM`] bytes at least. Sends what is
    /// waiting when the room has run out.
    pub(crate) fn room(&mut self, sockets: &Sockets) -> &mut [u8] {
        if self.bytes.len() - self.used < ROOM {
            self.flush(sockets);
        }
        &mut self.bytes[self.used..]
    }

    /// Takes the first `length` bytes of [`room`](Self::room) as a datagram for `to`.
    pub(crate) fn commit(&mut self, to: SocketAddr, length: usize) {
        let start = self.used;
        self.used += length;
        if let Some(last) = self.entries.last_mut()
            && last.to == to
            && !last.closed
            && length <= last.segment
            && last.segments < MAX_SEGMENTS
            && last.length + length <= MAX_MESSAGE
        {
            last.closed = length < last.segment;
            last.length += length;
            last.segments += 1;
            return;
        }
        self.entries.push(Entry {
            to,
            start,
            length,
            segment: length,
            segments: 1,
            closed: false,
        });
    }

    /// Sends the messages nothing can be added to any more, once they fill a call.
    pub(crate) fn flush_full(&mut self, sockets: &Sockets) {
        let full = self.entries.len().saturating_sub(1);
        let bytes: usize = self.entries[..full].iter().map(|e| e.length).sum();
        if full >= BATCH || bytes >= MAX_MESSAGE / 2 {
            self.send(sockets, full);
        }
    }

    /// Sends everything.
    pub(crate) fn flush(&mut self, sockets: &Sockets) {
        self.send(sockets, self.entries.len());
        self.used = 0;
    }

    fn send(&mut self, sockets: &Sockets, count: usize) {
        for entries in self.entries[..count].chunks(BATCH) {
            let messages: Vec<Message<'_>> = entries
                .iter()
                .map(|entry| Message {
                    to: entry.to,
                    bytes: &self.bytes[entry.start..entry.start + entry.length],
                    segment: entry.segment,
                })
                .collect();
            self.lost += sockets.send(&messages, true);
        }
        self.entries.drain(..count);
    }

    /// Forgets what is waiting.
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.used = 0;
    }

    /// How many datagrams were lost since the last time this was asked.
    pub(crate) fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(lengths: &[(u16, usize)]) -> Vec<(u16, usize, usize)> {
        let sockets = Sockets::bind(0).expect("a free port");
        let mut outbox = Outbox::new();
        for (port, length) in lengths {
            outbox.room(&sockets);
            outbox.commit(SocketAddr::from(([127, 0, 0, 1], *port)), *length);
        }
        outbox
            .entries
            .iter()
            .map(|e| (e.to.port(), e.segment, e.length))
            .collect()
    }

    #[test]
    fn equal_datagrams_for_one_peer_become_one_message_that_a_shorter_one_ends() {
        assert_eq!(
            layout(&[(1, 100), (1, 100), (1, 40), (1, 100), (1, 100)]),
            [(1, 100, 240), (1, 100, 200)]
        );
    }

    #[test]
    fn a_longer_datagram_and_another_destination_start_a_message_of_their_own() {
        assert_eq!(
            layout(&[(1, 40), (1, 100), (2, 100), (1, 100)]),
            [(1, 40, 40), (1, 100, 100), (2, 100, 100), (1, 100, 100)]
        );
    }

    #[test]
    fn a_message_stays_within_what_one_datagram_may_hold_and_the_kernel_cuts() {
        let big = layout(&vec![(1, 1452); 50]);
        assert_eq!(big, [(1, 1452, 45 * 1452), (1, 1452, 5 * 1452)]);
        let small = layout(&vec![(1, 100); 70]);
        assert_eq!(small, [(1, 100, 6400), (1, 100, 600)]);
    }
}

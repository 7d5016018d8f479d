//! The receiving thread: datagrams from the UDP sockets, opened, checked against the allowed IPs
//! of the peer that sealed them, and written to the TUN device in segments as large as can be.
//!
//! Whatever a datagram holds, it costs a counter at most.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, MutexGuard};

use boringtun::noise::errors::WireGuardError;
use boringtun::noise::handshake::parse_handshake_anon;
use boringtun::noise::{Packet, Tunn, TunnResult};
use tun_rs::{GROTable, VIRTIO_NET_HDR_LEN};

use crate::outbox::ROOM;
use crate::peer::Peer;
use crate::shared::{Shared, Table};
use crate::sys::{Received, wait_readable};

/// Packets collected at most before they are written, each with room for 64 KB.
const COLLECT: usize = 64;
/// Packets after which a received message is written by itself: the device takes 64 KB at once,
/// about 46 packets, and a full message is just that.
const ENOUGH: usize = 32;
/// Receive calls on one socket before the thread looks at the other and at the stop.
const RECEIVES: usize = 16;
/// Type, receiver index and counter of a data message.
const DATA_HEADER: usize = 16;
/// The least a data message is long: header and tag.
const DATA_MIN: usize = 32;
/// The counter a session ends at; what comes later is refused before any arithmetic with it.
const REJECT_AFTER_MESSAGES: u64 = u64::MAX - (1 << 13);

/// The state of the receiving thread.
pub(crate) struct Receiver {
    received: Received,
    opened: Opened,
    scratch: Vec<u8>,
}

impl Receiver {
    pub(crate) fn new() -> Self {
        Self {
            received: Received::new(),
            opened: Opened::new(),
            scratch: vec![0; ROOM],
        }
    }

    /// Waits for datagrams and carries what there is; false when the engine is to stop.
    pub(crate) fn turn(&mut self, shared: &Shared) -> io::Result<bool> {
        self.opened.count = 0;
        let (v4, v6) = (shared.sockets.v4(), shared.sockets.v6());
        let ready = wait_readable([Some(v4), v6, Some(shared.stop.as_fd())], None)?;
        if ready[2] {
            return Ok(false);
        }
        if ready[0] {
            self.drain(shared, v4)?;
        }
        if let Some(v6) = v6.filter(|_| ready[1]) {
            self.drain(shared, v6)?;
        }
        Ok(true)
    }

    fn drain(&mut self, shared: &Shared, fd: BorrowedFd<'_>) -> io::Result<()> {
        for _ in 0..RECEIVES {
            // An error of the socket is one a peer caused (an ICMP answer): it is taken note of by
            // having been read.
            match self.received.receive(fd) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if error.raw_os_error() == Some(libc::EBADF) => return Err(error),
                Err(_) => {
                    shared.counters.dropped_udp.add(1);
                    continue;
                }
            }
            let table = shared.table();
            for message in self.received.messages() {
                let Some((from, bytes, segment)) = message else {
                    shared.counters.dropped_malformed.add(1);
                    continue;
                };
                let mut batch = Batch {
                    shared,
                    table: &table,
                    from: SocketAddr::new(from.ip().to_canonical(), from.port()),
                    opened: &mut self.opened,
                    scratch: &mut self.scratch,
                };
                batch.message(bytes, segment)?;
                if self.opened.count >= ENOUGH {
                    self.opened.write(shared)?;
                }
            }
            self.opened.write(shared)?;
        }
        Ok(())
    }
}

/// Opened packets, with the room before each that the device's header takes.
struct Opened {
    packets: Vec<Vec<u8>>,
    count: usize,
    gro: GROTable,
}

impl Opened {
    fn new() -> Self {
        Self {
            // Room for the device's 64 KB in each, as any may become the one the others are
            // appended to; what is not used is never touched.
            packets: (0..COLLECT)
                .map(|_| Vec::with_capacity(VIRTIO_NET_HDR_LEN + 65_536))
                .collect(),
            count: 0,
            gro: GROTable::new(),
        }
    }

    /// Writes what was collected to the device.
    fn write(&mut self, shared: &Shared) -> io::Result<()> {
        let count = std::mem::take(&mut self.count);
        if count == 0 {
            return Ok(());
        }
        let packets = &mut self.packets[..count];
        match shared
            .tun
            .send_multiple(&mut self.gro, packets, VIRTIO_NET_HDR_LEN)
        {
            Ok(_) => Ok(()),
            Err(error) if error.raw_os_error() == Some(libc::EBADFD) => Err(error),
            // The device is down, or does not like a packet.
            Err(_) => {
                shared.counters.dropped_tun.add(1);
                Ok(())
            }
        }
    }
}

/// The session a run of data messages belongs to, locked.
struct Run<'a> {
    receiver: u32,
    peer: &'a Arc<Peer>,
    tunn: MutexGuard<'a, Tunn>,
    /// The last source that was found to be the peer's.
    source: Option<IpAddr>,
    bytes: u64,
}

/// One received message on its way through.
struct Batch<'a> {
    shared: &'a Shared,
    table: &'a Table,
    from: SocketAddr,
    opened: &'a mut Opened,
    scratch: &'a mut [u8],
}

impl Batch<'_> {
    fn message(&mut self, bytes: &[u8], segment: usize) -> io::Result<()> {
        if bytes.is_empty() {
            self.shared.counters.dropped_malformed.add(1);
        }
        let table = self.table;
        let mut run: Option<Run<'_>> = None;
        for datagram in bytes.chunks(segment) {
            let Some(receiver) = data_receiver(datagram) else {
                finish(&mut run, self.from);
                self.handshake(datagram);
                continue;
            };
            if run.as_ref().is_none_or(|run| run.receiver != receiver) {
                finish(&mut run, self.from);
                run = table.by_receiver(receiver).map(|peer| Run {
                    receiver,
                    peer,
                    tunn: peer.tunn(),
                    source: None,
                    bytes: 0,
                });
            }
            let Some(run) = &mut run else {
                self.shared.counters.dropped_unknown.add(1);
                continue;
            };
            self.data(run, datagram);
            if self.opened.count == COLLECT {
                self.opened.write(self.shared)?;
            }
        }
        finish(&mut run, self.from);
        Ok(())
    }

    /// Opens one data message.
    fn data(&mut self, run: &mut Run<'_>, datagram: &[u8]) {
        let counter = datagram[8..DATA_HEADER].try_into().map(u64::from_le_bytes);
        if counter.is_ok_and(|counter| counter >= REJECT_AFTER_MESSAGES) {
            run.peer.counters.dropped_replay.add(1);
            return;
        }
        let packet = &mut self.opened.packets[self.opened.count];
        // The plaintext is shorter than the datagram; the session wants room for its tag as well.
        packet.resize(VIRTIO_NET_HDR_LEN + datagram.len().max(DATA_MIN), 0);
        let room = &mut packet[VIRTIO_NET_HDR_LEN..];
        let (length, source) = match run.tunn.decapsulate(None, datagram, room) {
            TunnResult::WriteToTunnelV4(inner, source) => (inner.len(), IpAddr::V4(source)),
            TunnResult::WriteToTunnelV6(inner, source) => (inner.len(), IpAddr::V6(source)),
            TunnResult::Done => {
                // A keepalive.
                run.bytes += datagram.len() as u64;
                self.release(run);
                return;
            }
            TunnResult::WriteToNetwork(_) => return,
            TunnResult::Err(error) => {
                let counters = &run.peer.counters;
                match error {
                    WireGuardError::DuplicateCounter | WireGuardError::InvalidCounter => {
                        counters.dropped_replay.add(1);
                    }
                    WireGuardError::InvalidPacket => {
                        // Sealed well, so it is the peer's.
                        run.bytes += datagram.len() as u64;
                        counters.dropped_malformed.add(1);
                    }
                    _ => counters.dropped_forged.add(1),
                }
                return;
            }
        };
        run.bytes += datagram.len() as u64;
        self.release(run);
        if run.source != Some(source) {
            let owner = self.table.by_address(source);
            if owner.map(|peer| peer.index) != Some(run.peer.index) {
                run.peer.counters.dropped_source.add(1);
                return;
            }
            run.source = Some(source);
        }
        let packet = &mut self.opened.packets[self.opened.count];
        packet.truncate(VIRTIO_NET_HDR_LEN + length);
        self.opened.count += 1;
    }

    /// The peer uses the session: what waited for it can go, to where the peer now is.
    fn release(&mut self, run: &mut Run<'_>) {
        run.peer.note_data();
        if run.peer.has_queued() {
            run.peer.heard_from(self.from);
            run.peer
                .send_queued(&mut run.tunn, &self.shared.sockets, self.scratch);
        }
    }

    /// Handshake messages and cookies; anything else is malformed.
    fn handshake(&mut self, datagram: &[u8]) {
        let Shared {
            counters, sockets, ..
        } = self.shared;
        let mut cookie = [0u8; 64];
        let gate = &self.shared.gate;
        let packet = match gate.verify_packet(Some(self.from.ip()), datagram, &mut cookie) {
            Ok(packet) => packet,
            Err(TunnResult::WriteToNetwork(reply)) => {
                counters.cookie_replies.add(1);
                sockets.send_one(self.from, reply);
                return;
            }
            Err(TunnResult::Err(WireGuardError::InvalidMac)) => {
                counters.dropped_mac.add(1);
                return;
            }
            Err(_) => {
                counters.dropped_malformed.add(1);
                return;
            }
        };
        let peer = match &packet {
            Packet::HandshakeInit(init) => {
                let Shared {
                    private_key,
                    public_key,
                    ..
                } = self.shared;
                match parse_handshake_anon(private_key, public_key, init) {
                    Ok(half) => self.table.by_key(&half.peer_static_public),
                    Err(_) => {
                        counters.dropped_mac.add(1);
                        return;
                    }
                }
            }
            Packet::HandshakeResponse(response) => self.table.by_receiver(response.receiver_idx),
            Packet::PacketCookieReply(reply) => self.table.by_receiver(reply.receiver_idx),
            // Data is told apart before; too short to be data was refused by the gate.
            Packet::PacketData(_) => None,
        };
        let Some(peer) = peer else {
            counters.dropped_unknown.add(1);
            return;
        };
        let mut tunn = peer.tunn();
        match tunn.decapsulate(Some(self.from.ip()), datagram, self.scratch) {
            TunnResult::WriteToNetwork(reply) => {
                peer.counters.rx_bytes.add(datagram.len() as u64);
                peer.heard_from(self.from);
                match packet {
                    Packet::HandshakeInit(_) => peer.note_answered(),
                    _ => peer.note_handshake(),
                }
                peer.send(sockets, reply);
                peer.send_queued(&mut tunn, sockets, self.scratch);
            }
            TunnResult::Done => peer.counters.rx_bytes.add(datagram.len() as u64),
            TunnResult::Err(WireGuardError::WrongTai64nTimestamp) => {
                peer.counters.dropped_replay.add(1);
            }
            _ => peer.counters.dropped_forged.add(1),
        }
    }
}

/// Ends a run: where the peer was heard from, and how much, if anything was authentic.
fn finish(run: &mut Option<Run<'_>>, from: SocketAddr) {
    if let Some(run) = run.take()
        && run.bytes > 0
    {
        run.peer.counters.rx_bytes.add(run.bytes);
        run.peer.heard_from(from);
    }
}

/// The receiver index of a data message; `None` for every other message.
fn data_receiver(datagram: &[u8]) -> Option<u32> {
    if datagram.len() < DATA_MIN || datagram[..4] != [4, 0, 0, 0] {
        return None;
    }
    datagram[4..8].try_into().ok().map(u32::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_data_message_has_a_data_receiver() {
        let mut message = [0u8; 32];
        message[0] = 4;
        message[4..8].copy_from_slice(&7u32.to_le_bytes());
        assert_eq!(data_receiver(&message), Some(7));
        assert_eq!(data_receiver(&message[..31]), None);
        message[1] = 1;
        assert_eq!(data_receiver(&message), None);
        assert_eq!(data_receiver(&[]), None);
    }
}

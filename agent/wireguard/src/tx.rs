//! The sending thread: packets from the TUN device, sealed for the peer their address belongs to,
//! out through the UDP socket. Segments the kernel handed over as one stay one message.

use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::Arc;

use boringtun::noise::{Tunn, TunnResult};
use tun_rs::VIRTIO_NET_HDR_LEN;

use crate::outbox::Outbox;
use crate::peer::Peer;
use crate::shared::{Shared, Table};
use crate::sys::wait_readable;

/// The most segments one read is cut into: a 64 KB packet at the smallest segment a socket can be
/// told to use (88 bytes).
const MAX_SEGMENTS: usize = 744;
/// Room for a segment at the least, in bytes. The MTU is no constant of an engine: it is raised when the last
/// narrow peer goes, or the first wide one comes. Jumbo frames are the most a network card carries.
const ROOMY: usize = 9216;
/// Reads before the thread looks whether it is to stop.
const READS: usize = 64;

/// The state of the sending thread.
pub(crate) struct Sender {
    read: Vec<u8>,
    packets: Vec<u8>,
    stride: usize,
    sizes: Vec<usize>,
    /// Segments a read may be cut into for now. All are looked at on every read, so it begins with
    /// what full ones need and grows when smaller ones come, at the price of one packet.
    segments: usize,
    outbox: Outbox,
}

impl Sender {
    pub(crate) fn new(mtu: usize) -> Self {
        let stride = mtu.max(ROOMY).next_multiple_of(64);
        Self {
            read: vec![0; VIRTIO_NET_HDR_LEN + 65_535],
            // Pages of segments that never come, or are shorter, are never touched.
            packets: vec![0; MAX_SEGMENTS * stride],
            stride,
            sizes: vec![0; MAX_SEGMENTS],
            segments: (65_535 / mtu.saturating_sub(80).max(88) + 2).min(MAX_SEGMENTS),
            outbox: Outbox::new(),
        }
    }

    /// Waits for packets and carries what there is; false when the engine is to stop.
    pub(crate) fn turn(&mut self, shared: &Shared) -> io::Result<bool> {
        self.outbox.clear();
        let [_, stop] = wait_readable([Some(shared.tun.as_fd()), Some(shared.stop.as_fd())], None)?;
        if stop {
            return Ok(false);
        }
        let table = shared.table();
        let packets = self.packets.chunks_exact_mut(self.stride);
        let mut packets: Vec<&mut [u8]> = packets.take(self.segments).collect();
        for _ in 0..READS {
            let count = match shared.tun.recv_multiple(
                &mut self.read,
                &mut packets,
                &mut self.sizes[..self.segments],
                0,
            ) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => {
                    if is_gone(&error) {
                        return Err(error);
                    }
                    shared.counters.dropped_tun.add(1);
                    // Not the kernel's error but the splitting's: too small segments, at best.
                    if error.raw_os_error().is_none() && self.segments < MAX_SEGMENTS {
                        self.segments = MAX_SEGMENTS;
                        break;
                    }
                    continue;
                }
            };
            let read = packets.iter().zip(&self.sizes).take(count);
            seal(
                shared,
                &table,
                &mut self.outbox,
                read.map(|(packet, size)| &packet[..*size]),
            );
            self.outbox.flush_full(&shared.sockets);
        }
        self.outbox.flush(&shared.sockets);
        shared.counters.dropped_udp.add(self.outbox.take_lost());
        Ok(true)
    }
}

/// Whether the device is there no longer (or was never): trying again would only burn time.
fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EBADF | libc::EBADFD | libc::EFAULT | libc::ENODEV | libc::ENXIO)
    )
}

/// A run of packets for one peer, with its session locked.
struct Run<'a> {
    peer: &'a Arc<Peer>,
    tunn: std::sync::MutexGuard<'a, Tunn>,
    to: Option<std::net::SocketAddr>,
    bytes: u64,
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.peer.note_sent(self.bytes);
        }
    }
}

/// Seals packets into the outbox; consecutive ones for the same address share look-up and lock.
fn seal<'p>(
    shared: &Shared,
    table: &Table,
    outbox: &mut Outbox,
    packets: impl Iterator<Item = &'p [u8]>,
) {
    let mut last: Option<IpAddr> = None;
    let mut run: Option<Run<'_>> = None;
    for packet in packets {
        let Some(address) = Tunn::dst_address(packet) else {
            shared.counters.dropped_tun.add(1);
            continue;
        };
        if last != Some(address) {
            last = Some(address);
            let peer = table.by_address(address);
            if run.as_ref().map(|r| r.peer.index) != peer.map(|p| p.index) {
                // The old lock goes before the new one is taken: never two at a time.
                drop(run.take());
                run = peer.map(|peer| Run {
                    peer,
                    tunn: peer.tunn(),
                    to: peer.endpoint(),
                    bytes: 0,
                });
            }
        }
        let Some(run) = &mut run else {
            shared.counters.dropped_no_route.add(1);
            continue;
        };
        let Some(to) = run.to else {
            run.peer.counters.dropped_no_endpoint.add(1);
            continue;
        };
        let mut result = run.tunn.encapsulate(packet, outbox.room(&shared.sockets));
        if matches!(result, TunnResult::Done) && run.peer.note_queued() {
            let room = outbox.room(&shared.sockets);
            result = run.tunn.format_handshake_initiation(room, true);
        }
        match result {
            TunnResult::WriteToNetwork(message) => {
                let length = message.len();
                run.peer.note_sealed(message);
                outbox.commit(to, length);
                run.bytes += length as u64;
            }
            TunnResult::Done => {}
            TunnResult::Err(_)
            | TunnResult::WriteToTunnelV4(..)
            | TunnResult::WriteToTunnelV6(..) => shared.counters.dropped_udp.add(1),
        }
    }
}

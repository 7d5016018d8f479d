//! What an engine counts, and how it is told.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::SystemTime;

/// A number many threads add to.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// What is counted for each peer.
#[derive(Debug, Default)]
pub(crate) struct PeerCounters {
    pub(crate) tx_bytes: Counter,
    pub(crate) rx_bytes: Counter,
    pub(crate) dropped_source: Counter,
    pub(crate) dropped_replay: Counter,
    pub(crate) dropped_forged: Counter,
    pub(crate) dropped_malformed: Counter,
    pub(crate) dropped_no_endpoint: Counter,
}

/// What is counted where no peer is known.
#[derive(Debug, Default)]
pub(crate) struct EngineCounters {
    pub(crate) dropped_malformed: Counter,
    pub(crate) dropped_unknown: Counter,
    pub(crate) dropped_mac: Counter,
    pub(crate) cookie_replies: Counter,
    pub(crate) dropped_no_route: Counter,
    pub(crate) dropped_tun: Counter,
    pub(crate) dropped_udp: Counter,
    pub(crate) faults: Counter,
}

/// How one peer is doing. Byte counts are of UDP payloads, handshakes and keepalives included, as
/// `wg show` counts them; all counters start at zero with the peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerStats {
    /// The peer's public key.
    pub public_key: [u8; 32],
    /// Where it is sent to: where it was last heard from, or else what it was configured with.
    pub endpoint: Option<SocketAddr>,
    /// When the last handshake was completed, if ever.
    pub last_handshake: Option<SystemTime>,
    /// Bytes sent to the peer.
    pub tx_bytes: u64,
    /// Bytes received from the peer, counted once they are known to be its own.
    pub rx_bytes: u64,
    /// Packets whose source is not among the peer's allowed IPs.
    pub dropped_source: u64,
    /// Datagrams seen before or too old to tell.
    pub dropped_replay: u64,
    /// Datagrams that claim to be of the peer and are not: wrong tag, wrong session, no session.
    pub dropped_forged: u64,
    /// Packets that are sealed well and are not IP inside.
    pub dropped_malformed: u64,
    /// Packets for the peer while nobody knew where it is.
    pub dropped_no_endpoint: u64,
}

/// What an engine dropped without knowing whose it was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EngineStats {
    /// Datagrams that are no WireGuard message.
    pub dropped_malformed: u64,
    /// Messages for a receiver index or from a key that is not known.
    pub dropped_unknown: u64,
    /// Handshake messages that were not made for this node's key.
    pub dropped_mac: u64,
    /// Handshake messages answered with a cookie because there were too many of them.
    pub cookie_replies: u64,
    /// Packets for an address that is nobody's allowed IP.
    pub dropped_no_route: u64,
    /// Packets the TUN device gave or took badly.
    pub dropped_tun: u64,
    /// Datagrams the UDP socket did not take.
    pub dropped_udp: u64,
    /// Batches dropped because of a fault in the engine itself; always zero but for a bug.
    pub faults: u64,
}

impl EngineCounters {
    pub(crate) fn stats(&self) -> EngineStats {
        EngineStats {
            dropped_malformed: self.dropped_malformed.get(),
            dropped_unknown: self.dropped_unknown.get(),
            dropped_mac: self.dropped_mac.get(),
            cookie_replies: self.cookie_replies.get(),
            dropped_no_route: self.dropped_no_route.get(),
            dropped_tun: self.dropped_tun.get(),
            dropped_udp: self.dropped_udp.get(),
            faults: self.faults.get(),
        }
    }
}

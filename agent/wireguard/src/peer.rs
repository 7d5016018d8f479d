//! One peer: its session, where it is, and what is counted for it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime};

use boringtun::noise::rate_limiter::RateLimiter;
use boringtun::noise::{Tunn, TunnResult};
use boringtun::x25519;

use crate::config::PeerConfig;
use crate::counters::{PeerCounters, PeerStats};
use crate::shared::lock;
use crate::sockets::Sockets;

/// Where a peer is, and where it was said to be.
#[derive(Debug, Default)]
struct Endpoint {
    current: Option<SocketAddr>,
    configured: Option<SocketAddr>,
}

/// A peer with its session. Everything is behind its own lock or atomic, so that the two packet
/// threads, the timer and a reconfiguration wait for each other for the length of a batch at most.
pub(crate) struct Peer {
    pub(crate) public_key: [u8; 32],
    /// The upper 24 bits of every receiver index of this peer's sessions.
    pub(crate) index: u32,
    tunn: Mutex<Tunn>,
    endpoint: Mutex<Endpoint>,
    /// Milliseconds, 0 for none. Kept here and not in the session so that it can be changed
    /// without starting a new one.
    keepalive: AtomicU64,
    /// Packets wait in the session's queue for a handshake to end.
    queued: AtomicBool,
    /// A handshake was begun with no packet waiting for it.
    greeted: AtomicBool,
    /// We answered a handshake; it is complete when the peer uses it.
    answered: AtomicBool,
    handshake: Mutex<Option<SystemTime>>,
    last_sent: Mutex<Instant>,
    pub(crate) counters: PeerCounters,
}

impl Peer {
    pub(crate) fn new(
        config: &PeerConfig,
        private_key: &x25519::StaticSecret,
        index: u32,
        limiter: &Arc<RateLimiter>,
    ) -> Self {
        let tunn = Tunn::new(
            private_key.clone(),
            x25519::PublicKey::from(config.public_key),
            None,
            None,
            index,
            Some(Arc::clone(limiter)),
        );
        let peer = Self {
            public_key: config.public_key,
            index,
            tunn: Mutex::new(tunn),
            endpoint: Mutex::default(),
            keepalive: AtomicU64::new(0),
            queued: AtomicBool::new(false),
            greeted: AtomicBool::new(false),
            answered: AtomicBool::new(false),
            handshake: Mutex::new(None),
            last_sent: Mutex::new(Instant::now()),
            counters: PeerCounters::default(),
        };
        peer.configure(config);
        peer
    }

    /// Takes over endpoint and keepalive. An endpoint the peer was heard from stays until a
    /// different one is configured, so that repeating a configuration does not undo roaming.
    pub(crate) fn configure(&self, config: &PeerConfig) {
        let wanted = config
            .endpoint
            .map(|e| SocketAddr::new(e.ip().to_canonical(), e.port()));
        let mut endpoint = lock(&self.endpoint);
        if endpoint.configured != wanted {
            endpoint.configured = wanted;
            if wanted.is_some() {
                endpoint.current = wanted;
            }
        }
        drop(endpoint);
        let keepalive = config.keepalive.unwrap_or_default().as_millis();
        self.keepalive
            .store(u64::try_from(keepalive).unwrap_or(u64::MAX), Relaxed);
    }

    /// The session; held for a run of packets at a time.
    pub(crate) fn tunn(&self) -> MutexGuard<'_, Tunn> {
        lock(&self.tunn)
    }

    pub(crate) fn endpoint(&self) -> Option<SocketAddr> {
        lock(&self.endpoint).current
    }

    /// The peer proved that it speaks from `address`.
    pub(crate) fn heard_from(&self, address: SocketAddr) {
        let mut endpoint = lock(&self.endpoint);
        if endpoint.current != Some(address) {
            endpoint.current = Some(address);
        }
    }

    /// Notes what [`Tunn::encapsulate`] made of a packet: sealed it, or kept it for later.
    pub(crate) fn note_sealed(&self, message: &[u8]) {
        if !is_data(message) {
            self.queued.store(true, Relaxed);
        }
    }

    /// The packet was kept because a handshake is under way. True when that was only a greeting,
    /// which may have been lost on a peer that was not there yet: the first packet need not wait the
    /// five seconds until it is tried again.
    pub(crate) fn note_queued(&self) -> bool {
        self.queued.store(true, Relaxed);
        self.greeted.swap(false, Relaxed)
    }

    /// Whether packets wait for a handshake to end.
    pub(crate) fn has_queued(&self) -> bool {
        self.queued.load(Relaxed)
    }

    pub(crate) fn note_sent(&self, bytes: u64) {
        self.counters.tx_bytes.add(bytes);
        *lock(&self.last_sent) = Instant::now();
    }

    /// We answered the peer's handshake; it counts once the peer makes use of it.
    pub(crate) fn note_answered(&self) {
        self.answered.store(true, Relaxed);
    }

    /// A handshake was completed: by the answer to ours, or by data after we answered theirs.
    pub(crate) fn note_handshake(&self) {
        self.greeted.store(false, Relaxed);
        *lock(&self.handshake) = Some(SystemTime::now());
    }

    /// Data of the peer was authentic: completes a handshake we answered.
    pub(crate) fn note_data(&self) {
        if self.answered.load(Relaxed) && self.answered.swap(false, Relaxed) {
            self.note_handshake();
        }
    }

    /// Sends a datagram of ours to where the peer is.
    pub(crate) fn send(&self, sockets: &Sockets, message: &[u8]) {
        match self.endpoint() {
            Some(to) => {
                if sockets.send_one(to, message) {
                    self.note_sent(message.len() as u64);
                }
            }
            None => self.counters.dropped_no_endpoint.add(1),
        }
    }

    /// Sends what waited for a handshake, once there is a session to send it in.
    pub(crate) fn send_queued(&self, tunn: &mut Tunn, sockets: &Sockets, scratch: &mut [u8]) {
        if !self.queued.load(Relaxed) || tunn.time_since_last_handshake().is_none() {
            return;
        }
        self.queued.store(false, Relaxed);
        while let TunnResult::WriteToNetwork(message) = tunn.decapsulate(None, &[], scratch) {
            self.send(sockets, message);
        }
    }

    /// What is due by the clock: handshakes tried again, sessions renewed, keepalives.
    pub(crate) fn tick(&self, sockets: &Sockets, scratch: &mut [u8]) {
        let mut tunn = self.tunn();
        match tunn.update_timers(scratch) {
            TunnResult::WriteToNetwork(message) => self.send(sockets, message),
            // A session that expired is started anew by the next packet or keepalive.
            TunnResult::Done | TunnResult::Err(_) => {}
            TunnResult::WriteToTunnelV4(..) | TunnResult::WriteToTunnelV6(..) => {}
        }
        let keepalive = self.keepalive.load(Relaxed);
        let silent = lock(&self.last_sent).elapsed();
        if keepalive > 0 && silent >= Duration::from_millis(keepalive) {
            self.keep_alive(&mut tunn, sockets, scratch);
        }
    }

    /// Begins a handshake with a peer that was just added. After a restart of this node the peer
    /// would go on using a session we no longer have, for up to 15 seconds.
    pub(crate) fn greet(&self, sockets: &Sockets, scratch: &mut [u8]) {
        if self.endpoint().is_some() {
            self.greeted.store(true, Relaxed);
            self.keep_alive(&mut self.tunn(), sockets, scratch);
        }
    }

    fn keep_alive(&self, tunn: &mut Tunn, sockets: &Sockets, scratch: &mut [u8]) {
        // Without a session an empty packet would only fill the queue: ask for a handshake.
        let result = match tunn.time_since_last_handshake() {
            Some(_) => tunn.encapsulate(&[], scratch),
            None => tunn.format_handshake_initiation(scratch, false),
        };
        if let TunnResult::WriteToNetwork(message) = result {
            self.send(sockets, message);
        }
    }

    pub(crate) fn stats(&self) -> PeerStats {
        PeerStats {
            public_key: self.public_key,
            endpoint: self.endpoint(),
            last_handshake: *lock(&self.handshake),
            tx_bytes: self.counters.tx_bytes.get(),
            rx_bytes: self.counters.rx_bytes.get(),
            dropped_source: self.counters.dropped_source.get(),
            dropped_replay: self.counters.dropped_replay.get(),
            dropped_forged: self.counters.dropped_forged.get(),
            dropped_malformed: self.counters.dropped_malformed.get(),
            dropped_no_endpoint: self.counters.dropped_no_endpoint.get(),
        }
    }
}

impl std::fmt::Debug for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peer")
            .field("public_key", &crate::keys::short(&self.public_key))
            .finish_non_exhaustive()
    }
}

/// Whether a message carries a packet, rather than being part of a handshake.
fn is_data(message: &[u8]) -> bool {
    message.first() == Some(&4)
}

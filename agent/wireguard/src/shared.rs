//! What the threads of one engine share: the device, the sockets, and the table of peers, which is
//! replaced as a whole so that nobody waits for a change of it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use boringtun::noise::rate_limiter::RateLimiter;
use boringtun::x25519;
use tun_rs::SyncDevice;

use crate::counters::EngineCounters;
use crate::peer::Peer;
use crate::routes::Routes;
use crate::sockets::Sockets;
use crate::sys::Event;

/// Handshake messages a second from which on the sender has to prove its address by a cookie.
const HANDSHAKES_PER_SECOND: u64 = 100;

/// Locks, also after a thread panicked with the lock held: what our locks guard is whole at every
/// step, and one lost batch must not end all traffic.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The peers, found by key, by receiver index and by address.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) peers: Vec<Arc<Peer>>,
    by_index: HashMap<u32, usize>,
    by_key: HashMap<[u8; 32], usize>,
    routes: Routes<usize>,
}

impl Table {
    pub(crate) fn new() -> Self {
        Self {
            peers: Vec::new(),
            by_index: HashMap::new(),
            by_key: HashMap::new(),
            routes: Routes::new(),
        }
    }

    pub(crate) fn insert(&mut self, peer: Arc<Peer>, allowed_ips: &[ipnet::IpNet]) {
        let at = self.peers.len();
        self.by_index.insert(peer.index, at);
        self.by_key.insert(peer.public_key, at);
        for net in allowed_ips {
            self.routes.insert(*net, at);
        }
        self.peers.push(peer);
    }

    /// The peer whose session `receiver` (as in a message) belongs to.
    pub(crate) fn by_receiver(&self, receiver: u32) -> Option<&Arc<Peer>> {
        self.by_index(receiver >> 8)
    }

    pub(crate) fn by_index(&self, index: u32) -> Option<&Arc<Peer>> {
        self.by_index.get(&index).map(|at| &self.peers[*at])
    }

    pub(crate) fn by_key(&self, key: &[u8; 32]) -> Option<&Arc<Peer>> {
        self.by_key.get(key).map(|at| &self.peers[*at])
    }

    /// The peer that `address` is reached through and may send from.
    pub(crate) fn by_address(&self, address: IpAddr) -> Option<&Arc<Peer>> {
        self.routes.get(address).map(|at| &self.peers[at])
    }
}

/// Why the engine no longer carries packets though nobody stopped it.
#[derive(Debug, Default)]
pub(crate) struct Failure(Mutex<Option<String>>);

impl Failure {
    pub(crate) fn get(&self) -> Option<String> {
        lock(&self.0).clone()
    }
}

/// Everything the threads of an engine need.
pub(crate) struct Shared {
    pub(crate) interface: String,
    pub(crate) mtu: usize,
    pub(crate) private_key: x25519::StaticSecret,
    pub(crate) public_key: x25519::PublicKey,
    pub(crate) tun: SyncDevice,
    pub(crate) sockets: Sockets,
    pub(crate) stop: Event,
    pub(crate) failure: Failure,
    pub(crate) counters: EngineCounters,
    /// Decides about handshake messages, before any costly arithmetic.
    pub(crate) gate: RateLimiter,
    /// What the sessions are given instead: they must not count a second time.
    pub(crate) no_limit: Arc<RateLimiter>,
    table: RwLock<Arc<Table>>,
}

impl Shared {
    pub(crate) fn new(
        interface: String,
        mtu: u16,
        private_key: [u8; 32],
        tun: SyncDevice,
        sockets: Sockets,
        stop: Event,
    ) -> Self {
        let private_key = x25519::StaticSecret::from(private_key);
        let public_key = x25519::PublicKey::from(&private_key);
        Self {
            interface,
            mtu: usize::from(mtu),
            gate: RateLimiter::new(&public_key, HANDSHAKES_PER_SECOND),
            no_limit: Arc::new(RateLimiter::new(&public_key, u64::MAX)),
            private_key,
            public_key,
            tun,
            sockets,
            stop,
            failure: Failure::default(),
            counters: EngineCounters::default(),
            table: RwLock::new(Arc::new(Table::new())),
        }
    }

    /// The peers as they are now; a batch works with one table from start to end.
    pub(crate) fn table(&self) -> Arc<Table> {
        Arc::clone(&self.table.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn replace_table(&self, table: Table) {
        let table = Arc::new(table);
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = table;
    }

    /// Ends the engine for a reason that none of its threads can do anything about.
    pub(crate) fn fail(&self, reason: String) {
        tracing::error!(interface = %self.interface, %reason, "wireguard engine stopped");
        lock(&self.failure.0).get_or_insert(reason);
        self.stop.raise();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PeerConfig;

    #[test]
    fn a_peer_is_found_by_key_by_any_of_its_session_indexes_and_by_address() {
        let secret = x25519::StaticSecret::from([1; 32]);
        let limiter = Arc::new(RateLimiter::new(&x25519::PublicKey::from(&secret), 1));
        let mut table = Table::new();
        for (key, index, net) in [(2, 0x00_0a_0b, "10.1.0.0/24"), (3, 0xff_ff_ff, "fd01::/64")] {
            let config = PeerConfig {
                public_key: [key; 32],
                endpoint: None,
                allowed_ips: vec![net.parse().expect("a network")],
                keepalive: None,
            };
            let peer = Peer::new(&config, &secret, index, &limiter);
            table.insert(Arc::new(peer), &config.allowed_ips);
        }
        let key = |peer: Option<&Arc<Peer>>| peer.map(|p| p.public_key[0]);
        assert_eq!(key(table.by_key(&[3; 32])), Some(3));
        assert_eq!(key(table.by_receiver(0x0a_0b_07)), Some(2));
        assert_eq!(key(table.by_receiver(0xff_ff_ff_ff)), Some(3));
        assert_eq!(key(table.by_receiver(0)), None);
        let address = |text: &str| text.parse().expect("an address");
        assert_eq!(key(table.by_address(address("10.1.0.9"))), Some(2));
        assert_eq!(key(table.by_address(address("fd01::9"))), Some(3));
        assert_eq!(key(table.by_address(address("10.2.0.9"))), None);
    }
}

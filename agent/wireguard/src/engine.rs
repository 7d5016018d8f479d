//! Starting, configuring and stopping an engine.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use boringtun::x25519;
use tun_rs::{DeviceBuilder, SyncDevice};

use crate::config::{EngineConfig, PeerConfig, validate_engine, validate_peers};
use crate::counters::{EngineStats, PeerStats};
use crate::error::EngineError;
use crate::keys::random_index;
use crate::outbox::ROOM;
use crate::peer::Peer;
use crate::rx::Receiver;
use crate::shared::{Shared, Table, lock};
use crate::sockets::Sockets;
use crate::sys::Event;
use crate::timer::Timer;
use crate::tx::Sender;

/// Room each thread is given; none of them recurses.
const STACK_BYTES: usize = 512 * 1024;
/// How often, and how long apart, a taken name or port is tried again.
const ATTEMPTS: usize = 10;
const PAUSE: Duration = Duration::from_millis(20);

/// A running WireGuard interface. Dropping it stops the threads and removes the interface.
pub struct Engine {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    /// One reconfiguration at a time.
    reconfiguration: Mutex<()>,
}

impl Engine {
    /// Makes the TUN device and binds the UDP port, both in the network namespace of the calling
    /// thread, and starts carrying packets. The interface is up and has no address and no peer.
    ///
    /// # Errors
    /// A name or MTU that cannot be, a device or port that cannot be had. Nothing is left behind.
    pub fn start(config: EngineConfig) -> Result<Self, EngineError> {
        validate_engine(&config)?;
        let interface = config.interface;
        let sockets = patiently(|| Sockets::bind(config.listen_port))?;
        let tun = patiently(|| make_tun(&interface, config.mtu))?;
        let stop = Event::new().map_err(|source| EngineError::StartThread {
            interface: interface.clone(),
            thread: "stop event",
            source,
        })?;
        let shared = Arc::new(Shared::new(
            interface,
            config.mtu,
            config.private_key,
            tun,
            sockets,
            stop,
        ));
        let mut engine = Self {
            shared,
            threads: Vec::with_capacity(3),
            reconfiguration: Mutex::new(()),
        };
        let mut sender = Sender::new(engine.shared.mtu);
        let mut receiver = Receiver::new();
        let mut timer = Timer::new();
        // From here on dropping `engine` undoes what was started.
        engine.spawn("skep-wg-tx", move |shared| sender.turn(shared))?;
        engine.spawn("skep-wg-rx", move |shared| receiver.turn(shared))?;
        engine.spawn("skep-wg-timer", move |shared| timer.turn(shared))?;
        Ok(engine)
    }

    /// Runs `turn` on a thread of its own until it says to stop or fails. A panic costs the batch
    /// it came from, not the engine.
    fn spawn<F>(&mut self, name: &'static str, mut turn: F) -> Result<(), EngineError>
    where
        F: FnMut(&Shared) -> io::Result<bool> + Send + 'static,
    {
        let shared = Arc::clone(&self.shared);
        let body = move || loop {
            match catch_unwind(AssertUnwindSafe(|| turn(&shared))) {
                Ok(Ok(true)) => {}
                Ok(Ok(false)) => break,
                Ok(Err(error)) => {
                    shared.fail(format!("{name}: {error}"));
                    break;
                }
                Err(_) => {
                    shared.counters.faults.add(1);
                    tracing::error!(interface = %shared.interface, thread = name, "batch dropped after a panic");
                }
            }
        };
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .stack_size(STACK_BYTES)
            .spawn(body)
            .map_err(|source| EngineError::StartThread {
                interface: self.shared.interface.clone(),
                thread: name,
                source,
            })?;
        self.threads.push(thread);
        Ok(())
    }

    /// Makes `peers` the peers of this interface: new ones are added, known ones keep their
    /// session and counters and take over endpoint, allowed IPs and keepalive, all others go.
    /// Traffic goes on meanwhile.
    ///
    /// # Errors
    /// A list that contradicts itself (see [`validate_peers`]); nothing is changed then.
    pub fn set_peers(&self, peers: &[PeerConfig]) -> Result<(), EngineError> {
        validate_peers(self.shared.public_key.as_bytes(), peers)?;
        let _one_at_a_time = lock(&self.reconfiguration);
        let old = self.shared.table();
        let mut new = Table::new();
        let mut added = Vec::new();
        for config in peers {
            let peer = match old.by_key(&config.public_key) {
                Some(peer) => {
                    peer.configure(config);
                    Arc::clone(peer)
                }
                None => {
                    let peer = Arc::new(self.make_peer(config, &[&old, &new]));
                    added.push(Arc::clone(&peer));
                    peer
                }
            };
            new.insert(peer, &config.allowed_ips);
        }
        self.shared.replace_table(new);
        let mut scratch = vec![0; ROOM];
        for peer in added {
            peer.greet(&self.shared.sockets, &mut scratch);
        }
        Ok(())
    }

    /// A peer with an index that neither table knows.
    fn make_peer(&self, config: &PeerConfig, tables: &[&Table]) -> Peer {
        let mut index = random_index();
        while tables.iter().any(|table| table.by_index(index).is_some()) {
            index = (index + 1) & 0x00ff_ffff;
        }
        Peer::new(
            config,
            &self.shared.private_key,
            index,
            &self.shared.no_limit,
        )
    }

    /// How every peer is doing, in the order of the last [`set_peers`](Self::set_peers).
    #[must_use]
    pub fn stats(&self) -> Vec<PeerStats> {
        self.shared
            .table()
            .peers
            .iter()
            .map(|p| p.stats())
            .collect()
    }

    /// What was dropped without knowing whose it was.
    #[must_use]
    pub fn engine_stats(&self) -> EngineStats {
        self.shared.counters.stats()
    }

    /// The UDP port that peers reach this engine at.
    #[must_use]
    pub fn listen_port(&self) -> u16 {
        self.shared.sockets.port()
    }

    /// This engine's public key.
    #[must_use]
    pub fn public_key(&self) -> [u8; 32] {
        x25519::PublicKey::to_bytes(&self.shared.public_key)
    }

    /// The name of the interface.
    #[must_use]
    pub fn interface(&self) -> &str {
        &self.shared.interface
    }

    /// Why the engine ended by itself, if it did: someone deleted its interface, for example. All
    /// one can do is drop it and start another.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.shared.failure.get()
    }

    /// Stops the threads, closes the port and removes the interface, and returns when that is done.
    pub fn stop(self) {
        drop(self);
    }
}

fn make_tun(interface: &str, mtu: u16) -> Result<SyncDevice, EngineError> {
    DeviceBuilder::new()
        .name(interface)
        .mtu(mtu)
        .offload(true)
        .enable(true)
        .build_sync()
        .and_then(|tun| tun.set_nonblocking(true).map(|()| tun))
        .map_err(|source| EngineError::CreateTun {
            interface: interface.to_owned(),
            source,
        })
}

/// Tries again for a moment what fails because a name or port is taken: a process being started
/// holds copies of all our descriptors until it executes its program, also of an engine that was
/// stopped just before.
fn patiently<T>(mut make: impl FnMut() -> Result<T, EngineError>) -> Result<T, EngineError> {
    for _ in 0..ATTEMPTS {
        match make() {
            Err(EngineError::BindUdp { source, .. } | EngineError::CreateTun { source, .. })
                if matches!(source.raw_os_error(), Some(libc::EADDRINUSE | libc::EBUSY)) =>
            {
                std::thread::sleep(PAUSE)
            }
            result => return result,
        }
    }
    make()
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.shared.stop.raise();
        for thread in self.threads.drain(..) {
            // A thread catches its own panics; there is nothing to learn from its end.
            let _ = thread.join();
        }
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("interface", &self.shared.interface)
            .field("listen_port", &self.listen_port())
            .finish_non_exhaustive()
    }
}

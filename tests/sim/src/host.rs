//! A simulated machine: what outlives its processes, and the process that runs
//! now.

use crate::containers::{Containers, Shelf};
use crate::daemon::{self, Origin};
use crate::network::Fabric;
use crate::process::Process;
use skep_manager::Manager;
use skep_manager_ca::{Identity, Request};
use skep_manager_raft::disk::Simulated;
use skep_transport::Network;
use skep_types::NodeId;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

/// The port of managers.
const PORT: u16 = 2377;

/// What a node keeps in its files, all of it durable at once.
#[derive(Default)]
pub(crate) struct Files {
    pub(crate) identity: Option<Identity>,
    /// The key with which it asks to join.
    pub(crate) joining: Option<Request>,
    pub(crate) managers: Vec<String>,
    pub(crate) raft_id: Option<u64>,
    /// Its log has been written to.
    pub(crate) has_log: bool,
    /// Logs of earlier memberships are left where they are.
    pub(crate) raft_dirs: u32,
}

/// What a process finds on its machine.
pub(crate) struct Site {
    pub(crate) name: String,
    pub(crate) ip: IpAddr,
    pub(crate) origin: Origin,
    pub(crate) network: Arc<dyn Network>,
    pub(crate) disk: Simulated,
    /// Entries after which the managers make a snapshot.
    pub(crate) snapshot_every: u64,
    files: Arc<Mutex<Files>>,
    pub(crate) containers: Containers,
    seat: Mutex<Seat>,
}

/// A node's seat among the managers.
#[derive(Default)]
pub(crate) enum Seat {
    /// It has none.
    #[default]
    Empty,
    /// Its manager runs.
    Taken(Manager),
    /// It has one and cannot take it; for good if so.
    Lost(bool),
}

impl Seat {
    pub(crate) fn manager(&self) -> Option<&Manager> {
        match self {
            Seat::Taken(manager) => Some(manager),
            Seat::Empty | Seat::Lost(_) => None,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn raft_dir(number: u32) -> PathBuf {
    PathBuf::from(format!("/raft-{number}"))
}

impl Site {
    pub(crate) fn files(&self) -> MutexGuard<'_, Files> {
        lock(&self.files)
    }

    /// Its seat among the managers.
    pub(crate) fn seat(&self) -> MutexGuard<'_, Seat> {
        lock(&self.seat)
    }

    pub(crate) fn listen(&self) -> SocketAddr {
        SocketAddr::new(self.ip, PORT)
    }

    pub(crate) fn address(&self) -> String {
        self.listen().to_string()
    }

    pub(crate) fn raft_dir(&self) -> PathBuf {
        raft_dir(self.files().raft_dirs)
    }

    /// A log of an earlier time as a manager is another member's.
    pub(crate) fn new_raft_dir(&self) {
        let mut files = self.files();
        files.raft_dirs += 1;
        files.has_log = false;
    }
}

/// How a process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fall {
    /// The process is killed; the system goes on, its disk cache too.
    Killed,
    /// The machine loses its power.
    PowerLost,
}

/// A machine.
pub(crate) struct Host {
    pub(crate) name: String,
    pub(crate) ip: IpAddr,
    fabric: Fabric,
    origin: Origin,
    pub(crate) disk: Simulated,
    snapshot_every: u64,
    files: Arc<Mutex<Files>>,
    pub(crate) containers: Containers,
    running: Option<(Process, Arc<Site>)>,
    /// It does not run until then, as after SIGSTOP.
    pub(crate) stopped_until: Duration,
    /// Its clock on the wall is ahead by this.
    pub(crate) skew_ms: i64,
    /// It is not started again.
    pub(crate) retired: bool,
    /// When something last went wrong with it.
    pub(crate) disturbed: Duration,
}

impl Host {
    pub(crate) fn new(
        number: u8,
        fabric: &Fabric,
        origin: Origin,
        seed: u64,
        snapshot_every: u64,
    ) -> Host {
        Host {
            name: format!("n{number}"),
            ip: IpAddr::V4(Ipv4Addr::new(10, 0, 0, number)),
            fabric: fabric.clone(),
            origin,
            disk: Simulated::new(seed),
            snapshot_every,
            files: Arc::default(),
            containers: Containers::default(),
            running: None,
            stopped_until: Duration::ZERO,
            skew_ms: 0,
            retired: false,
            disturbed: Duration::ZERO,
        }
    }

    /// Who it is, once it is in a swarm.
    pub(crate) fn node(&self) -> Option<NodeId> {
        let files = lock(&self.files);
        files.identity.as_ref().map(|identity| identity.peer().node)
    }

    /// Whether its certificate does not hold at this time.
    pub(crate) fn is_expired(&self, now: SystemTime) -> bool {
        let files = lock(&self.files);
        let identity = files.identity.as_ref();
        identity.is_some_and(|identity| identity.check_time(now).is_err())
    }

    /// It is in no swarm any more, with nothing of before, and will come to one
    /// as it is told.
    pub(crate) fn leave(&mut self, next: Origin) {
        self.fall(Fall::Killed);
        let mut files = lock(&self.files);
        // Logs of before stay where they are.
        *files = Files {
            raft_dirs: files.raft_dirs + 1,
            ..Files::default()
        };
        *self.containers.lock() = Shelf::default();
        self.origin = next;
    }

    /// Changes one bit of what its manager has on the disk, chosen by these
    /// numbers; the file and the place of it.
    pub(crate) fn damage(&self, file: u64, byte: u64, bit: u64) -> Option<(PathBuf, u64)> {
        let dir = raft_dir(lock(&self.files).raft_dirs);
        let files = self.disk.files().into_iter();
        let own: Vec<_> = files.filter(|(path, _)| path.starts_with(&dir)).collect();
        let (path, _) = own.get((file % own.len().max(1) as u64) as usize)?;
        let bytes = self.disk.start().read(path).ok()?;
        // What is preallocated is zero.
        let used = bytes.iter().rposition(|byte| *byte != 0)? as u64 + 1;
        let at = byte % used;
        let flipped = self.disk.flip(path, at, (bit % 8) as u8);
        flipped.then(|| (path.clone(), at))
    }

    /// What its process works with, while there is one.
    pub(crate) fn site(&self) -> Option<&Arc<Site>> {
        self.running.as_ref().map(|(_, site)| site)
    }

    /// Its process, while there is one.
    pub(crate) fn process(&self) -> Option<&Process> {
        self.running.as_ref().map(|(process, _)| process)
    }

    /// Starts its daemon.
    ///
    /// # Errors
    /// If there is no room for a process.
    pub(crate) fn start(&mut self) -> std::io::Result<()> {
        self.fabric.set_power(self.ip, true);
        let site = Arc::new(Site {
            name: self.name.clone(),
            ip: self.ip,
            origin: self.origin.clone(),
            network: self.fabric.at(self.ip),
            disk: self.disk.clone(),
            snapshot_every: self.snapshot_every,
            files: self.files.clone(),
            containers: self.containers.clone(),
            seat: Mutex::default(),
        });
        let process = Process::new()?;
        process.spawn(daemon::run(site.clone()));
        self.running = Some((process, site));
        Ok(())
    }

    /// Ends its daemon.
    pub(crate) fn fall(&mut self, how: Fall) {
        if how == Fall::PowerLost {
            self.fabric.set_power(self.ip, false);
        }
        let Some((process, site)) = self.running.take() else {
            return;
        };
        if how == Fall::PowerLost {
            process.enter(|| self.disk.crash());
            self.containers.lock().power_lost();
        }
        // Its tasks go first, then what they left in the site.
        drop(process);
        drop(site);
    }
}

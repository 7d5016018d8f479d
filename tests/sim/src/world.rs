//! The simulated swarm: its hosts, its network, and how time goes.

use crate::clients::Clients;
use crate::daemon::Origin;
use crate::host::{Fall, Host};
use crate::invariants::Observer;
use crate::kernel;
use crate::network::{Fabric, Weather};
use crate::operator::Operator;
use crate::rng::Rng;
use crate::trace;
use skep_manager_ca::{CaBundle, JoinToken};
use skep_manager_store::Snapshot;
use skep_types::Role;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How far each host runs before the next one does. Nothing gets from host to
/// host faster, so the order in which they run within it does not matter.
pub(crate) const STEP: Duration = Duration::from_millis(1);

/// A calm local network.
pub(crate) const CALM: Weather = Weather {
    delay_min: STEP,
    delay_spread: Duration::from_micros(500),
    loss: 0,
};

/// How long after a disturbance a host counts as disturbed.
const RECOVERS: Duration = Duration::from_secs(10);

/// The swarm.
pub(crate) struct World {
    pub(crate) rng: Rng,
    pub(crate) now: Duration,
    /// What all clocks on the wall are ahead of `now`: time in which nothing ran.
    pub(crate) slept: Duration,
    pub(crate) fabric: Fabric,
    pub(crate) hosts: Vec<Host>,
    pub(crate) clients: Clients,
    pub(crate) observer: Observer,
    pub(crate) operator: Operator,
    /// The first broken promise.
    pub(crate) broken: Option<String>,
    /// Since when there has been a leader.
    led_since: Duration,
    begun: Instant,
}

impl World {
    /// One without hosts. The thread must live in a simulation already.
    pub(crate) fn new(seed: u64, clients: Clients) -> World {
        let mut rng = Rng::new(seed);
        World {
            now: Duration::ZERO,
            slept: Duration::ZERO,
            fabric: Fabric::new(rng.next(), CALM),
            hosts: Vec::new(),
            clients,
            observer: Observer::default(),
            operator: Operator::default(),
            broken: None,
            led_since: Duration::ZERO,
            begun: Instant::now(),
            rng,
        }
    }

    /// A further host, that is not running yet.
    pub(crate) fn add_host(&mut self, origin: Origin, snapshot_every: u64) -> usize {
        let number = self.hosts.len() as u8 + 1;
        let seed = self.rng.next();
        let host = Host::new(number, &self.fabric, origin, seed, snapshot_every);
        self.hosts.push(host);
        self.hosts.len() - 1
    }

    /// Starts a host's daemon.
    pub(crate) fn start(&mut self, host: usize) {
        if let Err(error) = self.hosts[host].start() {
            self.fail("the_simulation_runs", &error.to_string());
        }
    }

    /// Ends a host's daemon.
    pub(crate) fn fall(&mut self, host: usize, how: Fall) {
        self.disturb(host);
        self.hosts[host].fall(how);
    }

    /// Something goes wrong with a host now.
    pub(crate) fn disturb(&mut self, host: usize) {
        self.hosts[host].disturbed = self.now;
    }

    /// Whether a host has run, and could reach the others, for a while, and
    /// somebody led them meanwhile. Who has an expired certificate reaches nobody until
    /// a person has it join anew.
    pub(crate) fn is_well(&self, host: &Host) -> bool {
        let runs = host.process().is_some() && host.stopped_until <= self.now;
        let known = host.node().zip(self.observer.newest.as_ref());
        let calm = self.now > self.led_since.max(host.disturbed) + RECOVERS;
        runs && calm
            && !host.is_expired(self.wall(host))
            && self.fabric.is_whole()
            && known.is_some_and(|(node, state)| state.node(node).is_some())
    }

    /// What a clock on the wall that is ahead by `skew_ms` is ahead of `now`.
    fn ahead_ms(&self, skew_ms: i64) -> i64 {
        i64::try_from(self.slept.as_millis()).unwrap_or(i64::MAX) + skew_ms
    }

    /// What a host's clock on the wall says.
    pub(crate) fn wall(&self, host: &Host) -> SystemTime {
        let ahead = self.ahead_ms(host.skew_ms);
        let by = Duration::from_millis(ahead.unsigned_abs());
        let now = UNIX_EPOCH + kernel::since_1970(self.now);
        if ahead < 0 { now - by } else { now + by }
    }

    /// One step of time for everybody.
    pub(crate) fn step(&mut self) {
        kernel::set_clock(self.now, self.ahead_ms(0));
        trace::place(self.now, "");
        self.fabric.advance(self.now);
        let (from, until) = (self.begun + self.now, self.begun + self.now + STEP);
        for host in &self.hosts {
            let Some(process) = host.process() else {
                continue;
            };
            if host.stopped_until <= self.now {
                kernel::set_clock(self.now, self.ahead_ms(host.skew_ms));
                trace::place(self.now, &host.name);
                process.run(from, until);
            }
        }
        self.now += STEP;
        if self.now.as_millis().is_multiple_of(100) && self.leader().is_none() {
            self.led_since = self.now;
        }
        kernel::set_clock(self.now, self.ahead_ms(0));
        trace::place(self.now, "");
    }

    /// The newest state that any manager has shown.
    pub(crate) fn state(&self) -> Option<Snapshot> {
        self.observer.newest.clone()
    }

    /// The host whose manager leads, by its own word.
    pub(crate) fn leader(&self) -> Option<usize> {
        let leads = |host: &Host| {
            let site = host.site()?;
            Some(site.seat().manager()?.is_leader())
        };
        self.hosts.iter().position(|host| leads(host) == Some(true))
    }

    /// The token with which a node of this role joins.
    pub(crate) fn token(&self, role: Role) -> Option<String> {
        let state = self.state()?;
        let cluster = state.cluster()?;
        let digest = CaBundle::from_pem(&cluster.root_ca.certificate)
            .ok()?
            .digest();
        let secret = match role {
            Role::Manager => &cluster.join_secrets.manager,
            Role::Worker => &cluster.join_secrets.worker,
        };
        Some(JoinToken::new(digest, secret).ok()?.to_string())
    }

    /// Where managers are, as a user who wrote them down knows.
    pub(crate) fn manager_addresses(&self) -> Vec<String> {
        let Some(state) = self.state() else {
            return Vec::new();
        };
        let managers = state.nodes().filter_map(|node| node.manager.as_ref());
        managers.map(|manager| manager.address.clone()).collect()
    }

    /// Records a broken promise; the first one counts.
    pub(crate) fn fail(&mut self, invariant: &str, how: &str) {
        let message = format!("{invariant}: {how}");
        trace::note(&format!("BROKEN {message}"));
        self.broken.get_or_insert(message);
    }
}

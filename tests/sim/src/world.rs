//! The simulated swarm, and a run from seed to verdict.

use crate::agent::Agent;
use crate::invariants;
use crate::rng::Rng;
use crate::{driver, faults, workload};
use skep_manager_planner::{IdSource, Liveness};
use skep_manager_store::{Action, Applied, ClusterAction, NetworkAction, NodeAction, Store};
use skep_types::{
    ByteCount, Cluster, ClusterSpec, JoinSecrets, NanoCpus, NetworkSpec, Node, NodeDescription,
    NodeId, NodeSpec, NodeStatus, Role, RootCa, Timestamp, Version,
};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

/// Time between steps.
const TICK: Duration = Duration::from_millis(250);
/// Steps with faults.
const STEPS_FAULTY: u64 = 400;
/// Steps in which everything has to come right again: more than the longest
/// backoff and the longest update of a small service need.
const STEPS_QUIET: u64 = 1600;
/// Longest trace kept, in bytes; the beginning goes first.
const TRACE_MAX: usize = 1 << 22;

/// A seed whose run broke a promise.
#[derive(Debug)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// The step.
    pub step: u64,
    /// Which invariant, and how.
    pub message: String,
    /// What happened.
    pub trace: String,
}

/// The swarm.
pub(crate) struct World {
    pub(crate) rng: Rng,
    pub(crate) store: Store,
    /// A follower that applies the same entries.
    pub(crate) follower: Store,
    pub(crate) now: Timestamp,
    pub(crate) liveness: Liveness,
    pub(crate) ids: IdSource,
    pub(crate) agents: BTreeMap<NodeId, Agent>,
    pub(crate) driver: driver::Driver,
    /// Faults may happen.
    pub(crate) faulty: bool,
    pub(crate) step: u64,
    pub(crate) trace: String,
    pub(crate) broken: Option<String>,
    index: u64,
}

/// Runs one seed to the end.
///
/// # Errors
/// A broken promise, with the trace that led to it.
pub fn run(seed: u64) -> Result<String, Box<Failure>> {
    let mut world = World::new(seed);
    for step in 0..STEPS_FAULTY + STEPS_QUIET {
        world.step = step;
        world.now = world.now + TICK;
        if step == STEPS_FAULTY {
            world.note("faults stop");
            faults::heal(&mut world);
        }
        world.faulty = step < STEPS_FAULTY;
        if world.faulty {
            workload::act(&mut world);
            faults::act(&mut world);
        }
        Agent::act_all(&mut world);
        driver::act(&mut world);
        if step % 50 == 0 {
            invariants::check_rarely(&mut world);
        }
        if world.broken.is_some() {
            break;
        }
    }
    if world.broken.is_none() {
        invariants::check_at_the_end(&mut world);
    }
    match world.broken {
        None => Ok(world.trace),
        Some(message) => Err(Box::new(Failure {
            seed,
            step: world.step,
            message,
            trace: world.trace,
        })),
    }
}

impl World {
    fn new(seed: u64) -> World {
        let now = Timestamp(1_000_000_000);
        let mut world = World {
            rng: Rng::new(seed),
            store: Store::new(),
            follower: Store::new(),
            now,
            liveness: Liveness::new(now),
            ids: IdSource::new(u128::from(seed)),
            agents: BTreeMap::new(),
            driver: driver::Driver::default(),
            faulty: true,
            step: 0,
            trace: String::new(),
            broken: None,
            index: 0,
        };
        let mut actions = vec![
            Action::Cluster(ClusterAction::Create(Box::new(world.cluster()))),
            Action::Network(NetworkAction::Create {
                id: world.ids.network(),
                spec: Box::new(NetworkSpec {
                    name: "ingress".into(),
                    ingress: true,
                    ..NetworkSpec::default()
                }),
            }),
        ];
        for number in 0..2 + world.rng.below(6) {
            let id = world.ids.node();
            world.agents.insert(id, Agent::default());
            actions.push(Action::Node(NodeAction::Create(Box::new(Node {
                id,
                meta: Default::default(),
                spec: NodeSpec {
                    labels: [("zone".to_owned(), format!("z{}", number % 2))].into(),
                    ..NodeSpec::default()
                },
                description: NodeDescription {
                    hostname: format!("n{number}"),
                    cpus: NanoCpus(4_000_000_000),
                    memory: ByteCount(8 << 30),
                    ..NodeDescription::default()
                },
                status: NodeStatus::default(),
                role: Role::Worker,
                manager: None,
                mesh: None,
            }))));
        }
        world.apply("setup", &actions);
        world
    }

    fn cluster(&mut self) -> Cluster {
        Cluster {
            id: self.ids.cluster(),
            meta: Default::default(),
            spec: ClusterSpec {
                heartbeat: Duration::from_secs(1),
                task_history: 5,
                cert_expiry: Duration::from_secs(90 * 24 * 3600),
                // Small, so that networks fill up and grow.
                address_pools: vec![ipnet::Ipv4Net::new_assert([10, 0, 0, 0].into(), 20)],
                subnet_length: 26,
                mesh_subnet: ipnet::Ipv4Net::new_assert([10, 255, 0, 0].into(), 16),
                data_path_port: 51820,
            },
            root_ca: RootCa {
                certificate: String::new(),
                key: String::new(),
            },
            join_secrets: JoinSecrets {
                worker: String::new(),
                manager: String::new(),
            },
            blocked: BTreeMap::new(),
            last_raft_id: 0,
        }
    }

    /// Commits one entry on all managers, and checks what must always hold.
    pub(crate) fn apply(&mut self, what: &str, actions: &[Action]) -> Applied {
        if actions.is_empty() {
            return Applied::default();
        }
        self.index += 1;
        let before = self.store.snapshot();
        let index = Version(self.index);
        let applied = self.store.apply(index, self.now, actions);
        let other = self.follower.apply(index, self.now, actions);
        if applied != other {
            self.fail("followers_agree", "one entry had two outcomes");
        }
        for event in &applied.events {
            let (kind, action) = (event.object.kind(), event.action);
            let mut line = format!("{what}: {kind} {} {action}", event.name);
            for (key, value) in &event.attributes {
                let _ = write!(line, " {key}={value}");
            }
            self.note(&line);
        }
        for refused in applied.results.iter().filter_map(|r| r.as_ref().err()) {
            let line = format!("{what}: refused: {refused}");
            self.note(&line);
        }
        invariants::check_always(self, &before);
        applied
    }

    /// Writes a line into the trace.
    pub(crate) fn note(&mut self, line: &str) {
        if self.trace.len() > TRACE_MAX {
            let half = self.trace.len() / 2;
            let cut = self.trace[half..].find('\n').map_or(half, |at| half + at);
            self.trace.drain(..cut);
        }
        let _ = writeln!(self.trace, "{:>8} {line}", self.now.0 - 1_000_000_000);
    }

    /// Records a broken promise; the first one counts.
    pub(crate) fn fail(&mut self, invariant: &str, how: &str) {
        let message = format!("{invariant}: {how}");
        self.note(&message);
        self.broken.get_or_insert(message);
    }
}

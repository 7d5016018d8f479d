//! A swarm in memory for planner tests: a store, the planner, and agents that
//! do at once what they are told. Driven by lines of text, see [`World::line`].

// Each test binary uses a part of it.
#![allow(dead_code)]

mod again;
mod clock;
mod command;
mod deploys;
mod foreseen;
mod options;
mod resources;
mod secrets;
mod show;
mod stacks;

use skep_manager_planner::{
    Fit, IdSource, Liveness, Plan, Settled, Subject, explain, reconcile_changed,
};
use skep_manager_store::{
    Action, Applied, ClusterAction, DesiredChange, Given, NetworkAction, NodeAction, NodeUsage,
    ServiceAction, Store, TaskAction, host_ports, may_run,
};
use skep_types::{
    Cause, Cluster, ClusterSpec, JoinSecrets, NetworkId, NetworkSpec, Node, NodeDescription,
    NodeId, NodeSpec, NodeState, NodeStatus, Role, RootCa, ServiceId, ServiceSpec, Task, TaskId,
    TaskState, TaskStatus, Timestamp, Version,
};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

/// Passes after which a plan must have nothing left to do.
const PASSES_MAX: usize = 16;

/// The swarm.
pub struct World {
    pub store: Store,
    pub now: Timestamp,
    pub liveness: Liveness,
    pub ids: IdSource,
    /// Nodes that do not answer.
    pub silent: BTreeSet<NodeId>,
    /// What agents are told to make of tasks instead of running them.
    pub verdicts: BTreeMap<String, TaskState>,
    /// Tasks by name that take their time to stop.
    pub lingering: BTreeSet<String>,
    /// Tasks that take no traffic when they run.
    pub warming: BTreeSet<String>,
    pub last: Plan,
    pub out: String,
    index: u64,
    settled: Settled,
    /// Actions that are collected and not applied.
    held_back: Option<Vec<Action>>,
}

impl World {
    pub fn new() -> World {
        let now = Timestamp(1_000_000);
        let mut world = World {
            store: Store::new(),
            now,
            liveness: Liveness::new(now),
            ids: IdSource::new(1),
            silent: BTreeSet::new(),
            verdicts: BTreeMap::new(),
            lingering: BTreeSet::new(),
            warming: BTreeSet::new(),
            last: Plan::default(),
            out: String::new(),
            index: 0,
            settled: Settled::default(),
            held_back: None,
        };
        let cluster = Cluster {
            id: world.ids.cluster(),
            meta: Default::default(),
            spec: ClusterSpec {
                heartbeat: Duration::from_secs(1),
                task_history: 5,
                cert_expiry: Duration::from_secs(90 * 24 * 3600),
                address_pools: vec!["10.0.0.0/8".parse().unwrap()],
                subnet_length: 24,
                mesh_subnet: "10.255.0.0/16".parse().unwrap(),
                data_path_port: 51820,
                rebalance_per_minute: 6,
            },
            root_ca: RootCa::new(String::new(), String::new()),
            join_secrets: JoinSecrets {
                worker: String::new(),
                manager: String::new(),
            },
            blocked: BTreeMap::new(),
            certificates_until: Default::default(),
            last_raft_id: 0,
            format: Default::default(),
            unlock_key: None,
            clients: BTreeMap::new(),
        };
        world.must(Action::Cluster(ClusterAction::Create(Box::new(cluster))));
        world.network(NetworkSpec {
            name: "ingress".into(),
            ingress: true,
            ..NetworkSpec::default()
        });
        world
    }

    /// Applies one entry.
    pub fn apply(&mut self, actions: &[Action]) -> Applied {
        self.index += 1;
        self.store.apply(Version(self.index), self.now, actions)
    }

    /// Applies one action that must be accepted.
    pub fn must(&mut self, action: Action) {
        if let Some(held_back) = &mut self.held_back {
            return held_back.push(action);
        }
        let applied = self.apply(std::slice::from_ref(&action));
        if let Err(refused) = applied.into_result() {
            panic!("{refused}: {action:?}");
        }
    }

    /// One pass; its plan is not applied.
    pub fn plan(&mut self) -> Plan {
        let period = self.store.state().cluster().unwrap().spec.heartbeat;
        for node in self.store.state().nodes() {
            if !self.silent.contains(&node.id) {
                self.liveness.hear(node.id, self.now, period);
            }
        }
        self.used_is_the_sum();
        let (snapshot, ids) = (self.store.snapshot(), &mut self.ids);
        reconcile_changed(&snapshot, &self.liveness, self.now, ids, &mut self.settled)
    }

    /// What is kept up to date beside the tasks is what they come to.
    fn used_is_the_sum(&self) {
        let state = self.store.state();
        let mut sums: BTreeMap<NodeId, NodeUsage> = BTreeMap::new();
        for (node, usage) in state.tasks().filter_map(|task| NodeUsage::of(task)) {
            let sum = sums.entry(node).or_default();
            *sum = sum.plus(usage);
        }
        let nodes = state.nodes().map(|node| node.id);
        for id in nodes.chain(sums.keys().copied()) {
            assert_eq!(state.used(id), sums.get(&id).copied().unwrap_or_default());
            let mut given = Given::default();
            for task in state.tasks_on(id).filter(|task| may_run(task)) {
                let ports = state
                    .service(task.service)
                    .map(|service| host_ports(service));
                given.open(&ports.unwrap_or_default());
                given.add(&task.generic);
            }
            assert_eq!(state.given(id).cloned().unwrap_or_default(), given);
        }
    }

    /// Plans and applies until nothing is left to do. A plan of the planner
    /// is never refused by the store it was made on.
    pub fn settle(&mut self) {
        for _ in 0..PASSES_MAX {
            let plan = self.plan();
            self.last.explanations.clone_from(&plan.explanations);
            self.last.wake_at = plan.wake_at;
            if plan.actions.is_empty() {
                self.explained_alike(&plan.explanations);
                return;
            }
            let actions = plan.actions.clone();
            self.nothing_follows_from_silence_yet(&actions);
            let applied = self.apply(&actions);
            for (action, result) in actions.iter().zip(applied.results) {
                if let Err(refused) = result {
                    panic!("the planner's own action was refused: {refused}: {action:?}");
                }
            }
            self.last.actions = actions;
        }
        panic!("no fixpoint after {PASSES_MAX} passes: {:#?}", self.plan());
    }

    /// What waits because no node takes it is not told of a node that would.
    fn explained_alike(&self, waiting: &[(TaskId, String)]) {
        let state = self.store.state();
        for (task, reason) in waiting {
            let task = state.task(*task).unwrap();
            let of_present = state
                .service(task.service)
                .is_some_and(|service| service.spec_version == task.spec_version);
            if task.node.is_some() || !of_present || !reason.starts_with("no suitable node") {
                continue;
            }
            let told = explain(state, self.now, Subject::Service(task.service));
            let fits = told.verdicts.iter().find(|told| told.fit <= Fit::Fits);
            assert!(fits.is_none(), "{}: {reason}, but {fits:?}", task.name());
        }
    }

    /// The store may refuse to call a node Down that was changed meanwhile: what
    /// follows from that waits until it is agreed on.
    fn nothing_follows_from_silence_yet(&self, actions: &[Action]) {
        let mut down = BTreeSet::new();
        for action in actions {
            if let Action::Node(NodeAction::SetStatus { id, status, .. }) = action
                && status.state == NodeState::Down
            {
                down.insert(*id);
            }
            if let Action::Task(TaskAction::SetDesired { tasks }) = action {
                // A drain goes on whether its node is heard or not.
                let by_silence =
                    |change: &&DesiredChange| matches!(change.cause, None | Some(Cause::NodeLost));
                for change in tasks.iter().filter(by_silence) {
                    let task = self.store.state().task(change.task).unwrap();
                    let node = task.node.filter(|node| down.contains(node));
                    assert!(node.is_none(), "{} is given up too early", task.name());
                }
            }
        }
    }

    /// Agents do what they are told, then the managers react, until all is
    /// quiet (or the clock would have to move).
    pub fn run(&mut self) {
        for _ in 0..64 {
            self.settle();
            if !self.agents() {
                return;
            }
        }
        panic!("agents and managers never come to rest");
    }

    /// One step of all agents; `false` when they had nothing to report.
    pub fn agents(&mut self) -> bool {
        let mut updates: Vec<(TaskId, TaskStatus)> = Vec::new();
        for task in self.store.state().tasks() {
            let Some(node) = task.node else { continue };
            let state = task.status.state;
            if self.silent.contains(&node) || state < TaskState::Assigned || state.is_terminal() {
                continue;
            }
            let next = match task.desired {
                TaskState::Shutdown | TaskState::Remove
                    if state == TaskState::Running
                        && self.lingering.iter().any(|name| self.is_called(task, name)) =>
                {
                    continue;
                }
                TaskState::Shutdown | TaskState::Remove => TaskState::Shutdown,
                desired => match self.verdict_on(task) {
                    // What fails to run is prepared all right.
                    Some(TaskState::Failed | TaskState::Complete)
                        if desired < TaskState::Running =>
                    {
                        desired
                    }
                    Some(verdict) => verdict,
                    None => desired,
                },
            };
            if next > state {
                updates.push((
                    task.id,
                    TaskStatus {
                        state: next,
                        at: self.now,
                        message: next.to_string(),
                        not_ready: next == TaskState::Running && self.is_warming(task),
                        exit_code: exit_code(task, next),
                        ..TaskStatus::default()
                    },
                ));
            }
        }
        if updates.is_empty() {
            return false;
        }
        self.must(Action::Task(TaskAction::UpdateStatus { updates }));
        true
    }

    /// What becomes of a task.
    fn verdict_on(&self, task: &Task) -> Option<TaskState> {
        let mut names = names(task).into_iter();
        names.find_map(|name| self.verdicts.get(&name)).copied()
    }

    /// It takes no traffic yet.
    pub(crate) fn is_warming(&self, task: &Task) -> bool {
        names(task).iter().any(|name| self.warming.contains(name))
    }

    /// Lets time pass in small steps, agents and managers at work.
    pub fn step(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.now < end {
            let beat = self.now + Duration::from_millis(500);
            let wake = self.last.wake_at.filter(|at| *at > self.now);
            self.now = end.min(beat).min(wake.unwrap_or(beat));
            self.run();
        }
    }

    pub fn node(&mut self, hostname: &str) -> NodeId {
        let id = self.ids.node();
        self.must(Action::Node(NodeAction::Create(Box::new(Node {
            id,
            meta: Default::default(),
            spec: NodeSpec::default(),
            description: NodeDescription {
                hostname: hostname.to_owned(),
                cpus: skep_types::NanoCpus(4_000_000_000),
                memory: skep_types::ByteCount(8 << 30),
                engine_version: "1".to_owned(),
                ..NodeDescription::default()
            },
            status: NodeStatus {
                state: NodeState::Unknown,
                ..NodeStatus::default()
            },
            role: Role::Worker,
            role_since: Default::default(),
            drain_since: None,
            manager: None,
            mesh: None,
        }))));
        id
    }

    pub fn network(&mut self, spec: NetworkSpec) -> NetworkId {
        let id = self.ids.network();
        self.must(Action::Network(NetworkAction::Create {
            id,
            spec: Box::new(spec),
        }));
        id
    }

    pub fn service(&mut self, spec: ServiceSpec) -> ServiceId {
        let id = self.ids.service();
        self.must(Action::Service(ServiceAction::Create {
            id,
            spec: Box::new(spec),
        }));
        id
    }

    /// Replaces a service's spec.
    pub fn update(&mut self, name: &str, edit: impl FnOnce(&mut ServiceSpec)) {
        let service = self.store.state().service_named(name).expect(name);
        let (id, version) = (service.id, service.meta.version);
        let mut spec = service.spec.clone();
        edit(&mut spec);
        self.must(Action::Service(ServiceAction::Update {
            id,
            version,
            spec: Box::new(spec),
        }));
    }
}

/// Runs a scenario and compares what it printed.
#[track_caller]
pub fn check(scenario: &str, expected: expect_test::Expect) {
    let mut world = World::new();
    for line in scenario.lines().map(str::trim) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        world.line(line);
    }
    // The next pass over an unchanged swarm has nothing to do.
    world.settle();
    let _ = writeln!(world.out);
    expected.assert_eq(world.out.trim_end());
}

/// Of tasks of jobs: that is kept.
fn exit_code(task: &Task, state: TaskState) -> Option<i32> {
    match state {
        _ if task.run == 0 => None,
        TaskState::Complete => Some(0),
        TaskState::Failed => Some(3),
        _ => None,
    }
}

/// What a task is called: by name, by `name@image`, or by `service@image`.
fn names(task: &Task) -> [String; 3] {
    let name = task.name();
    let image = &task.spec.container.image;
    let with_image = format!("{name}@{image}");
    let any_of_it = format!("{}@{image}", task.service_name);
    [name, with_image, any_of_it]
}

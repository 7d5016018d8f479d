//! The lines of a scenario.
//!
//! ```text
//! node n1 cpus=2 memory=4 label=zone=a ip=10.0.0.1 platform=linux/arm64
//! node n1 reserve=0.5 reserve-memory=1g generic=gpu=2 generic=ssd=a,b
//! service ai generic=gpu=1 platform=linux/amd64
//! ghost n2 | ghost n3 manager
//! network front subnet=10.9.0.0/28
//! service web replicas=3 image=a net=front port=8080:80 constraint=node.role==worker
//! service job completions=5 concurrent=2 job-deadline=60s ttl=1h | service scan global-job
//! service job completions=1 "schedule=*/5 * * * *" tz=Europe/Zurich concurrency=forbid
//! clock 2024-03-31T00:58:00Z | trigger job
//! service web after=db:healthy after=cache:started? after=migrate:completed | no-after
//! service agent global "constraint=node.labels.zone in a,b"
//! pool 10.1.0.0/16 | heartbeat 10s | history 1
//! run | step 5s | skip 90000s (in one step) | plan | pass (one of them)
//! pause-update web | resume-update web | rebalance web | rebalance-rate 6
//! scale web 5 | update web image=b | rollback web [REVISION] | rm web
//! silence n1 | wake n1 | drain n1 | pause n1 | active n1 | forget n1
//! leader | leader n1 heard 1s (ago; it led before)
//! fail web.1 | reject web.1 | complete web.1   (until `heal web.1`)
//! finish job.1 n1 (ends well there) | lose-at web.1 n1
//! kill web.1 (or agent@n1) | lose web.1 | give-up web.1          (once)
//! linger web.1 | end web.1                      (told to stop, it runs on)
//! again web.1 3     (its node started it again so often, and no manager heard it)
//! explain web | explain-node n1 | given web  (of generic resources)
//! foresee scale web 5 (or another change, which is not made)
//! ps web | runs job | nodes | services | networks | addresses web | why
//! rest (services that the next pass leaves out)
//! ```

use super::World;
use super::clock::moment;
use skep_manager_planner::Liveness;
use skep_manager_store::validate::{Invalid, pause_update, rebalance, resume_update, roll_back};
use skep_manager_store::{Action, ClusterAction, NodeAction, ServiceAction, TaskAction};
use skep_types::{
    Availability, ByteCount, ClusterSpec, NanoCpus, NetworkSpec, NodeDescription, NodeId, NodeSpec,
    Role, Service, ServiceMode, ServiceSpec, Task, TaskState, TaskStatus, Timestamp, UpdateStatus,
};
use std::time::Duration;

pub(super) fn seconds(text: &str) -> Duration {
    Duration::from_secs_f64(text.trim_end_matches('s').parse().expect(text))
}

/// Words between blanks; what stands in quotation marks is one, without them.
fn words(line: &str) -> Vec<&str> {
    let mut words = Vec::new();
    for (part, text) in line.split('"').enumerate() {
        match part % 2 {
            0 => words.extend(text.split_whitespace()),
            _ => words.push(text),
        }
    }
    words
}

impl World {
    /// Does what a line says.
    pub fn line(&mut self, line: &str) {
        let words = words(line);
        let rest = &words[1..];
        match words[0] {
            "node" => self.add_node(rest),
            // Its object was made, and nothing more was ever heard of it.
            "ghost" => {
                let id = self.node(rest[0]);
                self.silent.insert(id);
                let hostname = rest[0].to_owned();
                let description = Box::new(NodeDescription {
                    hostname,
                    ..NodeDescription::default()
                });
                let address = None;
                self.must(Action::Node(NodeAction::Describe {
                    id,
                    description,
                    address,
                }));
                if rest.get(1) == Some(&"manager") {
                    self.node_spec(rest[0], |spec| spec.role = Role::Manager);
                }
            }
            "network" => {
                let mut spec = NetworkSpec {
                    name: rest[0].into(),
                    ..NetworkSpec::default()
                };
                for word in &rest[1..] {
                    let (key, value) = word.split_once('=').expect(word);
                    assert_eq!(key, "subnet");
                    spec.subnets.push(value.parse().unwrap());
                }
                self.network(spec);
            }
            "pool" => self.cluster_spec(|spec| {
                spec.address_pools = rest.iter().map(|pool| pool.parse().unwrap()).collect();
            }),
            "heartbeat" => self.cluster_spec(|spec| spec.heartbeat = seconds(rest[0])),
            "history" => self.cluster_spec(|spec| spec.task_history = rest[0].parse().unwrap()),
            "service" => {
                let mut spec = ServiceSpec {
                    name: rest[0].into(),
                    ..ServiceSpec::default()
                };
                self.options(&mut spec, &rest[1..]);
                self.service(spec);
            }
            "foresee" => self.show_foreseen(line.trim_start_matches("foresee ")),
            "update" => {
                let mut spec = self.spec_of(rest[0]);
                self.options(&mut spec, &rest[1..]);
                self.update(rest[0], |old| *old = spec);
            }
            "scale" => {
                let replicas = rest[1].parse().unwrap();
                self.update(rest[0], |spec| match &mut spec.mode {
                    ServiceMode::ReplicatedJob { completions, .. } => *completions = replicas,
                    mode => *mode = ServiceMode::Replicated { replicas },
                });
            }
            "trigger" => {
                let state = self.store.state();
                let service = state.service_named(rest[0]).unwrap();
                let (id, version) = (service.id, service.meta.version);
                match skep_manager_store::runs::trigger(state, service, self.now) {
                    Ok(status) => self.must(Action::Service(ServiceAction::SetJobStatus {
                        id,
                        version,
                        status,
                    })),
                    Err(refused) => self.out.push_str(&format!("refused: {refused}\n")),
                }
            }
            // The clock is put on; managers and agents were at work meanwhile.
            "clock" => {
                self.now = Timestamp(moment(rest[0]));
                self.liveness = Liveness::new(self.now);
                self.run();
            }
            "rollback" => {
                let to = rest.get(1).map(|number| number.parse().unwrap());
                self.roll_back(rest[0], to);
            }
            "pause-update" => self.set_update_status(rest[0], |service, _| pause_update(service)),
            "rebalance" => self.rebalance(rest[0]),
            "rebalance-rate" => {
                self.cluster_spec(|spec| spec.rebalance_per_minute = rest[0].parse().unwrap());
            }
            "resume-update" => self.set_update_status(rest[0], resume_update),
            "rm" => {
                let id = self.store.state().service_named(rest[0]).unwrap().id;
                self.must(Action::Service(ServiceAction::Remove { id }));
            }
            "rm-network" => {
                let id = self.store.state().network_named(rest[0]).unwrap().id;
                self.must(Action::Network(skep_manager_store::NetworkAction::Remove {
                    id,
                }));
            }
            "secret" | "rotate" | "rm-secret" => self.secret_line(&words),
            "stack" | "rm-stack" => self.stack_line(&words),
            "deploy" | "undeploy" | "forget-stacks" => self.deploy_line(&words),
            "plan" => self.settle(),
            "pass" => {
                let plan = self.plan();
                self.apply(&plan.actions);
            }
            "run" => self.run(),
            "agents" => {
                self.agents();
            }
            "step" => self.step(seconds(rest[0])),
            "skip" => {
                self.now = self.now + seconds(rest[0]);
                self.run();
            }
            // No manager leads so long; then one does.
            "leaderless" => {
                self.now = self.now + seconds(rest[0]);
                self.liveness = Liveness::new(self.now);
                self.run();
            }
            "silence" => {
                let id = self.node_named(rest[0]);
                self.silent.insert(id);
            }
            "wake" => {
                let id = self.node_named(rest[0]);
                self.silent.remove(&id);
            }
            "drain" => {
                let deadline = rest.get(1).map(|deadline| seconds(deadline));
                self.node_spec(rest[0], |spec| {
                    spec.availability = Availability::Drain;
                    spec.drain_deadline = deadline;
                });
            }
            "pause" => self.availability(rest[0], Availability::Pause),
            "active" => self.availability(rest[0], Availability::Active),
            "label" => {
                let (key, value) = rest[1].split_once('=').unwrap();
                self.node_spec(rest[0], |spec| {
                    spec.labels.insert(key.into(), value.into());
                });
            }
            "forget" => {
                let id = self.node_named(rest[0]);
                self.must(Action::Node(NodeAction::Remove {
                    id,
                    force: true,
                    blocked_until: Timestamp(0),
                }));
            }
            "leader" => {
                self.liveness = Liveness::new(self.now);
                if let [former, "heard", ago] = rest {
                    let heard = self.now.0 - seconds(ago).as_millis() as u64;
                    self.liveness.former = Some((self.node_named(former), Timestamp(heard)));
                }
            }
            "fail" => self.verdict(rest[0], TaskState::Failed),
            "reject" => self.verdict(rest[0], TaskState::Rejected),
            "complete" => self.verdict(rest[0], TaskState::Complete),
            "hang" => self.verdict(rest[0], TaskState::Preparing),
            "heal" => {
                self.verdicts.remove(rest[0]);
            }
            "linger" => {
                self.lingering.insert(rest[0].to_owned());
            }
            "warm" => {
                self.warming.insert(rest[0].to_owned());
            }
            "ready" => self.ready(rest[0]),
            "again" => self.again(rest[0], rest[1]),
            "end" => {
                self.lingering.remove(rest[0]);
            }
            "kill" => self.end(rest[0], TaskState::Failed, "task: non-zero exit (137)"),
            // The same of a global service's task on that node.
            "kill-on" => self.end(
                &self.on(rest),
                TaskState::Failed,
                "task: non-zero exit (137)",
            ),
            "lose-on" => self.end(&self.on(rest), TaskState::Orphaned, "task: lost"),
            // Whatever was wanted of it meanwhile.
            "finish" => self.end_at(rest[0], rest[1], TaskState::Complete),
            "lose-at" => self.end_at(rest[0], rest[1], TaskState::Orphaned),
            // Its node was started anew.
            "lose" => self.end(rest[0], TaskState::Orphaned, "task: lost"),
            // Its node has tried for long to prepare it.
            "give-up" => self.end(rest[0], TaskState::Rejected, "no registry"),
            _ => self.show(&words),
        }
    }

    fn cluster_spec(&mut self, edit: impl FnOnce(&mut ClusterSpec)) {
        let cluster = self.store.state().cluster().unwrap();
        let (version, mut spec) = (cluster.meta.version, cluster.spec.clone());
        edit(&mut spec);
        self.must(Action::Cluster(ClusterAction::Update { version, spec }));
    }

    /// As the managers do for who asks.
    fn set_update_status(
        &mut self,
        name: &str,
        status: impl FnOnce(&Service, Timestamp) -> Result<UpdateStatus, Invalid>,
    ) {
        let service = self.store.state().service_named(name).unwrap();
        match status(service, self.now) {
            Ok(status) => {
                let action = ServiceAction::SetUpdateStatus {
                    id: service.id,
                    version: service.meta.version,
                    status,
                    outcome: None,
                };
                self.must(Action::Service(action));
            }
            Err(refused) => self.out.push_str(&format!("refused: {refused}\n")),
        }
    }

    fn rebalance(&mut self, name: &str) {
        let service = self.store.state().service_named(name).unwrap();
        match rebalance(service) {
            Ok(()) => {
                let action = ServiceAction::Rebalance {
                    id: service.id,
                    version: service.meta.version,
                    begins: true,
                };
                self.must(Action::Service(action));
            }
            Err(refused) => self.out.push_str(&format!("refused: {refused}\n")),
        }
    }

    fn roll_back(&mut self, name: &str, to: Option<u64>) {
        let state = self.store.state();
        let service = state.service_named(name).unwrap();
        match roll_back(state, service, to) {
            Ok(to) => {
                let action = ServiceAction::Rollback {
                    id: service.id,
                    version: service.meta.version,
                    to,
                    message: "manually requested rollback".into(),
                    failed: false,
                };
                self.must(Action::Service(action));
            }
            Err(refused) => self.out.push_str(&format!("refused: {refused}\n")),
        }
    }

    fn verdict(&mut self, task: &str, state: TaskState) {
        self.verdicts.insert(task.to_owned(), state);
    }

    fn on(&self, words: &[&str]) -> String {
        format!("{}.{}", words[0], self.node_named(words[1]))
    }

    fn end_at(&mut self, name: &str, node: &str, state: TaskState) {
        let node = self.node_named(node);
        let mut tasks = self.store.state().tasks_on(node);
        let is_it = |task: &Task| task.service_name.as_ref() == name || task.name() == name;
        let found = tasks.find(|task| is_it(task) && !task.status.state.is_terminal());
        let id = found.expect(name).id;
        drop(tasks);
        let status = TaskStatus {
            state,
            at: self.now,
            exit_code: (state == TaskState::Complete).then_some(0),
            ..TaskStatus::default()
        };
        let updates = vec![(id, status)];
        self.must(Action::Task(TaskAction::UpdateStatus { updates }));
    }

    /// The newest of those that are called so ends.
    fn end(&mut self, name: &str, state: TaskState, error: &str) {
        let task = self
            .store
            .state()
            .tasks()
            .filter(|task| task.is_live() && self.is_called(task, name))
            .max_by_key(|task| task.meta.created_at)
            .expect(name);
        let status = TaskStatus {
            state,
            at: self.now,
            error: error.into(),
            ..TaskStatus::default()
        };
        let updates = vec![(task.id, status)];
        self.must(Action::Task(TaskAction::UpdateStatus { updates }));
    }

    /// What runs and took no traffic under this name takes it now.
    fn ready(&mut self, name: &str) {
        self.warming.remove(name);
        let tasks = self.store.state().tasks();
        let warm = tasks.filter(|task| task.status.not_ready && !self.is_warming(task));
        let ready = warm.map(|task| {
            let status = TaskStatus {
                at: self.now,
                not_ready: false,
                ..task.status.clone()
            };
            (task.id, status)
        });
        let updates = ready.collect();
        self.must(Action::Task(TaskAction::UpdateStatus { updates }));
    }

    /// `web.1`, or `agent@n2` for the task of a global service.
    pub(super) fn is_called(&self, task: &Task, name: &str) -> bool {
        match name.split_once('@') {
            Some((service, node)) => {
                *task.service_name == *service && task.node == Some(self.node_named(node))
            }
            None => task.name() == name,
        }
    }

    fn add_node(&mut self, words: &[&str]) {
        let id = self.node(words[0]);
        let node = self.store.state().node(id).unwrap();
        let mut description: NodeDescription = node.description.clone();
        let mut address = None;
        let mut labels = Vec::new();
        for word in &words[1..] {
            let (key, value) = word.split_once('=').expect(word);
            match key {
                "cpus" => {
                    let cpus: f64 = value.parse().unwrap();
                    description.cpus = NanoCpus((cpus * 1e9) as u64);
                }
                "memory" => description.memory = ByteCount(value.parse::<u64>().unwrap() << 30),
                "ip" => address = Some(value.parse().unwrap()),
                "label" => {
                    let (key, value) = value.split_once('=').expect(value);
                    labels.push((key.to_owned(), value.to_owned()));
                }
                _ => super::resources::describe(&mut description, key, value),
            }
        }
        self.must(Action::Node(NodeAction::Describe {
            id,
            description: Box::new(description),
            address,
        }));
        let name = words[0].to_owned();
        self.node_spec(&name, |spec| spec.labels.extend(labels));
    }

    fn node_spec(&mut self, name: &str, edit: impl FnOnce(&mut NodeSpec)) {
        let id = self.node_named(name);
        let node = self.store.state().node(id).unwrap();
        let (version, mut spec) = (node.meta.version, node.spec.clone());
        edit(&mut spec);
        self.must(Action::Node(NodeAction::Update { id, version, spec }));
    }

    fn availability(&mut self, name: &str, availability: Availability) {
        self.node_spec(name, |spec| spec.availability = availability);
    }

    pub fn node_named(&self, name: &str) -> NodeId {
        let mut nodes = self.store.state().nodes();
        let named = nodes.find(|node| node.description.hostname == name);
        named.expect(name).id
    }

    fn spec_of(&self, name: &str) -> ServiceSpec {
        let service = self.store.state().service_named(name).expect(name);
        service.spec.clone()
    }
}

//! A fault planted for every promise: each must be found, under its name, and
//! nothing else with it.

use super::{Broken, HostSight, Observer, Sight, judge_settled};
use crate::containers::Container;
use skep_manager_store::{Dump, Snapshot, Store};
use skep_types::{
    Attachment, BlockOwner, Cause, Endpoint, FileReference, FileTarget, Meta, Network, NetworkId,
    NetworkSpec, Node, NodeDescription, NodeId, NodeSpec, NodeState, NodeStatus, PastRevision,
    Revision, Role, RunCause, SecretId, Service, ServiceId, ServiceMode, ServiceSpec, Slot, Stack,
    StackId, StackService, StackSpec, Task, TaskId, TaskSpec, TaskState, TaskStatus, Timestamp,
    UpdateOrder, Version,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

const SERVICE: ServiceId = ServiceId::from_bits(1);
const NETWORK: NetworkId = NetworkId::from_bits(1);
const SECRET: SecretId = SecretId::from_bits(1);

fn node(number: u128) -> NodeId {
    NodeId::from_bits(number)
}

fn id(number: u128) -> TaskId {
    TaskId::from_bits(number)
}

/// Two nodes, and a service with one running task on each: task 1 in slot 1 on
/// node 1, task 2 in slot 2 on node 2.
struct Scene {
    version: u64,
    nodes: BTreeMap<u128, Node>,
    service: Option<Service>,
    tasks: BTreeMap<u128, Task>,
    network: Network,
    stacks: Vec<Stack>,
    hosts: Vec<HostSight>,
}

impl Scene {
    fn new() -> Scene {
        let spec = ServiceSpec {
            name: "web".to_owned(),
            mode: ServiceMode::Replicated { replicas: 2 },
            ..ServiceSpec::default()
        };
        let service = Service {
            id: SERVICE,
            meta: Meta::default(),
            spec,
            spec_version: Version(1),
            revision: Revision::first(Timestamp(0)),
            past: Vec::new(),
            endpoint: Endpoint::default(),
            update_status: None,
            rebalance_since: None,
            waits_for: String::new(),
            job: Default::default(),
        };
        let blocks = [("10.0.0.0/28", node(1)), ("10.0.0.16/28", node(2))];
        let blocks = blocks.map(|(block, node)| (block.parse().unwrap(), BlockOwner::Node(node)));
        let network = Network {
            id: NETWORK,
            meta: Meta::default(),
            spec: NetworkSpec::default(),
            subnets: vec!["10.0.0.0/24".parse().unwrap()],
            blocks: blocks.into(),
        };
        let mut scene = Scene {
            version: 10,
            nodes: BTreeMap::new(),
            service: Some(service),
            tasks: BTreeMap::new(),
            network,
            stacks: Vec::new(),
            hosts: Vec::new(),
        };
        for number in 1..=2 {
            scene.add_node(number);
            scene.run(number, number as u32, number, 1);
        }
        scene
    }

    fn add_node(&mut self, number: u128) {
        let new = Node {
            id: node(number),
            meta: Meta::default(),
            spec: NodeSpec::default(),
            description: NodeDescription {
                hostname: format!("n{number}"),
                ..NodeDescription::default()
            },
            status: NodeStatus {
                state: NodeState::Ready,
                ..NodeStatus::default()
            },
            role: Role::Worker,
            role_since: Timestamp::default(),
            drain_since: None,
            manager: None,
            mesh: None,
        };
        self.nodes.insert(number, new);
        self.hosts.push(HostSight {
            name: format!("n{number}"),
            node: Some(node(number)),
            well: true,
            containers: BTreeMap::new(),
            secrets: BTreeSet::new(),
        });
    }

    /// A stack that the service was deployed with, with this image.
    fn deploy(&mut self, image: &str) {
        let service = self.service.as_ref().unwrap();
        let mut of = StackService {
            spec: service.spec.clone(),
            ..StackService::default()
        };
        Arc::make_mut(&mut of.spec.task).container.image = image.to_owned();
        self.stacks.push(Stack {
            id: StackId::from_bits(1),
            meta: Meta::default(),
            revision: Revision::first(Timestamp(0)),
            spec: Arc::new(StackSpec {
                name: "shop".to_owned(),
                services: vec![Arc::new(of)],
                source: image.into(),
                ..StackSpec::default()
            }),
            past: Vec::new(),
            services: [(SERVICE, service.revision.number)].into(),
            leaving: Vec::new(),
        });
    }

    /// A task that runs, in the store and on its host.
    fn run(&mut self, number: u128, slot: u32, at: u128, spec_version: u64) {
        let address = format!("10.0.0.{}", (at - 1) * 16 + number);
        let new = Task {
            id: id(number),
            meta: Meta::default(),
            service: SERVICE,
            service_name: "web".into(),
            slot: Slot(slot),
            node: Some(node(at)),
            spec: Arc::new(TaskSpec::default()),
            spec_version: Version(spec_version),
            desired: TaskState::Running,
            status: TaskStatus {
                state: TaskState::Running,
                ..TaskStatus::default()
            },
            attachments: vec![Attachment {
                network: NETWORK,
                address: address.parse().unwrap(),
            }],
            cause: Default::default(),
            stop_cause: None,
            restarts: Default::default(),
            start_at: None,
            run: 0,
            generic: Default::default(),
        };
        self.tasks.insert(number, new);
        self.container(number, at, true);
    }

    /// The service is a job, and its tasks are of a run that should have ended.
    fn is_a_job(&mut self) {
        let service = self.service.as_mut().unwrap();
        service.spec.mode = ServiceMode::ReplicatedJob {
            completions: 2,
            concurrent: 2,
        };
        service
            .job
            .begin(RunCause::Created, Version(1), Timestamp::default());
        for task in self.tasks.values_mut() {
            task.run = 1;
        }
    }

    fn task(&mut self, number: u128) -> &mut Task {
        self.tasks.get_mut(&number).unwrap()
    }

    fn host(&mut self, number: u128) -> &mut HostSight {
        let host = |host: &&mut HostSight| host.node == Some(node(number));
        self.hosts.iter_mut().find(host).unwrap()
    }

    fn container(&mut self, number: u128, at: u128, running: bool) {
        let service = SERVICE;
        let container = Container { service, running };
        self.host(at).containers.insert(id(number), container);
    }

    /// The node does not answer any more.
    fn lose(&mut self, number: u128) {
        self.nodes.get_mut(&number).unwrap().status.state = NodeState::Down;
        self.host(number).well = false;
    }

    /// The state, a version later each time.
    fn state(&mut self) -> Snapshot {
        self.version += 1;
        let dump = Dump {
            version: Version(self.version),
            nodes: self.nodes.values().cloned().map(Arc::new).collect(),
            services: self.service.iter().cloned().map(Arc::new).collect(),
            tasks: self.tasks.values().cloned().map(Arc::new).collect(),
            networks: vec![Arc::new(self.network.clone())],
            stacks: self.stacks.iter().cloned().map(Arc::new).collect(),
            ..Dump::default()
        };
        Store::load(dump).state().clone()
    }

    fn sight(&mut self) -> Sight {
        Sight {
            host: 0,
            state: self.state(),
            term: 1,
            raft_id: 1,
            leads: true,
        }
    }

    fn look(&mut self, observer: &mut Observer) -> Broken {
        let sight = self.sight();
        observer.see_often(vec![sight], &self.hosts)
    }

    /// Was well, then this happened.
    fn after(what: impl FnOnce(&mut Scene)) -> Broken {
        let (mut scene, mut observer) = (Scene::new(), Observer::default());
        // As if each had been released alone.
        assert_eq!(scene.look(&mut observer), []);
        what(&mut scene);
        scene.look(&mut observer)
    }

    fn settled(what: impl FnOnce(&mut Scene)) -> Broken {
        let mut scene = Scene::new();
        what(&mut scene);
        let sight = scene.sight();
        judge_settled(Some(&sight.state.clone()), &[sight], &scene.hosts)
    }

    /// For a minute, as seen on the hosts.
    fn stays(what: impl FnOnce(&mut Scene)) -> Broken {
        let (mut scene, mut observer) = (Scene::new(), Observer::default());
        what(&mut scene);
        observer.newest = Some(scene.state());
        assert_eq!(observer.see_hosts(&scene.hosts, Duration::ZERO), []);
        observer.see_hosts(&scene.hosts, Duration::from_secs(60))
    }
}

fn two_leaders() -> Broken {
    let (mut scene, mut observer) = (Scene::new(), Observer::default());
    let (mut one, mut other) = (scene.sight(), scene.sight());
    (one.raft_id, other.raft_id) = (3, 2);
    other.host = 1;
    observer.see_often(vec![one, other], &scene.hosts)
}

fn two_states_of_a_version() -> Broken {
    let (mut scene, mut observer) = (Scene::new(), Observer::default());
    let one = scene.sight();
    scene.version -= 1;
    scene.task(1).status.message = "otherwise".to_owned();
    let mut other = scene.sight();
    other.host = 1;
    observer.see_often(vec![one, other], &scene.hosts)
}

/// A manager that stays behind although nothing is wrong.
fn a_manager_behind() -> Broken {
    let mut scene = Scene::new();
    let sights = [scene.sight(), scene.sight()];
    judge_settled(Some(&sights[1].state), &sights, &scene.hosts)
}

/// Released though the other was never told to stop.
fn released_too_early() -> Broken {
    Scene::after(|scene| {
        scene.run(3, 1, 2, 1);
        scene.container(3, 2, false);
    })
}

/// The store knows of one, and another runs all the same: its node said that it
/// had ended.
fn a_container_that_did_not_end() -> Broken {
    Scene::after(|scene| {
        scene.task(1).desired = TaskState::Shutdown;
        scene.task(1).status.state = TaskState::Shutdown;
        scene.run(3, 1, 2, 1);
    })
}

type Plant = (&'static str, fn() -> Broken);

const PLANTED: &[Plant] = &[
    ("one_leader_a_term", two_leaders),
    ("managers_agree", two_states_of_a_version),
    ("managers_agree", a_manager_behind),
    ("no_slot_runs_twice", released_too_early),
    ("no_slot_runs_twice", a_container_that_did_not_end),
    ("states_never_go_back", || {
        Scene::after(|scene| scene.task(1).status.state = TaskState::Preparing)
    }),
    ("states_never_go_back", || {
        Scene::after(|scene| scene.task(1).slot = Slot(9))
    }),
    ("addresses_are_given_once", || {
        Scene::after(|scene| {
            scene.run(3, 3, 1, 1);
            scene.task(3).attachments[0].address = [10, 0, 0, 1].into();
        })
    }),
    ("addresses_are_given_once", || {
        Scene::after(|scene| scene.network.subnets.push("10.0.0.128/25".parse().unwrap()))
    }),
    ("removed_services_stop", || {
        Scene::stays(|scene| {
            scene.service = None;
            scene.tasks.clear();
            scene.container(2, 2, false);
        })
    }),
    ("secrets_are_there", || {
        Scene::after(|scene| {
            let reference = FileReference {
                id: SECRET,
                name: "key".to_owned(),
                target: FileTarget {
                    path: "key".to_owned(),
                    uid: 0,
                    gid: 0,
                    mode: 0,
                },
            };
            let mut spec = scene.service.as_ref().unwrap().spec.clone();
            let container = &mut Arc::make_mut(&mut spec.task).container;
            container.secrets.push(reference);
            let service = scene.service.as_mut().unwrap();
            let revision = service.revision;
            service.past.push(PastRevision { revision, spec });
        })
    }),
    ("secrets_stay_where_needed", || {
        Scene::stays(|scene| scene.host(1).secrets.extend([SECRET]))
    }),
    ("everything_wanted_runs", || {
        Scene::settled(|scene| {
            scene.tasks.remove(&2);
            scene.host(2).containers.clear();
        })
    }),
    ("everything_wanted_runs", || judge_settled(None, &[], &[])),
    ("no_task_on_a_lost_node", || {
        let mut broken = Scene::settled(|scene| scene.lose(2));
        // That the node is lost is one of its own.
        broken.retain(|(name, _)| *name != "everything_wanted_runs");
        broken
    }),
    ("no_more_tasks_than_wanted", || {
        Scene::settled(|scene| scene.run(3, 1, 1, 1))
    }),
    ("no_more_tasks_than_wanted", || {
        Scene::settled(|scene| {
            scene.run(3, 1, 1, 1);
            scene.is_a_job();
            let service = scene.service.as_mut().unwrap();
            service.job.replace(Timestamp::default(), |_| 2);
        })
    }),
    ("everything_wanted_runs", || {
        Scene::settled(|scene| scene.is_a_job())
    }),
    ("waiting_is_needed", || {
        Scene::settled(|scene| {
            scene.task(2).status.state = TaskState::Pending;
            scene.task(2).node = None;
            scene.task(2).attachments.clear();
            scene.host(2).containers.clear();
        })
    }),
    ("hosts_do_as_told", || {
        Scene::settled(|scene| scene.container(2, 2, false))
    }),
    ("hosts_do_as_told", || {
        Scene::settled(|scene| scene.container(7, 2, true))
    }),
    ("stacks_are_whole", || {
        Scene::after(|scene| scene.deploy("another"))
    }),
    ("stacks_are_whole", || {
        Scene::settled(|scene| {
            scene.deploy("");
            scene.stacks[0].leaving.push(NETWORK);
            let tasks = scene.tasks.values_mut();
            tasks.for_each(|task| task.attachments.clear());
        })
    }),
];

#[test]
fn every_planted_fault_is_found_under_its_name() {
    for (number, (name, plant)) in PLANTED.iter().enumerate() {
        let broken = plant();
        let names: BTreeSet<&str> = broken.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, BTreeSet::from([*name]), "{number}: {broken:?}");
    }
}

#[test]
fn every_promise_has_a_planted_fault() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/src/invariants");
    let files = std::fs::read_dir(dir).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut promises: BTreeSet<String> = names.map(|name| name.replace(".rs", "")).collect();
    promises.remove("planted");
    let planted: BTreeSet<String> = PLANTED.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(promises, planted);
}

#[test]
fn a_swarm_that_is_well_breaks_nothing() {
    assert_eq!(Scene::after(|_| {}), []);
    assert_eq!(Scene::settled(|_| {}), []);
    assert_eq!(Scene::stays(|_| {}), []);
}

#[test]
fn two_containers_of_a_slot_are_excused_as_declared() {
    let starts_first = Scene::after(|scene| {
        let service = scene.service.as_mut().unwrap();
        service.spec.update.order = UpdateOrder::StartFirst;
        scene.run(3, 1, 2, 2);
    });
    assert_eq!(starts_first, []);
    let moved = Scene::after(|scene| {
        let service = scene.service.as_mut().unwrap();
        service.spec.update.order = UpdateOrder::StartFirst;
        scene.run(3, 1, 2, 1);
        scene.task(3).cause = Cause::Drained;
    });
    assert_eq!(moved, []);
    let cut_off = Scene::after(|scene| {
        scene.lose(1);
        scene.task(1).desired = TaskState::Shutdown;
        scene.run(3, 1, 2, 1);
    });
    assert_eq!(cut_off, []);
    let had_its_time = Scene::after(|scene| {
        scene.task(1).desired = TaskState::Shutdown;
        let mut observer = Observer::default();
        assert_eq!(scene.look(&mut observer), []);
        scene.run(3, 1, 2, 1);
        scene.task(3).meta.updated_at = Timestamp(61_000);
        assert_eq!(scene.look(&mut observer), []);
        scene.tasks.remove(&3);
        scene.container(3, 2, false);
    });
    assert_eq!(had_its_time, []);
}

//! Placements that are agreed on: three managers with their logs on the disk, and
//! agents that run nothing, all of it on this machine.
//!
//! The managers are daemons on hosts of their own; the agents are the program
//! `manager/examples/agents`, which joins as machines do. How far it is, is counted from
//! the changes that a manager tells who does not lead: what it tells, it has in its store.

use crate::figures::Figure;
use skep_e2e::tables::cell;
use skep_e2e::{Cluster, VOTE_IMAGE, wait_for};
use skep_proto::pb;
use skep_proto::pb::control_client::ControlClient;
use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use tonic::transport::Endpoint;

const MANAGERS: usize = 3;
const CROWDS: [usize; 2] = [1000, 5000];
const SIZES: [usize; 3] = [1000, 10_000, 100_000];
const SOON: Duration = Duration::from_secs(900);
/// A node is Down after three of these. Nobody is to be given up where a core has so
/// much to do.
const HEARTBEAT: &str = "60s";
/// What the last measurement left is done by then.
const REST: Duration = Duration::from_secs(5);

/// All crowds with all sizes of the service.
#[must_use]
pub fn measure() -> Vec<Figure> {
    CROWDS.iter().map(|agents| with(*agents)).collect()
}

fn with(agents: usize) -> Figure {
    eprintln!("durable: three managers and {agents} agents");
    let cluster = Cluster::swarm("durable", MANAGERS, 0);
    cluster.heartbeat(1, HEARTBEAT);
    let crowd = Crowd::come(&cluster, agents);
    let mut told = Vec::new();
    let mut rate = 0.0;
    for tasks in SIZES {
        let took = place(&cluster, &crowd, tasks);
        rate = took.rate();
        told.push(format!("{tasks}: {rate:.0} ({took})"));
    }
    let nodes = cluster.table(1, &["node", "ls"]).expect("node ls works");
    let ready = nodes.iter().filter(|n| cell(n, "STATUS") == "Ready");
    assert_eq!(ready.count(), agents + MANAGERS, "a node was given up");
    crowd.go();
    cluster.finish();
    Figure {
        promise: match agents {
            1000 => "placements a second, durable through 3 managers, 1,000 agents",
            _ => "placements a second, durable through 3 managers, 5,000 agents",
        },
        goal: "20,000",
        measured: format!("{}; load of the machine {}", told.join("; "), load()),
        kept: rate >= 20_000.0,
        dockerd: Some(
            "Swarm's scheduler alone, in memory, without Raft: 1,240 to 1,960 (1,000 nodes, same \
             shape, measured on this machine earlier); Kubernetes: some hundreds"
                .to_owned(),
        ),
        how: "manager/examples/agents crowd: one service with a constraint that all agents keep, on no network \
              of its own; from the start of `service scale 0 -> N` until a manager that does not \
              lead has them all placed in its store (the rate; the largest counts), and until it \
              has them all as RUNNING by the word of their agents. Logs on this machine's disk, \
              fdatasync as ever; managers and agents share its cores, and the seconds of a core \
              that each took are given",
    }
}

/// What one scale took.
struct Took {
    tasks: usize,
    placed: Since,
    runs: Since,
}

/// Since the scale began.
struct Since {
    time: Duration,
    used: Used,
}

/// Processor time.
#[derive(Clone, Copy)]
struct Used {
    leader: Duration,
    /// Of the other managers.
    others: Duration,
    /// Of all agents.
    agents: Duration,
}

impl Took {
    fn rate(&self) -> f64 {
        self.tasks as f64 / self.placed.time.as_secs_f64()
    }
}

impl std::fmt::Display for Took {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "placed in {}, RUNNING in {}", self.placed, self.runs)
    }
}

impl std::fmt::Display for Since {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seconds = [
            self.time,
            self.used.leader,
            self.used.others,
            self.used.agents,
        ];
        let [time, leader, others, agents] = seconds.map(|time| time.as_secs_f64());
        write!(
            f,
            "{time:.2} s (of a core: leader {leader:.2} s, other managers {others:.2} s, agents {agents:.2} s)"
        )
    }
}

/// Scales a new service to so many tasks, and removes it again.
fn place(cluster: &Cluster, crowd: &Crowd, tasks: usize) -> Took {
    let leader = wait_for("a leader", SOON, || cluster.leader(1)).0;
    let follower = leader % MANAGERS + 1;
    let create = [
        "service create --detach --name many --replicas 0",
        "--constraint node.role==worker",
    ];
    let mut words: Vec<&str> = create.iter().flat_map(|part| part.split(' ')).collect();
    words.push(VOTE_IMAGE);
    cluster.skep(follower, &words).succeeds();
    let service = cluster.skep(follower, &["service", "inspect", "-f", "{{.ID}}", "many"]);
    let seen = watch(&cluster.socket(follower), service.succeeds().text(), tasks);
    let used = || {
        let daemon = |host| cluster.daemon_pid(host).map_or(Duration::ZERO, cpu);
        let all: Duration = (1..=MANAGERS).map(daemon).sum();
        Used {
            leader: daemon(leader),
            others: all - daemon(leader),
            agents: cpu(crowd.pid()),
        }
    };
    let (before, begun) = (used(), Instant::now());
    let wanted = format!("many={tasks}");
    cluster
        .skep(follower, &["service", "scale", "--detach", &wanted])
        .succeeds();
    let since = |what: &str| {
        let at = seen.recv_timeout(SOON);
        let at = at.unwrap_or_else(|_| panic!("not all are {what} after {SOON:?}"));
        let now = used();
        let since = Since {
            time: at - begun,
            used: Used {
                leader: now.leader - before.leader,
                others: now.others.saturating_sub(before.others),
                agents: now.agents - before.agents,
            },
        };
        eprintln!("durable: {tasks} tasks {what} in {since}");
        since
    };
    let (placed, runs) = (since("placed"), since("RUNNING"));
    let listed = cluster.read(follower, &["service", "ls", "--format", "{{.Replicas}}"]);
    assert_eq!(listed.succeeds().text(), format!("{tasks}/{tasks}"));
    cluster
        .skep(follower, &["service", "rm", "many"])
        .succeeds();
    since("gone");
    std::thread::sleep(REST);
    Took {
        tasks,
        placed,
        runs,
    }
}

/// Says when this manager has that many tasks of the service placed, when it has that
/// many that run, and when it has forgotten that many.
fn watch(socket: &str, service: &str, tasks: usize) -> mpsc::Receiver<Instant> {
    let (say, seen) = mpsc::channel();
    let (ready, begins) = mpsc::channel();
    let (socket, service) = (socket.to_owned(), service.to_owned());
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime can be made");
        runtime.block_on(async {
            let daemon = Endpoint::from_shared(socket).expect("a path");
            let channel = daemon.connect().await.expect("the daemon listens");
            let mut control = ControlClient::new(channel);
            let events = control.watch(pb::WatchRequest::default()).await;
            let mut events = events.expect("it is a manager").into_inner();
            ready.send(()).expect("somebody waits");
            let (mut placed, mut run, mut gone) = (0, 0, 0);
            while gone < tasks {
                let event = events.message().await.expect("the manager goes on");
                let event = event.expect("the manager goes on");
                let says = |key: &str, value: &str| {
                    event.attributes.get(key).is_some_and(|told| told == value)
                };
                if !says("service", &service) {
                    continue;
                }
                let has_node = event.attributes.contains_key("node");
                let count = match event.action.as_str() {
                    "create" if has_node => &mut placed,
                    "update" if says("state.new", "assigned") => &mut placed,
                    "update" if says("state.new", "running") => &mut run,
                    "remove" => &mut gone,
                    _ => continue,
                };
                *count += 1;
                if *count == tasks {
                    // Whoever measures may have given up.
                    let _ = say.send(Instant::now());
                }
            }
        });
    });
    begins.recv().expect("the watch begins");
    seen
}

/// The agents' process.
struct Crowd {
    process: Child,
    says: Lines<BufReader<ChildStdout>>,
}

impl Crowd {
    fn come(cluster: &Cluster, agents: usize) -> Self {
        let token = cluster.read(1, &["swarm", "join-token", "-q", "worker"]);
        let token = token.succeeds();
        let managers: Vec<_> = (1..=MANAGERS)
            .map(|host| format!("{}:2377", cluster.address(host)))
            .collect();
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let example = "run --quiet --locked --release -p skep-manager --example agents --";
        let mut process = Command::new("nsenter")
            .arg(format!("--net=/run/netns/skep-{}-net", cluster.prefix()))
            .arg(cargo)
            .args(example.split(' '))
            .args(["crowd", &agents.to_string(), token.text()])
            .args(managers)
            .current_dir(skep_e2e::programs::root())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("nsenter starts");
        let out = process.stdout.take().expect("it was asked for");
        let mut crowd = Self {
            process,
            says: BufReader::new(out).lines(),
        };
        while !crowd.says().starts_with("ready") {}
        std::thread::sleep(REST);
        crowd
    }

    /// Its next line.
    fn says(&mut self) -> String {
        let line = self.says.next().and_then(Result::ok);
        let line = line.expect("the agents' program goes on; what it said is above");
        eprintln!("durable: agents: {line}");
        line
    }

    /// nsenter and cargo give their place to the program.
    fn pid(&self) -> i32 {
        i32::try_from(self.process.id()).unwrap_or_default()
    }

    fn go(mut self) {
        drop(self.process.stdin.take());
        self.says();
        self.process
            .wait()
            .expect("a child of ours can be waited for");
    }
}

/// Who else wanted its cores in the last minute.
fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}

/// Processor time a process has used.
fn cpu(pid: i32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = after.split_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.map(|field| field.parse().unwrap_or(0)).sum();
    // A hundred a second on Linux, whatever the machine.
    Duration::from_millis(ticks * 10)
}

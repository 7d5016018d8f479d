//! `cargo run --release -p skep-manager --example agents [AGENTS [TASKS]]`: what so
//! many agents, each with so many tasks, cost the manager they all talk to.
//!
//! `agents store [NODES [TASKS]]`: the memory of a manager to whom nobody talks and
//! whose store holds so many nodes, each with so many tasks on one network.
//!
//! The manager is a process of its own with one worker thread: real port, real TLS,
//! real gRPC, real log, all on this machine. The agents are this process; they open
//! sessions, send heartbeats, follow their assignments and run nothing. Their
//! tasks are on no network, so endpoints carry no addresses.

use ipnet::Ipv4Net;
use skep_manager::{Manager, ManagerConfig, RaftConfig, Start, first_actions};
use skep_manager_ca::{Credentials, Request, Root, Subject};
use skep_manager_store::{
    Action, NetworkAction, NewTask, NodeAction, ServiceAction, Store, TaskAction,
};
use skep_proto::pb::dispatcher_client::DispatcherClient;
use skep_proto::{encode_snapshot, id_bytes, pb};
use skep_transport::connect;
use skep_types::*;
use std::io::{BufRead, BufReader, Read};
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::{Semaphore, mpsc, watch};
use tonic::Status;

/// The one that the daemon has.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CLUSTER: ClusterId = ClusterId::from_bits(7);
const NETWORK: NetworkId = NetworkId::from_bits(5);
const SUBNET: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(10, 0, 0, 0), 9);
/// Prefix length of a node's block.
const BLOCK: u8 = 24;
const TASKS_PER_SERVICE: usize = 100;
const LIFE: Duration = Duration::from_secs(24 * 3600);
const BEAT: Duration = Duration::from_secs(1);
/// How long the manager is watched at rest.
const REST: Duration = Duration::from_secs(20);

type Error = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |place: usize, default: usize| {
        let given = arguments.get(place).map(|text| text.parse());
        given.unwrap_or(Ok(default))
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    if arguments.first().is_some_and(|first| first == "manager") {
        return runtime.block_on(manager(
            Path::new(&arguments[1]),
            number(2, 0)?,
            number(3, 0)?,
            arguments.get(4).is_some(),
        ));
    }
    if arguments.first().is_some_and(|first| first == "store") {
        return runtime.block_on(alone(number(1, 1000)?, number(2, 100)?));
    }
    runtime.block_on(agents(number(0, 10_000)?, number(1, 10)?))
}

/// The manager's process: ends when its input does.
async fn manager(dir: &Path, nodes: usize, tasks: usize, network: bool) -> Result<(), Error> {
    let read = |name: &str| std::fs::read_to_string(dir.join(name));
    let root = Root::from_pem(&read("root.pem")?, &read("key.pem")?)?;
    let listen = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let raft = RaftConfig::new(dir.join("raft"), 1, listen.to_string(), [7; 32]);
    let store = store(&root, &listen.to_string(), nodes, tasks, network)?;
    let dump = store.snapshot().dump();
    skep_manager_raft::seed(&raft, dump.version.0, encode_snapshot(&dump)).await?;
    drop((dump, store));
    let manager = Manager::start(ManagerConfig {
        raft,
        listen,
        credentials: credentials(&root, NodeId::from_bits(1), Role::Manager)?,
        network: skep_transport::Tcp::network(),
        keys: None,
        start: Start::Member,
    });
    let manager = manager.await?;
    while !manager.is_leader() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    println!("{listen}");
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    manager.stop().await;
    Ok(())
}

/// A swarm in which everything runs.
fn store(
    root: &Root,
    address: &str,
    nodes: usize,
    tasks: usize,
    network: bool,
) -> Result<Store, Error> {
    let mut store = Store::new();
    let mut apply = |actions: &[Action]| {
        let version = Version(store.snapshot().version().0 + 1);
        let applied = store.apply(version, Timestamp(now_ms()), actions);
        match applied.results.into_iter().find_map(Result::err) {
            Some(refused) => Err(Error::from(refused.to_string())),
            None => Ok(version),
        }
    };
    let mut spec = ClusterSpec::default();
    if network {
        // Nobody talks to this manager, and nobody is to be given up.
        spec.heartbeat = LIFE;
    }
    let cluster = pb::Cluster {
        id: id_bytes(CLUSTER),
        meta: Some(pb::Meta::default()),
        spec: Some((&spec).into()),
        root_ca_certificate: root.certificate().pem().to_owned(),
        root_ca_key: root.key_pem(),
        ..pb::Cluster::default()
    };
    let cluster = Cluster::try_from(cluster)?;
    let mut first = node(1);
    first.spec.role = Role::Manager;
    first.role = Role::Manager;
    first.manager = Some(ManagerStatus {
        raft_id: 1,
        address: address.to_owned(),
        format: Format::FIRST,
    });
    // Without the network of tasks that are on none.
    let actions = first_actions(cluster, first).into_iter();
    let actions = actions.filter(|action| !matches!(action, Action::Network(_)));
    apply(&actions.collect::<Vec<_>>())?;
    for bits in agents_of(nodes) {
        apply(&[Action::Node(NodeAction::Create(Box::new(node(bits))))])?;
    }
    if network {
        let id = NETWORK;
        let create = NetworkAction::Create {
            id,
            spec: Box::default(),
        };
        let version = apply(&[Action::Network(create)])?;
        let block = |place: usize| {
            let owner = BlockOwner::Node(NodeId::from_bits(2 + place as u128));
            Ok((Ipv4Net::new(first_address(place), BLOCK)?, owner))
        };
        let take = NetworkAction::SetBlocks {
            id,
            version,
            add_subnets: vec![SUBNET],
            free: Vec::new(),
            take: (0..nodes).map(block).collect::<Result<_, Error>>()?,
        };
        apply(&[Action::Network(take)])?;
    }
    let attachments = |index: usize| {
        let address = u32::from(first_address(index % nodes)) + 2 + (index / nodes) as u32;
        let attachment = || Attachment {
            network: NETWORK,
            address: Ipv4Addr::from(address).into(),
        };
        network.then(attachment).into_iter().collect()
    };
    for service in 0..(nodes * tasks).div_ceil(TASKS_PER_SERVICE) {
        let first = service * TASKS_PER_SERVICE;
        let slots = TASKS_PER_SERVICE.min(nodes * tasks - first);
        let id = ServiceId::from_bits(1 + service as u128);
        let mut spec = ServiceSpec {
            name: format!("s{service}"),
            ..ServiceSpec::default()
        };
        spec.mode = ServiceMode::Replicated {
            replicas: slots as u32,
        };
        let spec = Box::new(spec);
        let spec_version = apply(&[Action::Service(ServiceAction::Create { id, spec })])?;
        let task = |slot: usize| NewTask {
            id: task_id(first + slot),
            slot: Slot(1 + slot as u32),
            desired: TaskState::Running,
            node: Some(NodeId::from_bits(2 + ((first + slot) % nodes) as u128)),
            attachments: attachments(first + slot),
            error: String::new(),
        };
        let create = TaskAction::Create {
            service: id,
            spec_version,
            tasks: (0..slots).map(task).collect(),
        };
        let running = TaskAction::UpdateStatus {
            updates: (0..slots)
                .map(|slot| (task_id(first + slot), status(TaskState::Running)))
                .collect(),
        };
        apply(&[Action::Task(create), Action::Task(running)])?;
    }
    Ok(store)
}

/// The first address of a node's block.
fn first_address(place: usize) -> Ipv4Addr {
    let size = 1_u32 << (32 - BLOCK);
    Ipv4Addr::from(u32::from(SUBNET.addr()) + place as u32 * size)
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}

fn agents_of(nodes: usize) -> impl Iterator<Item = u128> {
    (0..nodes).map(|index| 2 + index as u128)
}

fn task_id(index: usize) -> TaskId {
    // Spread like those that are drawn.
    TaskId::from_bits((index as u128 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835))
}

fn status(state: TaskState) -> TaskStatus {
    TaskStatus {
        state,
        at: Timestamp(now_ms()),
        message: "started".to_owned(),
        ..TaskStatus::default()
    }
}

fn description(bits: u128) -> NodeDescription {
    let mut wireguard_key = [1; 32];
    wireguard_key[..16].copy_from_slice(&bits.to_be_bytes());
    NodeDescription {
        hostname: format!("host-{bits}"),
        cpus: NanoCpus(4_000_000_000),
        memory: ByteCount(8 << 30),
        wireguard_key,
        ..NodeDescription::default()
    }
}

fn node(bits: u128) -> Node {
    let low = u32::try_from(bits).unwrap_or(u32::MAX);
    Node {
        id: NodeId::from_bits(bits),
        meta: Meta::default(),
        spec: NodeSpec::default(),
        description: description(bits),
        status: NodeStatus {
            state: NodeState::Ready,
            address: Some(Ipv4Addr::LOCALHOST.into()),
            ..NodeStatus::default()
        },
        role: Role::Worker,
        role_since: Timestamp(0),
        manager: None,
        mesh: Some(Ipv4Addr::from(
            u32::from(Ipv4Addr::new(10, 255, 0, 0)) + low,
        )),
    }
}

fn credentials(root: &Root, node: NodeId, role: Role) -> Result<Arc<Credentials>, Error> {
    let now = SystemTime::now();
    let key = Request::generate()?;
    let subject = Subject {
        node,
        role,
        cluster: CLUSTER,
    };
    let issued = root.issue(key.pem(), &subject, LIFE, now)?;
    Ok(Credentials::new(
        key.complete(&issued.pem, root.certificate().clone())?,
    )?)
}

/// What an agent says of itself to whoever measures.
enum Said {
    /// The agent at this place has a session and all its assignments.
    Connected(usize),
    /// It was told something new, to all nodes alike.
    Told(Instant),
    /// It lost its session without being asked to drop it.
    Lost(String),
}

/// A manager to whom nobody talks.
async fn alone(nodes: usize, tasks: usize) -> Result<(), Error> {
    let (dir, _) = authority()?;
    let numbers = [nodes.to_string(), tasks.to_string(), "network".to_owned()];
    let (mut child, _) = start(dir.path(), &numbers)?;
    tokio::time::sleep(REST).await;
    let memory = memory(child.id())?;
    println!(
        "{nodes} nodes, {} tasks on a network: {memory}",
        nodes * tasks
    );
    drop(child.stdin.take());
    child.wait()?;
    Ok(())
}

/// A folder for the manager, with the root of the swarm.
fn authority() -> Result<(tempfile::TempDir, Root), Error> {
    let dir = tempfile::tempdir()?;
    let root = Root::generate(SystemTime::now())?;
    std::fs::write(dir.path().join("root.pem"), root.certificate().pem())?;
    std::fs::write(dir.path().join("key.pem"), root.key_pem())?;
    Ok((dir, root))
}

async fn agents(count: usize, tasks: usize) -> Result<(), Error> {
    let (dir, root) = authority()?;
    let (mut child, address) = start(dir.path(), &[count.to_string(), tasks.to_string()])?;
    let pid = child.id();
    let (say, mut said) = mpsc::unbounded_channel();
    let (round, rounds) = watch::channel(0_u64);
    println!(
        "{count} agents, {} tasks; manager alone: {}",
        count * tasks,
        memory(pid)?
    );

    let dialling = Arc::new(Semaphore::new(256));
    let digests = Arc::new(Mutex::new(vec![bytes::Bytes::new(); count]));
    let mut running = Vec::new();
    let begun = Instant::now();
    for (place, bits) in agents_of(count).enumerate() {
        let agent = Agent {
            address: address.clone(),
            credentials: credentials(&root, NodeId::from_bits(bits), Role::Worker)?,
            bits,
            place,
            digests: digests.clone(),
            dialling: dialling.clone(),
            rounds: rounds.clone(),
            said: say.clone(),
        };
        running.push(tokio::spawn(agent.run()));
    }
    let lost = connected(&mut said, count).await?;
    println!(
        "first connection of all: {:.1} s, {lost} tried again",
        begun.elapsed().as_secs_f64()
    );

    tokio::time::sleep(BEAT * 5).await;
    let (cpu, start) = (cpu(pid)?, Instant::now());
    tokio::time::sleep(REST).await;
    let used = (self::cpu(pid)? - cpu).as_secs_f64() / start.elapsed().as_secs_f64();
    println!("at rest: {:.0} % of a core, {}", used * 100.0, memory(pid)?);
    while said.try_recv().is_ok() {}

    let times = fan_out(&address, &root, &mut said, count, tasks).await?;
    let at = |part: usize| times[(times.len() - 1) * part / 100].as_secs_f64() * 1e3;
    println!(
        "an endpoint change, from its report to every agent: p50 {:.0} ms, p99 {:.0} ms, last {:.0} ms",
        at(50),
        at(99),
        at(100)
    );

    tokio::time::sleep(BEAT * 5).await;
    for (what, forget) in [("hold what they were told", false), ("hold nothing", true)] {
        while said.try_recv().is_ok() {}
        if forget {
            let mut digests = digests.lock().map_err(|error| error.to_string())?;
            digests.iter_mut().for_each(bytes::Bytes::clear);
        }
        let (cpu, begun) = (self::cpu(pid)?, Instant::now());
        round.send_modify(|round| *round += 1);
        let lost = connected(&mut said, count).await?;
        println!(
            "all come back at once and {what}: {:.1} s, {:.1} s of the manager's core, {lost} tried again, {}",
            begun.elapsed().as_secs_f64(),
            (self::cpu(pid)? - cpu).as_secs_f64(),
            memory(pid)?
        );
        tokio::time::sleep(BEAT * 5).await;
    }
    running.iter().for_each(tokio::task::JoinHandle::abort);
    drop(child.stdin.take());
    child.wait()?;
    Ok(())
}

fn start(dir: &Path, numbers: &[String]) -> Result<(Child, String), Error> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(["manager".as_ref(), dir.as_os_str()])
        .args(numbers)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut address = String::new();
    let out = child.stdout.take().ok_or("no output")?;
    BufReader::new(out).read_line(&mut address)?;
    match address.trim() {
        "" => Err("the manager did not start".into()),
        address => Ok((child, address.to_owned())),
    }
}

/// Waits until each is connected once more. Returns how often one had to try again.
async fn connected(said: &mut mpsc::UnboundedReceiver<Said>, count: usize) -> Result<usize, Error> {
    let (mut there, mut lost) = (0, 0);
    while there < count {
        match said.recv().await.ok_or("all agents ended")? {
            Said::Connected(_) => there += 1,
            Said::Told(_) => {}
            Said::Lost(reason) => {
                if lost == 0 {
                    println!("(one tried again: {reason})");
                }
                lost += 1;
            }
        }
    }
    Ok(lost)
}

/// Reports that a task failed and waits until every agent was told.
async fn fan_out(
    address: &str,
    root: &Root,
    said: &mut mpsc::UnboundedReceiver<Said>,
    count: usize,
    tasks: usize,
) -> Result<Vec<Duration>, Error> {
    if tasks == 0 {
        return Ok(vec![Duration::ZERO]);
    }
    // The first agent's node once more: this session takes its place.
    let node = NodeId::from_bits(2);
    let channel = connect(
        address,
        credentials(root, node, Role::Worker)?.client_config()?,
    )?;
    let mut client = DispatcherClient::new(channel);
    let mut begun;
    loop {
        let (session, _messages) = open(&mut client, 2).await?;
        let report = pb::UpdateTaskStatusRequest {
            session,
            updates: vec![pb::TaskStatusUpdate {
                task: id_bytes(task_id(0)),
                status: Some((&status(TaskState::Failed)).into()),
            }],
        };
        begun = Instant::now();
        match client.update_task_status(report).await {
            // The agent came back before this was said.
            Err(status) if status.code() == tonic::Code::NotFound => {}
            said => {
                said?;
                break;
            }
        }
    }
    let mut times = Vec::new();
    // The first agent has lost its session and asks for everything; so does one
    // that lost it on a machine with too much to do.
    while times.len() < count - 1 {
        match said.recv().await.ok_or("all agents ended")? {
            Said::Told(at) if at > begun => times.push(at - begun),
            Said::Connected(place) if place > 0 => times.push(begun.elapsed()),
            Said::Told(_) | Said::Connected(_) | Said::Lost(_) => {}
        }
    }
    times.sort();
    Ok(times)
}

async fn open(
    client: &mut DispatcherClient<tonic::transport::Channel>,
    bits: u128,
) -> Result<(bytes::Bytes, tonic::Streaming<pb::SessionMessage>), Status> {
    let request = pb::SessionRequest {
        description: Some((&description(bits)).into()),
    };
    let mut messages = client.session(request).await?.into_inner();
    match messages.message().await?.and_then(|first| first.message) {
        Some(pb::session_message::Message::Welcome(welcome)) => Ok((welcome.session, messages)),
        _ => Err(Status::unavailable("no welcome")),
    }
}

struct Agent {
    address: String,
    credentials: Arc<Credentials>,
    bits: u128,
    place: usize,
    digests: Arc<Mutex<Vec<bytes::Bytes>>>,
    dialling: Arc<Semaphore>,
    rounds: watch::Receiver<u64>,
    said: mpsc::UnboundedSender<Said>,
}

impl Agent {
    /// Stays connected; in a new round it drops everything and comes back.
    async fn run(mut self) {
        loop {
            self.rounds.borrow_and_update();
            let mut rounds = self.rounds.clone();
            let ended = tokio::select! {
                ended = self.session() => ended,
                changed = rounds.changed() => {
                    if changed.is_err() { return }
                    self.rounds.borrow_and_update();
                    continue;
                }
            };
            // Whoever measures may be done.
            let _ = self.said.send(Said::Lost(ended.unwrap_err().to_string()));
            tokio::time::sleep(Duration::from_millis(100 + self.bits as u64 % 400)).await;
        }
    }

    async fn session(&self) -> Result<std::convert::Infallible, Error> {
        // This process has its limits, too: it dials a few hundred at a time.
        let slot = self.dialling.clone().acquire_owned().await?;
        let channel = connect(&self.address, self.credentials.client_config()?)?;
        let mut client = DispatcherClient::new(channel).max_decoding_message_size(64 << 20);
        let (session, mut messages) = open(&mut client, self.bits).await?;
        drop(slot);
        let beats = self.beat(client.clone(), session.clone());
        let follows = self.follow(client, session);
        tokio::select! {
            ended = beats => ended,
            ended = follows => ended,
            ended = async { while messages.message().await?.is_some() {} Ok::<_, Status>(()) } => {
                ended?;
                Err("the session ended".into())
            }
        }
    }

    async fn beat(
        &self,
        mut client: DispatcherClient<tonic::transport::Channel>,
        session: bytes::Bytes,
    ) -> Result<std::convert::Infallible, Error> {
        loop {
            tokio::time::sleep(BEAT).await;
            let request = pb::HeartbeatRequest {
                session: session.clone(),
            };
            tokio::time::timeout(BEAT, client.heartbeat(request)).await??;
        }
    }

    async fn follow(
        &self,
        mut client: DispatcherClient<tonic::transport::Channel>,
        session: bytes::Bytes,
    ) -> Result<std::convert::Infallible, Error> {
        let digests = || self.digests.lock().map_err(|error| error.to_string());
        let digest = digests()?[self.place].clone();
        let request = pb::AssignmentsRequest { session, digest };
        let mut messages = client.assignments(request).await?.into_inner();
        let mut complete = false;
        while let Some(message) = messages.message().await? {
            if !message.shared.is_empty() && complete {
                self.said.send(Said::Told(Instant::now()))?;
            }
            if !message.more {
                digests()?[self.place] = message.digest;
                if !std::mem::replace(&mut complete, true) {
                    self.said.send(Said::Connected(self.place))?;
                }
            }
        }
        Err("the assignments ended".into())
    }
}

/// Processor time a process has used.
fn cpu(pid: u32) -> Result<Duration, Error> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let after = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = after.split_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.map(|field| field.parse().unwrap_or(0)).sum();
    // A hundred a second on Linux, whatever the machine.
    Ok(Duration::from_millis(ticks * 10))
}

/// Memory of a process, in words.
fn memory(pid: u32) -> Result<String, Error> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kb: f64 = line.unwrap_or("").trim().trim_end_matches(" kB").parse()?;
    Ok(format!("{:.0} MB", kb / 1024.0))
}

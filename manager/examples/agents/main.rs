//! `cargo run --release -p skep-manager --example agents [AGENTS [TASKS]]`: what so
//! many agents, each with so many tasks, cost the manager they all talk to.
//!
//! `agents store [NODES [TASKS]]`: the memory of a manager to whom nobody talks and
//! whose store holds so many nodes, each with so many tasks on one network.
//!
//! `agents crowd COUNT TOKEN MANAGER...`: so many agents join a swarm that is there, hold
//! sessions with its managers and say of their tasks that they run, until the input
//! ends.
//!
//! Otherwise the manager is a process of its own with one worker thread: real port, real
//! TLS, real gRPC, real log, all on this machine. The agents are this process; they open
//! sessions, send heartbeats, follow their assignments and run nothing. Their tasks have
//! no address on the network of their services, so endpoints carry none.

mod agent;
mod crowd;
mod swarm;

use agent::{Agent, Opened, Said, open};
use skep_manager::{Manager, ManagerConfig, RaftConfig, Start};
use skep_manager_ca::Root;
use skep_proto::pb::dispatcher_client::DispatcherClient;
use skep_proto::{encode_snapshot, id_bytes, pb};
use skep_transport::connect;
use skep_types::*;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};
use swarm::{agents_of, credentials, description, status, store, task_id};
use tokio::sync::{Semaphore, mpsc, watch};

/// The one that the daemon has.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CLUSTER: ClusterId = ClusterId::from_bits(7);
const LIFE: Duration = Duration::from_secs(24 * 3600);
/// The shortest period of heartbeats that the manager asks for.
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
    if let [first, count, token, managers @ ..] = &arguments[..]
        && first == "crowd"
    {
        return runtime.block_on(crowd::run(count.parse()?, token, managers));
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
            managers: vec![address.clone()],
            credentials: credentials(&root, NodeId::from_bits(bits), Role::Worker)?,
            bits,
            place,
            digests: digests.clone(),
            dialling: dialling.clone(),
            rounds: rounds.clone(),
            said: say.clone(),
            works: false,
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
        let (Opened { session, .. }, _messages) = open(&mut client, &description(2)).await?;
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

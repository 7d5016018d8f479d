//! Managers that are killed, stopped, cut off and run out of disk while somebody
//! writes and reads: nothing acknowledged is lost, no read goes back, and no
//! container is restarted.
//!
//! On three hosts, then on five. `SKEP_CHAOS_SECONDS` (40), `SKEP_CHAOS_HOSTS` and
//! `SKEP_CHAOS_SEED` (1) make it longer, on so many hosts alone, and another one.

use rustix::process::{Pid, Signal, kill_process};
use skep_e2e::tables::cell;
use skep_e2e::{Cluster, Container, Programs, Steps, command, wait_for};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How long anything may take once the faults are over.
const SOON: Duration = Duration::from_secs(90);
/// How long the client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// A node is Down after three of these: longer than any fault here.
const HEARTBEAT: &str = "20s";

#[test]
fn no_acknowledged_write_is_lost_whatever_happens_to_the_managers() {
    let number = |name: &str| -> Option<u64> {
        let given = std::env::var(name).ok();
        given.map(|text| text.parse().expect(name))
    };
    let hosts = match number("SKEP_CHAOS_HOSTS") {
        Some(hosts) => vec![usize::try_from(hosts).expect("a number of hosts")],
        None => vec![3, 5],
    };
    let long = Duration::from_secs(number("SKEP_CHAOS_SECONDS").unwrap_or(40));
    for hosts in hosts {
        let chance = Chance(number("SKEP_CHAOS_SEED").unwrap_or(1));
        chaos(hosts, chance, long);
    }
}

/// So much of it on so many hosts.
fn chaos(hosts: usize, mut chance: Chance, long: Duration) {
    let steps = Steps::begin();
    let mut cluster = Cluster::swarm("chaos", hosts, 0);
    cluster.heartbeat(1, HEARTBEAT);
    cluster.create_web(hosts, &[]);
    let before = containers(&cluster);
    for host in 1..=hosts {
        small_disk(&mut cluster, host);
    }
    wait_for("all are ready", SOON, || whole(&cluster));

    let client = Client::new(&cluster);
    let over = AtomicBool::new(false);
    let history = thread::scope(|scope| {
        let ending = Ending(&over);
        let written = scope.spawn(|| client.run(&over));
        let begun = Instant::now();
        // Every kind comes up before one comes up again.
        let mut round = Vec::new();
        while begun.elapsed() < long && !written.is_finished() {
            if round.is_empty() {
                round = Fault::ALL.to_vec();
            }
            let fault = round.swap_remove(chance.below(round.len()));
            let host = chance.below(hosts) + 1;
            let lasts = Duration::from_millis(500 + chance.below(3500) as u64);
            steps.step(&format!("{fault:?} at host {host} for {lasts:?}"));
            fault.happen(&mut cluster, host, lasts);
            thread::sleep(Duration::from_millis(chance.below(2000) as u64));
        }
        drop(ending);
        match written.join() {
            Ok(history) => history,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    });

    steps.step("the faults are over: everything is as it should be");
    wait_for("all are ready again", SOON, || whole(&cluster));
    for host in 1..=hosts {
        let (seen, _) = wait_for("every manager answers", SOON, || client.read(host));
        let lost: Vec<_> = history.acknowledged.difference(&seen).collect();
        assert!(lost.is_empty(), "host {host} lost {lost:?}");
    }
    wait_for("every task runs", SOON, || cluster.converged(1));
    assert_eq!(containers(&cluster), before, "no container was restarted");
    println!(
        "{} writes acknowledged, {} without an answer, {} reads; the longest time without a \
         write: {:?}",
        history.acknowledged.len(),
        history.unknown,
        history.reads,
        history.gap
    );
    assert!(history.acknowledged.len() > 5, "the client was served");
    cluster.finish();
}

/// Ends the client, also when the test fails.
struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What happens to a host.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// Its daemon is killed, and started again afterwards.
    Killed,
    /// Its daemon is stopped and goes on afterwards.
    Paused,
    /// Its cable is pulled.
    Cut,
    /// It hears nothing from the others, who hear it.
    Deaf,
    /// The others hear nothing from it.
    Mute,
    /// A fifth of its packets gets lost, where the kernel can do that.
    Lossy,
    /// The disk of its log is full; that ends its part until it is started anew.
    Full,
}

impl Fault {
    const ALL: [Fault; 7] = [
        Fault::Killed,
        Fault::Paused,
        Fault::Cut,
        Fault::Deaf,
        Fault::Mute,
        Fault::Lossy,
        Fault::Full,
    ];

    fn happen(self, cluster: &mut Cluster, host: usize, lasts: Duration) {
        match self {
            Fault::Killed => {
                cluster.kill_daemon(host);
                thread::sleep(lasts);
                cluster.start_daemon(host);
                cluster.await_daemon(host);
            }
            Fault::Paused => {
                signal(cluster, host, Signal::STOP);
                thread::sleep(lasts);
                signal(cluster, host, Signal::CONT);
            }
            Fault::Cut => {
                cluster.do_to("cut", host);
                thread::sleep(lasts);
                cluster.do_to("mend", host);
            }
            Fault::Deaf => drop_packets(cluster, host, "input", "iif", lasts),
            Fault::Mute => drop_packets(cluster, host, "output", "oif", lasts),
            Fault::Lossy => {
                let qdisc = |verb: &str, rest: &[&str]| {
                    let mut words = vec!["tc", "qdisc", verb, "dev", "eth0", "root"];
                    words.extend(rest);
                    cluster.exec(host, &words)
                };
                if qdisc("add", &["netem", "loss", "20%", "delay", "5ms"]).code == 0 {
                    thread::sleep(lasts);
                    qdisc("del", &[]).succeeds();
                } else {
                    println!("          this kernel has no netem: left out");
                }
            }
            Fault::Full => {
                let filler = cluster.data_dir(host).join("raft/filler");
                let filler = filler.to_string_lossy().into_owned();
                // Ends with an error when the disk is full: that is the point.
                cluster.exec(host, &["sh", "-c", &format!("cat /dev/zero > {filler}")]);
                thread::sleep(lasts);
                cluster.exec(host, &["rm", &filler]).succeeds();
                cluster.kill_daemon(host);
                cluster.start_daemon(host);
                cluster.await_daemon(host);
            }
        }
    }
}

fn signal(cluster: &Cluster, host: usize, signal: Signal) {
    let pid = cluster.daemon_pid(host).and_then(Pid::from_raw);
    kill_process(pid.expect("a daemon runs there"), signal).expect("it can be told");
}

fn drop_packets(cluster: &Cluster, host: usize, hook: &str, card: &str, lasts: Duration) {
    let rules = format!(
        "add table inet chaos; \
         add chain inet chaos lost {{ type filter hook {hook} priority -300; }}; \
         add rule inet chaos lost {card} eth0 drop"
    );
    cluster.exec(host, &["nft", &rules]).succeeds();
    thread::sleep(lasts);
    let mend = ["nft", "delete", "table", "inet", "chaos"];
    cluster.exec(host, &mend).succeeds();
}

/// Puts a host's log onto a disk of its own that is soon full.
fn small_disk(cluster: &mut Cluster, host: usize) {
    cluster.kill_daemon(host);
    let raft = cluster.data_dir(host).join("raft");
    let raft = raft.to_string_lossy();
    let script = format!(
        "set -e; mv {raft} {raft}.before; mkdir -m 700 {raft}; \
         mount -t tmpfs -o size=48m,mode=700 tmpfs {raft}; cp -a {raft}.before/. {raft}/"
    );
    cluster.exec(host, &["sh", "-c", &script]).succeeds();
    cluster.start_daemon(host);
    cluster.await_daemon(host);
}

/// Whether all nodes are ready and all managers answer.
fn whole(cluster: &Cluster) -> Result<(), String> {
    let nodes = cluster.table(1, &["node", "ls"])?;
    let well = nodes.iter().filter(|node| {
        cell(node, "STATUS") == "Ready"
            && ["Leader", "Reachable"].contains(&cell(node, "MANAGER STATUS"))
    });
    match well.count() == cluster.count() {
        true => Ok(()),
        false => Err(format!("{nodes:#?}")),
    }
}

fn containers(cluster: &Cluster) -> Vec<Container> {
    (1..=cluster.count())
        .flat_map(|host| cluster.containers(host))
        .collect()
}

/// Writes configs, a new one each time, and reads which there are.
struct Client {
    skep: PathBuf,
    sockets: Vec<String>,
    content: String,
}

/// What the client saw.
struct History {
    acknowledged: BTreeSet<String>,
    /// Writes without an answer: they may be there or not.
    unknown: usize,
    reads: usize,
    /// The longest time between two acknowledged writes.
    gap: Duration,
}

impl Client {
    fn new(cluster: &Cluster) -> Client {
        let content = cluster.folder().join("content");
        std::fs::write(&content, "x").expect("a file can be written");
        Client {
            skep: Programs::find().skep(),
            sockets: (1..=cluster.count()).map(|h| cluster.socket(h)).collect(),
            content: content.to_string_lossy().into_owned(),
        }
    }

    fn ask(&self, host: usize, arguments: &[&str]) -> command::Output {
        let mut skep = Command::new(&self.skep);
        skep.args(["-H", &self.sockets[host - 1]]).args(arguments);
        command::run(&mut skep, PATIENCE)
    }

    fn read(&self, host: usize) -> Result<BTreeSet<String>, String> {
        let listed = self.ask(host, &["config", "ls", "--format", "{{.Name}}"]);
        Ok(listed.checked()?.lines().map(str::to_owned).collect())
    }

    /// Writes at one host and reads at the next, until it is over. What was
    /// acknowledged or seen before a read began must be in it.
    fn run(&self, over: &AtomicBool) -> History {
        let mut history = History {
            acknowledged: BTreeSet::new(),
            unknown: 0,
            reads: 0,
            gap: Duration::ZERO,
        };
        let mut seen = BTreeSet::new();
        let mut last = Instant::now();
        let mut turn = 0;
        while !over.load(Ordering::Relaxed) {
            turn += 1;
            let host = turn % self.sockets.len() + 1;
            let name = format!("w{turn}");
            if self
                .ask(host, &["config", "create", &name, &self.content])
                .code
                == 0
            {
                history.acknowledged.insert(name);
                history.gap = history.gap.max(last.elapsed());
                last = Instant::now();
            } else {
                history.unknown += 1;
            }
            let host = (turn + 1) % self.sockets.len() + 1;
            if let Ok(read) = self.read(host) {
                history.reads += 1;
                seen.extend(history.acknowledged.iter().cloned());
                let gone: Vec<_> = seen.difference(&read).collect();
                assert!(gone.is_empty(), "a read at host {host} lacks {gone:?}");
                seen = read;
            }
        }
        history
    }
}

/// Numbers that follow from a seed (SplitMix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) as usize % limit
    }
}

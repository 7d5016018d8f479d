//! Hosts on a network of their own: namespaces joined by a bridge, all removed at the end.

use std::fs::File;
use std::future::Future;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sched::{CloneFlags, setns};
use skep_agent_dataplane::{Applied, Dataplane, DataplaneConfig, Error};
use skep_agent_planner::network::Desired;
use tokio::runtime::Runtime;

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// Runs `ip` and wants it to succeed.
pub fn ip(arguments: &str) -> String {
    let output = Command::new("ip")
        .args(arguments.split_whitespace())
        .output()
        .expect("the ip command");
    assert!(
        output.status.success(),
        "ip {arguments}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs `work` on a thread in the namespace mounted at `path` and waits for it.
pub fn within<T: Send + 'static>(path: &Path, work: impl FnOnce() -> T + Send + 'static) -> T {
    let file = File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let thread = std::thread::spawn(move || {
        setns(&file, CloneFlags::CLONE_NEWNET).expect("needs root");
        work()
    });
    thread.join().expect("the work in the namespace")
}

/// A network with hosts `192.0.2.1` onwards and a client at `192.0.2.100`.
pub struct Lan {
    name: String,
    pub hosts: Vec<Host>,
    pub client: PathBuf,
    directory: tempfile::TempDir,
}

impl Lan {
    pub fn new(hosts: usize) -> Self {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        if number == 0 {
            forget_the_dead();
        }
        let name = format!("skep-t{}-{number}", std::process::id());
        let directory = tempfile::Builder::new()
            .prefix("skep-t")
            .tempdir()
            .expect("a directory");
        let mut lan = Lan {
            client: named(&format!("{name}-cl")),
            name: name.clone(),
            hosts: Vec::new(),
            directory,
        };
        ip(&format!("netns add {name}-sw"));
        ip(&format!("-n {name}-sw link add name lan0 type bridge"));
        ip(&format!("-n {name}-sw link set lan0 up"));
        lan.join("cl", 100);
        for number in 1..=hosts {
            let host = lan.join(&format!("h{number}"), number as u8);
            let run_dir = lan.directory.path().join(format!("h{number}"));
            lan.hosts.push(Host::new(number as u8, host, run_dir));
        }
        lan
    }

    fn join(&self, member: &str, address: u8) -> PathBuf {
        let (name, sw) = (
            format!("{}-{member}", self.name),
            format!("{}-sw", self.name),
        );
        ip(&format!("netns add {name}"));
        ip(&format!("-n {name} link set lo up"));
        ip(&format!(
            "-n {name} link add e0 type veth peer name p-{member} netns {sw}"
        ));
        ip(&format!("-n {sw} link set p-{member} master lan0 up"));
        ip(&format!("-n {name} addr add 192.0.2.{address}/24 dev e0"));
        ip(&format!("-n {name} link set e0 up"));
        named(&name)
    }
}

/// Removes what runs left behind that were killed.
fn forget_the_dead() {
    let names = std::fs::read_dir("/run/netns").into_iter().flatten();
    for name in names.flatten().map(|entry| entry.file_name()) {
        let name = name.to_string_lossy();
        let pid = name
            .strip_prefix("skep-t")
            .and_then(|rest| rest.split('-').next());
        let pid = pid.and_then(|pid| pid.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            // Another run may be at it, too.
            let _ = Command::new("ip").args(["netns", "del", &name]).output();
        }
    }
}

fn named(name: &str) -> PathBuf {
    Path::new("/run/netns").join(name)
}

impl Drop for Lan {
    fn drop(&mut self) {
        for host in &mut self.hosts {
            host.stop(true);
        }
        let members = self.hosts.iter().map(|host| format!("h{}", host.number));
        for member in members.chain(["cl".to_owned(), "sw".to_owned()]) {
            let _ = Command::new("ip")
                .args(["netns", "del", &format!("{}-{member}", self.name)])
                .output();
        }
    }
}

/// A host: a namespace, and a runtime whose threads live in it.
pub struct Host {
    pub number: u8,
    pub namespace: PathBuf,
    run_dir: PathBuf,
    node: Option<(Runtime, Dataplane)>,
}

impl Host {
    fn new(number: u8, namespace: PathBuf, run_dir: PathBuf) -> Self {
        let host = Host {
            number,
            namespace,
            run_dir,
            node: None,
        };
        std::fs::create_dir_all(&host.run_dir).expect("a directory");
        std::fs::write(host.resolv_conf(), "nameserver 192.0.2.100\n").expect("a file");
        host
    }

    /// What names its name servers: the client.
    pub fn resolv_conf(&self) -> PathBuf {
        self.run_dir.join("resolv.conf")
    }

    /// Its address on the underlay.
    pub fn address(&self) -> Ipv4Addr {
        Ipv4Addr::new(192, 0, 2, self.number)
    }

    /// Its name for `ip`.
    pub fn name(&self) -> String {
        let name = self.namespace.file_name().expect("a name");
        name.to_string_lossy().into_owned()
    }

    /// A setting of its below `/proc/sys/net`.
    pub fn setting(&self, name: &str) -> String {
        let path = Path::new("/proc/sys/net").join(name);
        let value = within(&self.namespace, || std::fs::read_to_string(path));
        value.expect("a setting").trim().to_owned()
    }

    /// Changes such a setting.
    pub fn set(&self, name: &str, value: &'static str) {
        let path = Path::new("/proc/sys/net").join(name);
        within(&self.namespace, move || std::fs::write(path, value)).expect("a setting");
    }

    /// Its WireGuard private key.
    pub fn key(&self) -> [u8; 32] {
        [self.number; 32]
    }

    /// Starts the data plane as a daemon would.
    pub fn start(&mut self) {
        let namespace = self.namespace.clone();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .on_thread_start(move || {
                let file = File::open(&namespace).expect("the host's namespace");
                setns(&file, CloneFlags::CLONE_NEWNET).expect("needs root");
            })
            .build()
            .expect("a runtime");
        let config = DataplaneConfig {
            run_dir: self.run_dir.clone(),
            private_key: self.key(),
            listen_port: 51820,
            resolv_conf: self.resolv_conf(),
        };
        let opening = runtime.spawn(Dataplane::open(config));
        let dataplane = runtime
            .block_on(opening)
            .expect("no panic")
            .expect("the data plane opens");
        self.node = Some((runtime, dataplane));
    }

    /// Ends the data plane, by order or as a crash would.
    pub fn stop(&mut self, tear_down: bool) {
        if let Some((runtime, dataplane)) = self.node.take() {
            if tear_down {
                let result = on(&runtime, async move { dataplane.shutdown(true).await });
                if !std::thread::panicking() {
                    result.expect("everything is removed");
                }
            } else {
                drop(dataplane);
            }
            runtime.shutdown_timeout(std::time::Duration::from_secs(5));
        }
    }

    /// Applies a desired state and gives back what came of it.
    pub fn apply(&self, desired: Desired) -> Applied {
        self.try_apply(desired).expect("the state is applied")
    }

    /// The same of what may be refused.
    pub fn try_apply(&self, desired: Desired) -> Result<Applied, Error> {
        let (runtime, dataplane) = self.node.as_ref().expect("a started host");
        // The references stay valid: the future is waited for here.
        std::thread::scope(|scope| {
            let applying = scope.spawn(|| {
                let file = File::open(&self.namespace).expect("the host's namespace");
                setns(&file, CloneFlags::CLONE_NEWNET).expect("needs root");
                runtime.block_on(dataplane.apply(&desired))
            });
            applying.join().expect("no panic")
        })
    }

    /// Removes everything; others still hold the data plane, as when the node leaves the swarm.
    pub fn leave(&self) {
        let (runtime, dataplane) = self.node.as_ref().expect("a started host");
        let leaving = runtime.block_on(dataplane.shutdown(true));
        leaving.expect("everything is removed");
    }

    /// Waits until a task has nothing left to send.
    pub fn sent(&self, task: skep_types::TaskId, limit: std::time::Duration) {
        let (runtime, dataplane) = self.node.as_ref().expect("a started host");
        runtime
            .block_on(dataplane.sent(&task, limit))
            .expect("it can be looked at");
    }

    /// Where a task's namespace is.
    pub fn netns(&self, task: skep_types::TaskId) -> PathBuf {
        self.node
            .as_ref()
            .expect("a started host")
            .1
            .netns_path(&task)
    }

    /// Everything in the host's namespace that carries our name, and the namespaces of containers.
    pub fn leftovers(&self) -> String {
        let name = self.name();
        let nft = Command::new("ip")
            .args(["netns", "exec", &name, "nft", "list", "ruleset"])
            .output();
        let mut text = String::from_utf8_lossy(&nft.expect("nft").stdout).into_owned();
        let links = ip(&format!("-n {name} -o link"));
        text.extend(
            links
                .lines()
                .filter(|line| {
                    line.split(' ')
                        .nth(1)
                        .is_some_and(|link| link.starts_with("skep"))
                })
                .map(|line| format!("{line}\n")),
        );
        text += &ip(&format!("-n {name} route show table all proto 91"));
        let rules = ip(&format!("-n {name} rule"));
        text.extend(rules.lines().skip(3).map(|line| format!("{line}\n")));
        let directory = self.run_dir.join("netns");
        let files = std::fs::read_dir(directory)
            .map(|entries| entries.count())
            .unwrap_or_default();
        if files > 0 {
            text += &format!("{files} namespaces\n");
        }
        text
    }
}

fn on<T: Send + 'static>(runtime: &Runtime, work: impl Future<Output = T> + Send + 'static) -> T {
    let running = runtime.spawn(work);
    runtime.block_on(running).expect("no panic")
}

//! Hosts for the tests: network namespaces without names, joined by a bridge in one more, so that
//! nothing is left behind however a test ends. Needs root, `ip` and `busybox`.
#![allow(dead_code)] // Each test program uses its part of this.

use std::fs::File;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::process::{Child, Command, Output};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns, unshare};
use skep_agent_wireguard::{Engine, EngineConfig, PeerConfig, generate_private_key, public_key};

/// How long anything in these tests may take before it counts as not happening.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A network namespace that lives as long as this value (and what runs in it).
pub struct Netns(File);

impl Netns {
    pub fn new() -> Self {
        let made = std::thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace (these tests need root)");
            File::open("/proc/thread-self/ns/net").expect("a handle of it")
        });
        let ns = Self(made.join().expect("the thread ends well"));
        ns.ip("link set lo up");
        ns
    }

    /// Runs `f` on a thread inside the namespace.
    pub fn run<R: Send>(&self, f: impl FnOnce() -> R + Send) -> R {
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                setns(&self.0, CloneFlags::CLONE_NEWNET).expect("enter the namespace");
                f()
            });
            match inside.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// A path other processes can open it by.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }

    pub fn output(&self, program: &str, arguments: &str) -> Output {
        self.run(|| {
            Command::new(program)
                .args(arguments.split_whitespace())
                .output()
                .unwrap_or_else(|error| panic!("run {program}: {error}"))
        })
    }

    pub fn spawn(&self, command: &mut Command) -> Running {
        let command = std::sync::Mutex::new(command);
        self.run(|| {
            let mut command = command.lock().expect("not poisoned");
            Running(command.spawn().expect("start a program"))
        })
    }

    /// `ip` with these arguments; fails the test if it fails.
    pub fn ip(&self, arguments: &str) {
        let output = self.output("ip", arguments);
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "ip {arguments}: {text}");
    }

    /// Gives `interface` an IPv6 address and waits until the kernel takes packets for it, which it
    /// arranges on a work queue.
    pub fn add_ipv6(&self, address: &str, interface: &str) {
        self.ip(&format!("addr add {address}/64 dev {interface} nodad"));
        eventually("the kernel knows the address as its own", || {
            let output = self.output("ip", "-6 route show table local");
            let routes = String::from_utf8_lossy(&output.stdout).into_owned();
            routes.contains(&format!("local {address} "))
        });
    }

    pub fn pings(&self, to: &str, bytes: usize) -> bool {
        let arguments = format!("ping -c 1 -W 5 -s {bytes} {to}");
        self.output("busybox", &arguments).status.success()
    }

    pub fn udp(&self, address: &str) -> UdpSocket {
        let socket = self.run(|| UdpSocket::bind(address).expect("bind a udp socket"));
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        socket
    }
}

/// A program that is killed when the test is done with it.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One host: a namespace, an underlay address 192.0.2.`number` (fd00:2::`number`), a key.
pub struct Host {
    pub ns: Netns,
    pub number: u8,
    pub key: [u8; 32],
}

impl Host {
    pub fn underlay(&self) -> IpAddr {
        IpAddr::from([192, 0, 2, self.number])
    }

    pub fn underlay6(&self) -> IpAddr {
        format!("fd00:2::{}", self.number)
            .parse()
            .expect("an address")
    }

    pub fn overlay(&self) -> String {
        format!("10.77.0.{}", self.number)
    }

    pub fn overlay6(&self) -> String {
        format!("fd00:77::{}", self.number)
    }

    pub fn public(&self) -> [u8; 32] {
        public_key(&self.key)
    }

    /// An engine on this host with its overlay addresses on it, and no peers yet.
    pub fn engine(&self) -> Engine {
        let config = EngineConfig {
            interface: "skepwg".to_owned(),
            private_key: self.key,
            listen_port: 51820,
            mtu: 1420,
        };
        let engine = self
            .ns
            .run(|| Engine::start(config).expect("start an engine"));
        self.address("skepwg");
        engine
    }

    pub fn address(&self, interface: &str) {
        self.ns
            .ip(&format!("addr add {}/24 dev {interface}", self.overlay()));
        self.ns.add_ipv6(&self.overlay6(), interface);
    }

    /// This host as a peer of others.
    pub fn as_peer(&self) -> PeerConfig {
        PeerConfig {
            public_key: self.public(),
            endpoint: Some(SocketAddr::new(self.underlay(), 51820)),
            allowed_ips: vec![net(&self.overlay()), net(&self.overlay6())],
            keepalive: None,
        }
    }
}

/// A host route, or a network as written.
pub fn net(text: &str) -> ipnet::IpNet {
    text.parse().unwrap_or_else(|_| {
        let address: IpAddr = text.parse().expect("an address or a network");
        address.into()
    })
}

/// Hosts on one bridge.
pub struct Hosts {
    pub hub: Netns,
    pub hosts: Vec<Host>,
}

pub fn hosts(count: u8) -> Hosts {
    let hub = Netns::new();
    hub.ip("link add skepbr type bridge");
    hub.ip("link set skepbr up");
    let hosts = (1..=count)
        .map(|number| {
            let ns = Netns::new();
            let path = ns.path();
            hub.ip(&format!(
                "link add h{number} type veth peer name under netns {path}"
            ));
            hub.ip(&format!("link set h{number} master skepbr up"));
            ns.ip(&format!("addr add 192.0.2.{number}/24 dev under"));
            ns.ip("link set under up");
            ns.add_ipv6(&format!("fd00:2::{number}"), "under");
            Host {
                ns,
                number,
                key: generate_private_key(),
            }
        })
        .collect();
    Hosts { hub, hosts }
}

/// Hosts with an engine each, all peers of all.
pub fn mesh(count: u8) -> (Hosts, Vec<Engine>) {
    let hosts = hosts(count);
    let engines: Vec<Engine> = hosts.hosts.iter().map(Host::engine).collect();
    for (at, engine) in engines.iter().enumerate() {
        let peers = hosts.hosts.iter().enumerate();
        let peers: Vec<PeerConfig> = peers
            .filter(|(other, _)| *other != at)
            .map(|(_, host)| host.as_peer())
            .collect();
        engine.set_peers(&peers).expect("set the peers");
    }
    (hosts, engines)
}

/// Waits until `done`, and fails with `what` if that takes too long.
pub fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Bytes that follow from their position.
pub fn pattern(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Sends `length` bytes over TCP from one host to another's address; fails if they arrive changed.
pub fn transfer(from: &Netns, to: &Netns, address: &str, length: usize) {
    use std::io::{Read, Write};
    let to_address: IpAddr = address.parse().expect("an address");
    let listener = to.run(|| TcpListener::bind((to_address, 0)).expect("listen"));
    let address = listener.local_addr().expect("it is bound");
    let sent = pattern(length, u64::from(address.port()));
    let received = std::thread::scope(|scope| {
        let receiver = scope.spawn(|| {
            let (mut stream, _) = listener.accept().expect("accept");
            stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
            let mut received = Vec::with_capacity(length);
            stream.read_to_end(&mut received).expect("receive");
            received
        });
        let mut stream =
            from.run(|| TcpStream::connect_timeout(&address, PATIENCE).expect("connect"));
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        stream.write_all(&sent).expect("send");
        drop(stream);
        receiver.join().expect("the receiver ends well")
    });
    assert_eq!(received.len(), sent.len());
    assert!(
        received == sent,
        "{length} bytes to {address} arrived changed"
    );
}

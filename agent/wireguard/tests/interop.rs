//! The engine and wireguard-go understand each other. Says so and passes where Debian's packages
//! wireguard-go and wireguard-tools are not installed.

mod support;

use std::io::Write;
use std::process::{Command, Stdio};

use support::{Host, eventually, hosts, transfer};

fn installed(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
    })
}

fn hex_to_base64(key: &[u8; 32]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in key.chunks(3) {
        let mut bits = 0u32;
        for at in 0..3 {
            bits = bits << 8 | u32::from(chunk.get(at).copied().unwrap_or(0));
        }
        for at in 0..4 {
            match at <= chunk.len() {
                true => text.push(DIGITS[(bits >> (18 - 6 * at) & 63) as usize] as char),
                false => text.push('='),
            }
        }
    }
    text
}

fn wg(host: &Host, arguments: &str, input: &str) -> String {
    let mut command = Command::new("wg");
    command
        .args(arguments.split_whitespace())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut running = host.ns.spawn(&mut command);
    let mut stdin = running.0.stdin.take().expect("a pipe");
    stdin.write_all(input.as_bytes()).expect("write to wg");
    drop(stdin);
    let mut text = String::new();
    let stdout = running.0.stdout.as_mut().expect("a pipe");
    std::io::Read::read_to_string(stdout, &mut text).expect("read from wg");
    let status = running.0.wait().expect("wg ends");
    assert!(status.success(), "wg {arguments}");
    text
}

#[test]
fn tcp_and_ping_cross_between_the_engine_and_wireguard_go() {
    if !installed("wireguard-go") || !installed("wg") {
        eprintln!("skipped: wireguard-go or wireguard-tools is not installed");
        return;
    }
    let hosts = hosts(2);
    let [a, b] = &hosts.hosts[..] else {
        panic!("two")
    };
    let engine = a.engine();
    engine.set_peers(&[b.as_peer()]).expect("set the peers");
    // Its control socket has the interface's name and is not in the namespace.
    let interface = format!("skept{}", std::process::id());
    let mut command = Command::new("wireguard-go");
    command
        .args(["-f", &interface])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let theirs = b.ns.spawn(&mut command);
    let socket = format!("/var/run/wireguard/{interface}.sock");
    eventually("wireguard-go listens", || {
        std::os::unix::net::UnixStream::connect(&socket).is_ok()
    });
    let (key, peer) = (hex_to_base64(&b.key), hex_to_base64(&a.public()));
    let arguments = format!(
        "set {interface} listen-port 51820 private-key /dev/stdin peer {peer} \
         endpoint {}:51820 allowed-ips {}/32,{}/128",
        a.underlay(),
        a.overlay(),
        a.overlay6(),
    );
    wg(b, &arguments, &key);
    b.ns.ip(&format!("link set {interface} mtu 1420 up"));
    b.address(&interface);
    assert!(a.ns.pings(&b.overlay(), 56), "the engine begins");
    assert!(b.ns.pings(&a.overlay6(), 1200));
    for (from, to) in [(a, b), (b, a)] {
        transfer(&from.ns, &to.ns, &to.overlay(), 8 << 20);
    }
    let theirs_received = wg(b, &format!("show {interface} transfer"), "");
    let numbers: Vec<u64> = theirs_received
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect();
    assert!(numbers.iter().all(|bytes| *bytes > 8 << 20), "{numbers:?}");
    // The other way round: they begin.
    engine.set_peers(&[]).expect("forget them");
    let silent = skep_agent_wireguard::PeerConfig {
        endpoint: None,
        ..b.as_peer()
    };
    engine.set_peers(&[silent]).expect("know them again");
    let endpoint = format!("set {interface} peer {peer} remove");
    wg(b, &endpoint, "");
    wg(b, &arguments, &key);
    assert!(b.ns.pings(&a.overlay(), 56), "wireguard-go begins");
    assert!(engine.stats()[0].endpoint.is_some());
    drop(theirs);
    let _ = std::fs::remove_file(&socket);
}
